"""A program as somebody at a terminal sees it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def on_terminal(command: list[str], cwd: Path | None = None) -> str:
    """Run a command on a terminal of its own, and answer what it showed; it must end well."""
    import pty

    terminal, ours = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=ours, stderr=ours, env=environment, cwd=cwd)
    os.close(ours)
    shown = b""
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(terminal)
    assert process.wait(30) == 0, shown.decode()
    return shown.decode()
