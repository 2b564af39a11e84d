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

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Forget what is done: it would be counted again after each of thousands of tests."""
        super().mark_test_complete(node, item_index, duration)
        work = self.assigned_work[node]
        scope = self._split_scope(self.registered_collections[node][item_index])
        if all(work[scope].values()):
            del work[scope]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Let our scheduling take the place of the one that `--dist` names."""
    return Scheduling(config, log)
