"""Which tests one worker of pytest-xdist runs: those that share what takes seconds to make.

pytest-xdist's own groups (3.8) are not heard since pytest 9.2: they change the ids of tests, which no longer can be.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling

#: What the tests of a file share, by the file.
_SHARED = {
    "tests/benchmarks/test_smoke.py": "every benchmark, run once",
    "tests/packaging/test_wheels.py": "the wheels and their environment",
    "tests/toolkit/test_host.py": "the wheels and their environment",
}


class Scheduling(LoadGroupScheduling):
    """Gives a worker all tests that share something, and every other test by itself."""

    def _split_scope(self, nodeid: str) -> str:
        return _SHARED.get(nodeid.partition("::")[0], nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Let our scheduling take the place of the one that `--dist` names."""
    return Scheduling(config, log)
