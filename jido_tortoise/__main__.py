"""`python -m jido_tortoise`, which is the console script `jido-tortoise`."""

from __future__ import annotations

import sys

from jido_tortoise.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
