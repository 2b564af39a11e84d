"""What every store of ADK sessions must keep to, as tests: subclass `AdkSessionContract` with a fixture `make_store`.

    import pytest
    from jido_tortoise_testing.adk_contract import AdkSessionContract

    class TestRedisSessions(AdkSessionContract):
        @pytest.fixture
        def make_store(self, redis_url):
            return lambda: RedisSessions(redis_url)

Each check is a test of its own. `make_store` is called twice for most of them, as two processes would call it: both
handles work on the same data, which must be empty when a check begins. A check of a capability that the store does not
declare in its `capabilities` is skipped, with the reason. A store has the methods of
`jido_tortoise.adk.AdkSessionStore`, those of the capabilities only when it declares them.
"""

from typing import ClassVar

from jido_tortoise_testing.adk_contract.base import AdkChecks, FullStore, MakeStore
from jido_tortoise_testing.adk_contract.cancelling import CancellingChecks
from jido_tortoise_testing.adk_contract.caring import CopyChecks, InvocationChecks, PruneChecks, RewindChecks
from jido_tortoise_testing.adk_contract.concurrency import CrowdChecks, StaleChecks
from jido_tortoise_testing.adk_contract.events import AppendChecks, EventChecks, RangeChecks
from jido_tortoise_testing.adk_contract.paging import PageChecks
from jido_tortoise_testing.adk_contract.sessions import CreateChecks, DeleteChecks, ListChecks
from jido_tortoise_testing.adk_contract.state import RoutingChecks, ValueChecks
from jido_tortoise_testing.contract.running import run_check
from jido_tortoise_testing.levels import Level, check_names

__all__ = ["AdkChecks", "AdkSessionContract", "FullStore", "MakeStore", "check_names", "run_check"]


class AdkSessionContract(
    CreateChecks,
    DeleteChecks,
    ListChecks,
    RoutingChecks,
    ValueChecks,
    AppendChecks,
    EventChecks,
    RangeChecks,
    PageChecks,
    PruneChecks,
    InvocationChecks,
    CopyChecks,
    RewindChecks,
    CrowdChecks,
    StaleChecks,
    CancellingChecks,
):
    """All the checks of a store of ADK sessions."""

    level: ClassVar[Level] = "CORE"
    graded = True
