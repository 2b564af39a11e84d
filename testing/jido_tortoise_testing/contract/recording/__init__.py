"""What every store of recorded sessions must keep to; the numbers are those of agent_session_manager's own contract."""

from typing import ClassVar

from jido_tortoise_testing.contract.recording.base import MakeStore, StoreChecks
from jido_tortoise_testing.contract.recording.cancelling import CancellingChecks
from jido_tortoise_testing.contract.recording.concurrency import CrowdChecks
from jido_tortoise_testing.contract.recording.events import AppendChecks, ReadChecks
from jido_tortoise_testing.contract.recording.flushing import FlushChecks
from jido_tortoise_testing.contract.recording.leasing import LeaseChecks
from jido_tortoise_testing.contract.recording.runs import RunChecks
from jido_tortoise_testing.contract.recording.sessions import SessionChecks
from jido_tortoise_testing.contract.recording.waiting import FollowChecks, WaitChecks
from jido_tortoise_testing.levels import Level

__all__ = ["MakeStore", "SessionStoreContract", "StoreChecks"]


class SessionStoreContract(
    SessionChecks,
    RunChecks,
    AppendChecks,
    ReadChecks,
    FlushChecks,
    WaitChecks,
    FollowChecks,
    CrowdChecks,
    LeaseChecks,
    CancellingChecks,
):
    """All the checks of a store of sessions: subclass it, and give it a fixture `make_store`."""

    level: ClassVar[Level] = "CORE"
    graded = True
