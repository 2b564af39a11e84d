"""Checkpoints: one value under one key, its version and its times."""

from __future__ import annotations

import gc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jido_tortoise import seams
from jido_tortoise.errors import AlreadyExistsError, ConflictError, InvalidInputError
from jido_tortoise_testing.contract.base import Checks, FullStorage, MakeStorage, needs, note, numbers
from jido_tortoise_testing.contract.exact import assert_same

DATA = {"state": {"cart": ["milk"]}, "n": 1}
OTHER = {"state": {"cart": []}, "n": 2}


async def data_of(storage: FullStorage, key: Any) -> Any:
    """Read what is stored under a key that must be there."""
    checkpoint = await storage.get_checkpoint(key)
    assert checkpoint is not None, f"nothing is stored under {key!r}"
    return checkpoint.data


def soon_after(moment: datetime, before: int) -> bool:
    """Tell whether a stored time lies between then and now, both in the clock of the library."""
    return seams.to_datetime(before) <= moment <= seams.to_datetime(seams.now_ms())


class CheckpointChecks(Checks):
    """A checkpoint is there, whole, until it is overwritten or deleted."""

    async def test_missing_checkpoint_is_none(self, storage: FullStorage) -> None:
        """What was never put is None, not an error (E3, F1, Redis 1, N1, J1)."""
        assert await storage.get_checkpoint("missing") is None

    async def test_put_is_there(self, storage: FullStorage) -> None:
        """What was put is read back under its key (E4, F2, Redis 2, N2, J1)."""
        await storage.put_checkpoint("k", DATA)
        checkpoint = await storage.get_checkpoint("k")
        assert checkpoint is not None
        assert (checkpoint.key, checkpoint.data) == ("k", DATA)

    async def test_put_answers_what_is_stored(self, storage: FullStorage, second: FullStorage) -> None:
        """A put answers the very checkpoint that a later read answers."""
        await storage.put_checkpoint("k", OTHER)
        assert await storage.put_checkpoint("k", DATA) == await second.get_checkpoint("k")

    async def test_put_overwrites(self, storage: FullStorage) -> None:
        """An unguarded put replaces what was there, whole (E5, F3, Redis 5)."""
        await storage.put_checkpoint("k", {"old": 1, "both": 1})
        await storage.put_checkpoint("k", {"new": 2, "both": 2})
        assert await data_of(storage, "k") == {"new": 2, "both": 2}

    async def test_delete_removes_the_checkpoint(self, storage: FullStorage) -> None:
        """What was deleted is not there any more (E6, F4, Redis 8, J1)."""
        await storage.put_checkpoint("k", DATA)
        assert await storage.get_checkpoint("k") is not None
        await storage.delete_checkpoint("k")
        assert await storage.get_checkpoint("k") is None

    async def test_deleting_no_checkpoint_is_no_error(self, storage: FullStorage) -> None:
        """A delete of what is not there does nothing (E7, F5, Redis 7)."""
        await storage.delete_checkpoint("missing")
        await storage.delete_checkpoint("missing")

    async def test_delete_of_a_checkpoint_leaves_the_others(self, storage: FullStorage) -> None:
        """A delete takes one checkpoint, not its neighbours."""
        for key in ("k", "k2", ("k", 1), "%", "_"):
            await storage.put_checkpoint(key, {"key": str(key)})
        await storage.delete_checkpoint("%")
        await storage.delete_checkpoint("k")
        for key in ("k2", ("k", 1), "_"):
            assert await data_of(storage, key) == {"key": str(key)}

    async def test_stored_none_is_a_checkpoint(self, storage: FullStorage) -> None:
        """A stored None is a checkpoint with the data None, unlike nothing stored."""
        await storage.put_checkpoint("k", None)
        checkpoint = await storage.get_checkpoint("k")
        assert checkpoint is not None
        assert checkpoint.data is None

    async def test_empty_data_is_kept(self, storage: FullStorage) -> None:
        """Data that is falsy is stored as it is, not as nothing."""
        for number, empty in enumerate([{}, [], "", 0, False, 0.0, (), b""]):
            await storage.put_checkpoint(("empty", number), empty)
            assert_same(await data_of(storage, ("empty", number)), empty)

    async def test_version_counts_the_writes(self, storage: FullStorage) -> None:
        """The version is 1 after the first write and one more after each, also when nothing changed."""
        versions = [(await storage.put_checkpoint("k", data)).version for data in (DATA, DATA, OTHER)]
        assert versions == [1, 2, 3]
        checkpoint = await storage.get_checkpoint("k")
        assert checkpoint is not None
        assert checkpoint.version == 3

    async def test_versions_are_counted_by_key(self, storage: FullStorage) -> None:
        """Each key has its own version."""
        await storage.put_checkpoint("a", 1)
        await storage.put_checkpoint("a", 2)
        assert (await storage.put_checkpoint("b", 1)).version == 1

    async def test_deleted_key_starts_anew(self, storage: FullStorage) -> None:
        """A key that was deleted starts again at version 1."""
        await storage.put_checkpoint("k", 1)
        await storage.put_checkpoint("k", 2)
        await storage.delete_checkpoint("k")
        assert (await storage.put_checkpoint("k", 3)).version == 1

    async def test_times_are_those_of_the_writes(self, storage: FullStorage) -> None:
        """Both times are the moment of the first write, aware and in UTC."""
        before = seams.now_ms()
        checkpoint = await storage.put_checkpoint("k", DATA)
        assert checkpoint.created_at.utcoffset() == checkpoint.updated_at.utcoffset() == timedelta(0)
        assert checkpoint.created_at.tzinfo is UTC
        assert soon_after(checkpoint.created_at, before)
        assert soon_after(checkpoint.updated_at, before)

    async def test_overwrite_moves_only_updated_at(self, storage: FullStorage) -> None:
        """An overwrite keeps the time of creation and moves the time of change."""
        with seams.replaced(now_ms=lambda: 1_000):
            first = await storage.put_checkpoint("k", 1)
        with seams.replaced(now_ms=lambda: 5_000):
            again = await storage.put_checkpoint("k", 2)
        assert again.created_at == first.created_at == seams.to_datetime(1_000)
        assert again.updated_at == seams.to_datetime(5_000)

    async def test_checkpoint_time_never_goes_back(self, storage: FullStorage) -> None:
        """A writer whose clock is behind does not move the time of change back."""
        with seams.replaced(now_ms=lambda: 5_000):
            await storage.put_checkpoint("k", 1)
        with seams.replaced(now_ms=lambda: 1_000):
            again = await storage.put_checkpoint("k", 2)
        assert again.updated_at == seams.to_datetime(5_000)

    async def test_second_handle_sees_each_write(self, storage: FullStorage, second: FullStorage) -> None:
        """Another handle sees a put, an overwrite and a delete as soon as each is done."""
        await storage.put_checkpoint("k", DATA)
        assert await data_of(second, "k") == DATA
        await storage.put_checkpoint("k", OTHER)
        assert await data_of(second, "k") == OTHER
        await storage.delete_checkpoint("k")
        assert await second.get_checkpoint("k") is None

    async def test_data_outlives_its_handle(self, make_storage: MakeStorage) -> None:
        """What was stored is there after the handle that stored it is gone (E29, E30)."""
        handle: FullStorage | None = make_storage()
        assert handle is not None
        await handle.put_checkpoint("k", DATA)
        await handle.append_thread("t", note(1))
        handle = None
        gc.collect()
        later = make_storage()
        assert await data_of(later, "k") == DATA
        assert numbers(await later.load_thread("t")) == [1]

    async def test_checkpoint_and_thread_of_one_name(self, storage: FullStorage) -> None:
        """The same string as a checkpoint key and as a thread id are two things (E28)."""
        await storage.append_thread("same", note(1))
        assert await storage.get_checkpoint("same") is None
        await storage.put_checkpoint("same", DATA)
        assert numbers(await storage.load_thread("same")) == [1]
        await storage.delete_thread("same")
        assert await data_of(storage, "same") == DATA
        await storage.append_thread("same", note(2))
        await storage.delete_checkpoint("same")
        assert numbers(await storage.load_thread("same")) == [2]

    async def test_declared_capabilities_have_their_methods(self, storage: FullStorage) -> None:
        """A storage has the six methods, and those of each capability that it declares, all of them known."""
        assert isinstance(storage.capabilities, frozenset)
        assert storage.capabilities <= {"compare_and_set", *METHODS}
        needed = SIX + [name for capability in storage.capabilities for name in METHODS.get(capability, ())]
        assert [name for name in needed if not callable(getattr(storage, name, None))] == []


SIX = ["put_checkpoint", "get_checkpoint", "delete_checkpoint", "append_thread", "load_thread", "delete_thread"]
METHODS: dict[str, tuple[str, ...]] = {
    "atomic_save": ("save", "fetch", "read_thread", "delete_agent"),
    "head": ("get_thread_head",),
    "list": ("list_checkpoints", "count_checkpoints", "iter_entries"),
    "trim": ("trim_thread",),
    "copy": ("copy_thread",),
    "repair": ("repair_thread", "read_raw_checkpoint"),
}


class CompareAndSetChecks(Checks):
    """With `compare_and_set` a put may say which version it replaces (H12)."""

    @needs("compare_and_set")
    async def test_zero_creates(self, storage: FullStorage) -> None:
        """Expected version 0 stores where nothing is."""
        assert (await storage.put_checkpoint("k", DATA, expected_version=0)).version == 1
        assert await data_of(storage, "k") == DATA

    @needs("compare_and_set")
    async def test_zero_refuses_what_exists(self, storage: FullStorage) -> None:
        """Expected version 0 is refused as AlreadyExistsError where something is, and that stays."""
        stored = await storage.put_checkpoint("k", DATA)
        with pytest.raises(AlreadyExistsError):
            await storage.put_checkpoint("k", OTHER, expected_version=0)
        assert await storage.get_checkpoint("k") == stored

    @needs("compare_and_set")
    async def test_zero_refuses_a_stored_none(self, storage: FullStorage) -> None:
        """A stored None exists as well."""
        await storage.put_checkpoint("k", None)
        with pytest.raises(ConflictError):
            await storage.put_checkpoint("k", OTHER, expected_version=0)

    @needs("compare_and_set")
    async def test_current_version_is_replaced(self, storage: FullStorage, second: FullStorage) -> None:
        """The version that is there is replaced, and the next number is its version."""
        await storage.put_checkpoint("k", DATA)
        assert (await second.put_checkpoint("k", OTHER, expected_version=1)).version == 2
        assert await data_of(storage, "k") == OTHER

    @needs("compare_and_set")
    async def test_stale_version_is_refused(self, storage: FullStorage, second: FullStorage) -> None:
        """A version that was replaced meanwhile is refused, and nothing changes (H12)."""
        await storage.put_checkpoint("k", 1)
        stored = await second.put_checkpoint("k", 2)
        with pytest.raises(ConflictError):
            await storage.put_checkpoint("k", 3, expected_version=1)
        assert await storage.get_checkpoint("k") == stored

    @needs("compare_and_set")
    async def test_version_to_come_is_refused(self, storage: FullStorage) -> None:
        """A version that is not there yet is refused, and nothing changes."""
        stored = await storage.put_checkpoint("k", 1)
        with pytest.raises(ConflictError):
            await storage.put_checkpoint("k", 3, expected_version=2)
        assert await storage.get_checkpoint("k") == stored

    @needs("compare_and_set")
    async def test_version_of_nothing_is_refused(self, storage: FullStorage) -> None:
        """A version above 0 is refused where nothing is, and nothing is made."""
        with pytest.raises(ConflictError):
            await storage.put_checkpoint("k", 1, expected_version=1)
        assert await storage.get_checkpoint("k") is None

    @needs("compare_and_set")
    async def test_deleted_is_nothing(self, storage: FullStorage) -> None:
        """After a delete the old version is refused, and 0 stores."""
        await storage.put_checkpoint("k", 1)
        await storage.delete_checkpoint("k")
        with pytest.raises(ConflictError):
            await storage.put_checkpoint("k", 2, expected_version=1)
        assert (await storage.put_checkpoint("k", 3, expected_version=0)).version == 1

    @needs("compare_and_set")
    async def test_version_conflict_has_its_facts(self, storage: FullStorage) -> None:
        """A refused put says which key it is, what was expected and what is there."""
        await storage.put_checkpoint(("shop", 7), 1)
        await storage.put_checkpoint(("shop", 7), 2)
        with pytest.raises(ConflictError) as caught:
            await storage.put_checkpoint(("shop", 7), 3, expected_version=1)
        assert caught.value.reason == "conflict"
        assert caught.value.facts.items() >= {"key": ("shop", 7), "expected": 1, "actual": 2}.items()

    @needs("compare_and_set")
    async def test_wrong_version_is_refused(self, storage: FullStorage) -> None:
        """An expected version that is no whole number is refused as bad input, not as a conflict."""
        stored = await storage.put_checkpoint("k", 1)
        wrong: list[Any] = ["1", 1.0, True, -1, b"1", [1]]
        for version in wrong:
            with pytest.raises(InvalidInputError):
                await storage.put_checkpoint("k", 2, expected_version=version)
        assert await storage.get_checkpoint("k") == stored
