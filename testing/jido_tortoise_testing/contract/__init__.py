"""What every storage must keep to, as tests: subclass `StorageContract` and give it a fixture `make_storage`.

    import pytest
    from jido_tortoise_testing.contract import StorageContract

    class TestRedisStorage(StorageContract):
        @pytest.fixture
        def make_storage(self, redis_url):
            return lambda: RedisStorage(redis_url)

Each check is a test of its own. `make_storage` is called twice for most of them, as two processes would call it: both
handles work on the same data, which must be empty when a check begins. A check of a capability that the storage does
not declare is skipped, with the reason. The checks are coroutines and carry pytest-asyncio's mark, so that they run in
its strict mode too. An agent's state may hold whatever the codec can store, and so may these checks' data: a storage
that keeps the texts of `jido_tortoise.codec` passes them.
"""

from typing import ClassVar

from jido_tortoise_testing.contract.base import Checks, FullStorage, MakeStorage, needs
from jido_tortoise_testing.contract.cancelling import CancellingChecks
from jido_tortoise_testing.contract.checkpoints import CheckpointChecks, CompareAndSetChecks
from jido_tortoise_testing.contract.concurrency import ConcurrentAppendChecks, ConcurrentCheckpointChecks
from jido_tortoise_testing.contract.inputs import EntryInputChecks, InputChecks
from jido_tortoise_testing.contract.journal import (
    AppendChecks,
    DeleteThreadChecks,
    EmptyAppendChecks,
    EntryChecks,
    ExpectedRevisionChecks,
    MetadataChecks,
)
from jido_tortoise_testing.contract.keys import KeyChecks
from jido_tortoise_testing.contract.listing import ListChecks
from jido_tortoise_testing.contract.reading import HeadChecks, RangeChecks, WalkChecks
from jido_tortoise_testing.contract.recording import MakeStore, SessionStoreContract
from jido_tortoise_testing.contract.repairing import RepairChecks
from jido_tortoise_testing.contract.repeats import RepeatChecks
from jido_tortoise_testing.contract.running import run_check
from jido_tortoise_testing.contract.saving import DeleteAgentChecks, FetchChecks, SaveChecks
from jido_tortoise_testing.contract.trimming import CopyChecks, TrimChecks
from jido_tortoise_testing.contract.values import OwnershipChecks, UnstorableChecks, ValueChecks
from jido_tortoise_testing.levels import Level, check_names

__all__ = [
    "Checks",
    "FullStorage",
    "MakeStorage",
    "MakeStore",
    "SessionStoreContract",
    "StorageContract",
    "check_names",
    "needs",
    "run_check",
]


class StorageContract(
    CheckpointChecks,
    CompareAndSetChecks,
    KeyChecks,
    ValueChecks,
    OwnershipChecks,
    UnstorableChecks,
    AppendChecks,
    EntryChecks,
    EmptyAppendChecks,
    MetadataChecks,
    ExpectedRevisionChecks,
    RepeatChecks,
    DeleteThreadChecks,
    EntryInputChecks,
    InputChecks,
    RangeChecks,
    HeadChecks,
    WalkChecks,
    TrimChecks,
    CopyChecks,
    SaveChecks,
    FetchChecks,
    DeleteAgentChecks,
    RepairChecks,
    ListChecks,
    ConcurrentAppendChecks,
    ConcurrentCheckpointChecks,
    CancellingChecks,
):
    """All the checks of a storage, the six methods and the capabilities beyond them."""

    level: ClassVar[Level] = "CORE"
    graded = True
