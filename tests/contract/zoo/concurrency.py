"""Storages that race, tear, hang, or do not survive a cancellation. `asyncio.sleep(0)` stands for a round trip."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from jido_tortoise.agents.storage import Appended
from jido_tortoise.errors import AlreadyExistsError, ConflictError, StorageError

from .cage import Broken, DriverError, Method, as_list, caught_by, conflict, instead, replace


async def round_trip() -> None:
    """Let the others do something in between."""
    await asyncio.sleep(0)


# -- races of appends -------------------------------------------------------------------------------------------------


async def _optimistic(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if more.get("expected_rev") is None:
        more["expected_rev"] = await storage.rev(thread_id)
    await round_trip()
    return await real(thread_id, entries, **more)


async def rewrite(storage: Broken, thread_id: str, entries: Any) -> Appended:
    """Read the whole journal, and after a round trip write it anew with the entries at its end."""
    thread = await storage.inner.load_thread(thread_id)
    await round_trip()
    await storage.inner.delete_thread(thread_id)
    whole = [*(thread or ()), *as_list(entries)]
    found = await storage.inner.append_thread(
        thread_id, whole, metadata=thread.metadata if thread is not None else None
    )
    return replace(found, entries=found.entries[len(whole) - len(as_list(entries)) :])


async def _rewrites(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if more.get("expected_rev") is not None:
        return await real(thread_id, entries, **more)
    return await rewrite(storage, thread_id, entries)


async def _one_by_one(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    found = await real(thread_id, as_list(entries)[:1], **more)
    stored = list(found.entries)
    for entry in as_list(entries)[1:]:
        await round_trip()
        found = await real(thread_id, entry)
        stored += found.entries
    return replace(found, entries=tuple(stored))


async def _looks_then_writes(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    expected = more.pop("expected_rev", None)
    if expected is not None and expected != await storage.rev(thread_id):
        raise conflict(thread_id=thread_id)
    await round_trip()
    return await real(thread_id, entries, **more)


async def _looks_then_rewrites(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    expected = more.pop("expected_rev", None)
    if expected is not None and expected != await storage.rev(thread_id):
        raise conflict(thread_id=thread_id)
    return await rewrite(storage, thread_id, entries)


async def _where_the_end_was(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    before = await storage.rev(thread_id)
    await round_trip()
    now = await storage.rev(thread_id)
    if now < before:
        await real(thread_id, [{}] * (before - now))
        await storage.inner.trim_thread(thread_id, before=before)
    return await real(thread_id, entries, **more)


async def _raw_errors(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    try:
        return await real(thread_id, entries, **more)
    except ConflictError as error:
        raise DriverError("UNIQUE constraint failed") from error


async def _wrong_thread(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    storage.shared.current = thread_id
    await round_trip()
    return await real(storage.shared.current, entries, **more)


async def _looks_for_repeats_then_writes(
    storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any
) -> Any:
    thread = await storage.inner.load_thread(thread_id)
    await round_trip()
    if thread is None and await storage.rev(thread_id):
        entries = [{"kind": entry.kind, "payload": entry.payload} for entry in as_list(entries)]
    return await real(thread_id, entries, **more)


instead(
    "GivesUpAfterOneTry",
    "append_thread",
    "appends_at_once_all_succeed appends_at_once_by_two_handles appends_of_many_stay_together appends_to_other_threads"
    " saves_beside_appends trims_beside_appends deletes_beside_appends",
    _optimistic,
)
instead(
    "RewritesTheWholeJournal",
    "append_thread",
    "appends_at_once_all_succeed appends_at_once_by_two_handles appends_of_many_stay_together trims_beside_appends"
    " saves_beside_appends",
    _rewrites,
)
instead(
    "AppendsOneByOne",
    "append_thread",
    "appends_of_many_stay_together reader_sees_whole_appends cancelled_append",
    _one_by_one,
)
instead(
    "LooksBeforeItWrites",
    "append_thread",
    "one_winner_at_one_revision one_winner_makes_the_journal",
    _looks_then_writes,
)
instead("LooksBeforeItRewrites", "append_thread", "losers_may_try_again", _looks_then_rewrites)
instead("AppendsWhereTheEndWas", "append_thread", "deletes_beside_appends", _where_the_end_was)
instead("LetsTheDriverSpeak", "append_thread", "one_winner_at_one_revision one_winner_makes_the_journal", _raw_errors)
instead("HasOneCurrentThread", "append_thread", "appends_to_other_threads", _wrong_thread)
instead("LooksForRepeatsBeforeItWrites", "append_thread", "concurrent_repeats", _looks_for_repeats_then_writes)


@caught_by("appends_at_once_by_two_handles appends_of_many_stay_together")
class LocksWithinAProcess(Broken):
    """It rewrites the whole journal under a lock that another process does not know."""

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        async with vars(self).setdefault("lock", asyncio.Lock()):
            return await rewrite(self, thread_id, entries)


@caught_by("appends_at_once_all_succeed one_winner_at_one_revision losers_may_try_again")
class IsBusy(Broken):
    """A second writer is told that the database is locked."""

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        if getattr(self.shared, "busy", False):
            raise StorageError("database is locked")
        self.shared.busy = True
        try:
            await round_trip()
            return await self.inner.append_thread(thread_id, entries, **more)
        finally:
            self.shared.busy = False


@caught_by("cancelled_delete")
class DeletesEntryByEntry(Broken):
    """A delete drops the entries one by one, and the head at last."""

    async def delete_thread(self, thread_id: str) -> None:
        for before in range(1, await self.rev(thread_id)):
            await self.inner.trim_thread(thread_id, before=before)
            await round_trip()
        await self.inner.delete_thread(thread_id)


# -- races of checkpoints, saves, copies and trims --------------------------------------------------------------------


async def _reads_the_version_first(storage: Broken, real: Method, key: Any, data: Any, **guard: Any) -> Any:
    before = await storage.inner.get_checkpoint(key)
    await round_trip()
    stored = await real(key, data, **guard)
    return replace(stored, version=(before.version if before is not None else 0) + 1)


async def _looks_then_puts(storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None) -> Any:
    found = await storage.inner.get_checkpoint(key)
    if expected_version is not None and expected_version != (found.version if found is not None else 0):
        raise AlreadyExistsError("x") if expected_version == 0 else conflict()
    await round_trip()
    return await real(key, data)


async def _looks_then_saves(
    storage: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **guard: Any
) -> Any:
    if thread is not None and thread.expected_rev not in (None, await storage.rev(thread.id)):
        raise conflict()
    await round_trip()
    return await real(key, data, thread=thread and replace(thread, expected_rev=None), **guard)


async def _optimistic_save(
    storage: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **guard: Any
) -> Any:
    if thread is not None and thread.expected_rev is None:
        thread = replace(thread, expected_rev=await storage.rev(thread.id))
    await round_trip()
    return await real(key, data, thread=thread, **guard)


async def _points_where_the_end_was(
    storage: Broken, real: Method, key: Any, data: Any, *, thread: Any, **guard: Any
) -> Any:
    rev = await storage.rev(thread.id) + len(thread.entries)
    await round_trip()
    saved = await real(key, data, thread=thread, **guard)
    await storage.inner.put_checkpoint(key, {**data, "thread": {"id": thread.id, "rev": rev}})
    return saved


async def _looks_then_copies(storage: Broken, real: Method, source: str, target: str, **upto: Any) -> Any:
    if await storage.inner.get_thread_head(target) is not None:
        raise AlreadyExistsError("it is there")
    await round_trip()
    await storage.inner.delete_thread(target)
    return await real(source, target, **upto)


async def _reads_then_trims(storage: Broken, real: Method, thread_id: str, *, before: int) -> Any:
    thread = await storage.inner.load_thread(thread_id)
    await round_trip()
    await storage.inner.delete_thread(thread_id)
    await storage.inner.append_thread(thread_id, thread.to_list() if thread is not None else [])
    return await real(thread_id, before=before)


instead("ReadsTheVersionFirst", "put_checkpoint", "puts_at_once_leave_one_whole", _reads_the_version_first)
instead(
    "LooksBeforeItPuts", "put_checkpoint", "one_winner_at_one_version counting_by_compare_and_set", _looks_then_puts
)
instead("LooksBeforeItSaves", "save", "one_winner_of_saves", _looks_then_saves)
instead("GivesUpASaveAfterOneTry", "save", "unguarded_saves_at_once saves_beside_appends", _optimistic_save)
instead("PointsWhereTheEndWas", "save", "unguarded_saves_at_once", _points_where_the_end_was)
instead("LooksBeforeItCopies", "copy_thread", "one_winner_of_copies", _looks_then_copies)
instead("ReadsBeforeItTrims", "trim_thread", "trims_beside_appends", _reads_then_trims)


@caught_by("saves_beside_appends")
class LocksInTwoOrders(Broken):
    """A save locks the checkpoint and then the journal; an append locks the journal and then the checkpoint."""

    def locks(self) -> tuple[asyncio.Lock, asyncio.Lock]:
        """Answer the locks of checkpoints and of journals."""
        found = self.remembered("locks")
        return found.setdefault("checkpoints", asyncio.Lock()), found.setdefault("journals", asyncio.Lock())

    async def save(self, key: Any, data: Any, **more: Any) -> Any:
        checkpoints, journals = self.locks()
        async with checkpoints:
            await round_trip()
            async with journals:
                return await self.inner.save(key, data, **more)

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        checkpoints, journals = self.locks()
        async with journals:
            await round_trip()
            async with checkpoints:
                return await self.inner.append_thread(thread_id, entries, **more)


# -- cancellation -----------------------------------------------------------------------------------------------------


async def _empties_then_puts(_: Broken, real: Method, key: Any, data: Any, **guard: Any) -> Any:
    await real(key, None, **guard)
    await round_trip()
    return await real(key, data)


async def _trims_step_by_step(_: Broken, real: Method, thread_id: str, *, before: int) -> Any:
    dropped = 0
    for border in range(1, before + 1):
        dropped += await real(thread_id, before=border)
        await round_trip()
    return dropped


async def _checkpoint_then_journal(storage: Broken, real: Method, key: Any, thread_id: Any = None) -> None:
    found = await storage.inner.get_checkpoint(key)
    await storage.inner.delete_checkpoint(key)
    await round_trip()
    if found is not None and isinstance(found.data, dict) and found.data.get("thread"):
        await storage.inner.delete_thread(found.data["thread"]["id"])


async def _copies_head_first(storage: Broken, real: Method, source: str, target: str, **upto: Any) -> Any:
    thread = await storage.inner.load_thread(source)
    await real(source, target, upto=1)
    await round_trip()
    await storage.inner.append_thread(target, thread.to_list()[1:] if thread is not None else [])
    return await storage.inner.get_thread_head(target)


async def _swallows(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    with suppress(asyncio.CancelledError):
        await round_trip()
    return await real(thread_id, entries, **more)


async def _swallows_read(_: Broken, real: Method, thread_id: str, **range_: Any) -> Any:
    with suppress(asyncio.CancelledError):
        await round_trip()
    return await real(thread_id, **range_)


async def _goes_on(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    async def later() -> Any:
        await round_trip()
        await round_trip()
        return await real(thread_id, as_list(entries)[:1])

    storage.remembered("tasks")[thread_id] = asyncio.ensure_future(later())
    await round_trip()
    storage.remembered("tasks")[thread_id].cancel()
    return await real(thread_id, entries, **more)


instead("EmptiesBeforeItPuts", "put_checkpoint", "cancelled_put version_counts_the_writes", _empties_then_puts)
instead("TrimsStepByStep", "trim_thread", "cancelled_trim", _trims_step_by_step)
instead("DeletesTheCheckpointFirst", "delete_agent", "cancelled_delete_of_an_agent", _checkpoint_then_journal)
instead("CopiesTheHeadFirst", "copy_thread", "cancelled_copy", _copies_head_first)
instead("SwallowsACancellation", "append_thread", "cancelled_call_is_told", _swallows)
instead("SwallowsACancellationOfARead", "load_thread", "cancelled_call_is_told", _swallows_read)
instead("GoesOnAfterACancellation", "append_thread", "cancelled_append cancelled_guarded_append", _goes_on)


class Leaks(Broken):
    """It takes a lock, and a cancellation keeps it from giving it back."""

    async def under_lock(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call the real method while the lock is held."""
        lock = self.remembered("locks").setdefault("lock", asyncio.Lock())
        await lock.acquire()
        await round_trip()
        try:
            return await getattr(self.inner, method)(*args, **kwargs)
        finally:
            lock.release()


@caught_by("cancelled_append cancelled_guarded_append cancelled_calls_at_once")
class LeaksALockOfAppends(Leaks):
    """A cancelled append blocks the ones after it for ever."""

    async def append_thread(self, *args: Any, **kwargs: Any) -> Any:
        return await self.under_lock("append_thread", *args, **kwargs)


@caught_by("cancelled_reads")
class LeaksALockOfReads(Leaks):
    """A cancelled read blocks the ones after it for ever."""

    async def load_thread(self, *args: Any, **kwargs: Any) -> Any:
        return await self.under_lock("load_thread", *args, **kwargs)


@caught_by("cancelled_put")
class LeaksALockOfPuts(Leaks):
    """A cancelled put blocks the ones after it for ever."""

    async def put_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        return await self.under_lock("put_checkpoint", *args, **kwargs)


@caught_by("cancelled_save")
class LeaksALockOfSaves(Leaks):
    """A cancelled save blocks the ones after it for ever."""

    async def save(self, *args: Any, **kwargs: Any) -> Any:
        return await self.under_lock("save", *args, **kwargs)
