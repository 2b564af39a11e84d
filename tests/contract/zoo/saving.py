"""Storages that save, fetch or delete checkpoint and journal apart, or guard them wrongly."""

from __future__ import annotations

import asyncio
from typing import Any

from jido_tortoise.agents.storage import Saved, ThreadWrite
from jido_tortoise.errors import ConflictError, CorruptRowError, MissingThreadError, NotFoundError, StorageError

from .cage import Broken, Method, answering, caught_by, conflict, instead, rebuilt, replace


async def version_of(storage: Broken, key: Any) -> int:
    """Answer a checkpoint's version; 0 when there is none."""
    found = await storage.inner.get_checkpoint(key)
    return found.version if found is not None else 0


def pointing(data: Any, thread: ThreadWrite, rev: int) -> dict[str, Any]:
    """Answer the data of a save with its pointer."""
    return {**data, "thread": {"id": thread.id, "rev": rev}}


# -- two writes in place of one ---------------------------------------------------------------------------------------


async def _journal_first(
    storage: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **guard: Any
) -> Any:
    if thread is None:
        return await real(key, data, **guard)
    found = await storage.inner.append_thread(
        thread.id, thread.entries, expected_rev=thread.expected_rev, metadata=thread.metadata
    )
    await asyncio.sleep(0)
    put = await storage.inner.put_checkpoint(key, pointing(data, thread, found.rev), **guard)
    return Saved(version=put.version, rev=found.rev)


async def _checkpoint_first(
    storage: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **guard: Any
) -> Any:
    if thread is None:
        return await real(key, data, **guard)
    rev = await storage.rev(thread.id) + len(thread.entries)
    put = await storage.inner.put_checkpoint(key, pointing(data, thread, rev), **guard)
    await asyncio.sleep(0)
    found = await storage.inner.append_thread(thread.id, thread.entries, expected_rev=thread.expected_rev)
    return Saved(version=put.version, rev=found.rev)


async def _checkpoint_only(
    storage: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **guard: Any
) -> Any:
    if thread is None:
        return await real(key, data, **guard)
    rev = await storage.rev(thread.id) + len(thread.entries)
    put = await storage.inner.put_checkpoint(key, pointing(data, thread, rev), **guard)
    return Saved(version=put.version, rev=rev)


instead(
    "SavesTheJournalFirst",
    "save",
    "stale_version_changes_neither version_of_nothing version_zero_means_nothing_there reader_sees_whole_saves"
    " save_is_usable_after_a_conflict cancelled_save",
    _journal_first,
)
instead(
    "SavesTheCheckpointFirst",
    "save",
    "stale_revision_changes_neither revision_is_checked_without_entries revision_of_a_missing_journal cancelled_save"
    " reader_sees_whole_saves",
    _checkpoint_first,
)
instead("SavesTheCheckpointOnly", "save", "save_writes_both save_of_many_entries", _checkpoint_only)


# -- saves ------------------------------------------------------------------------------------------------------------


class SavesOtherwise(Broken):
    """A save that does something else than it was told."""

    async def told(self, thread: ThreadWrite) -> ThreadWrite:
        """Answer the journal's part of a save that is done in its place."""
        return thread

    async def save(self, key: Any, data: Any, *, expected_version: Any = None, thread: Any = None) -> Any:
        if thread is not None:
            thread = await self.told(thread)
        return await self.inner.save(key, data, expected_version=expected_version, thread=thread)


async def _stale_pointer(
    storage: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **guard: Any
) -> Any:
    before = await storage.rev(thread.id) if thread is not None else 0
    found = await real(key, data, thread=thread, **guard)
    if thread is not None:
        await storage.inner.put_checkpoint(key, pointing(data, thread, before))
    return found


async def _extra_pointer(
    storage: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **guard: Any
) -> Any:
    found = await real(key, data, thread=thread, **guard)
    if thread is not None:
        more = {"id": thread.id, "rev": found.rev, "entry_count": found.rev}
        await storage.inner.put_checkpoint(key, {**data, "thread": more})
    return found


async def _believes_pointer(
    storage: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **guard: Any
) -> Any:
    found = await real(key, data, thread=thread, **guard)
    if thread is not None and data.get("thread"):
        await storage.inner.put_checkpoint(key, data)
    return found


async def _forces_none(_: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **guard: Any) -> Any:
    return await real(key, data if thread is not None else {**data, "thread": None}, thread=thread, **guard)


async def _merges(storage: Broken, real: Method, key: Any, data: Any, **more: Any) -> Any:
    found = await storage.inner.get_checkpoint(key)
    return await real(key, {**(found.data if found is not None else {}), **data}, **more)


async def _made_anew(
    storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None, **more: Any
) -> Any:
    if expected_version is None:
        await storage.inner.delete_checkpoint(key)
    return await real(key, data, expected_version=expected_version, **more)


async def _cannot_continue(
    storage: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **more: Any
) -> Any:
    if thread is not None and thread.expected_rev is None and thread.entries and await storage.rev(thread.id):
        raise conflict()
    return await real(key, data, thread=thread, **more)


async def _always_conflicts(_: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **more: Any) -> Any:
    if thread is not None and thread.expected_rev:
        raise conflict()
    return await real(key, data, thread=thread, **more)


async def _no_facts(_: Broken, real: Method, key: Any, data: Any, **more: Any) -> Any:
    try:
        return await real(key, data, **more)
    except ConflictError as error:
        raise type(error)(str(error)) from None


async def _zero_is_none(
    _: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None, **more: Any
) -> Any:
    return await real(key, data, expected_version=expected_version or None, **more)


async def _ignores_version(
    _: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None, **more: Any
) -> Any:
    return await real(key, data, expected_version=None if expected_version else expected_version, **more)


async def _plain_conflict(_: Broken, real: Method, key: Any, data: Any, **more: Any) -> Any:
    try:
        return await real(key, data, **more)
    except ConflictError as error:
        raise ConflictError(str(error), **error.facts) from None


async def _makes_missing(
    storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None, **more: Any
) -> Any:
    missing = not await version_of(storage, key)
    return await real(key, data, expected_version=None if missing else expected_version, **more)


async def _one_guard(
    _: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None, thread: Any = None
) -> Any:
    if expected_version and thread is not None and thread.expected_rev:
        raise conflict()
    return await real(key, data, expected_version=expected_version, thread=thread)


async def _small(_: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **more: Any) -> Any:
    if thread is not None and len(thread.entries) > 1_000:
        raise StorageError("too many query arguments")
    return await real(key, data, thread=thread, **more)


async def _no_empty(_: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **more: Any) -> Any:
    if thread is not None and not thread.entries and not thread.expected_rev and not thread.metadata:
        thread = None
    return await real(key, data, thread=thread, **more)


async def _always_a_head(storage: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **more: Any) -> Any:
    if thread is not None and not thread.entries and not await storage.rev(thread.id):
        await storage.inner.append_thread(thread.id, [], metadata=thread.metadata)
    return await real(key, data, thread=thread, **more)


async def _never_a_head(_: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **more: Any) -> Any:
    if thread is not None and not thread.entries:
        thread = replace(thread, metadata={})
    return await real(key, data, thread=thread, **more)


instead("PointsAtTheRevisionBefore", "save", "save_writes_the_pointer fetch_answers_both", _stale_pointer)
instead("PointsWithMoreThanIdAndRevision", "save", "save_writes_the_pointer", _extra_pointer)
instead("BelievesTheGivenPointer", "save", "save_overrides_a_pointer", _believes_pointer)
instead("SavesNoPointerWithoutAJournal", "save", "save_without_a_journal", _forces_none)
instead("SavesOntoTheOldData", "save", "save_overwrites", _merges)
instead("MakesTheCheckpointAnew", "save", "save_overwrites save_counts_versions_and_revisions", _made_anew)
instead("SavesToNewJournalsOnly", "save", "save_continues_a_journal unguarded_saves_at_once", _cannot_continue)
instead("ConflictsAtTheRightRevision", "save", "save_takes_a_matching_revision matching_guards", _always_conflicts)
instead("SaysNoFactsOfARefusedSave", "save", "stale_revision_changes_neither stale_version_changes_neither", _no_facts)
instead("SavesZeroAsAny", "save", "version_zero_means_nothing_there one_winner_of_saves", _zero_is_none)
instead("IgnoresTheVersionOfASave", "save", "stale_version_changes_neither version_of_nothing", _ignores_version)
instead("DoesNotSayThatTheCheckpointExists", "save", "version_zero_means_nothing_there", _plain_conflict)
instead("SavesAnyVersionOfMissing", "save", "version_of_nothing", _makes_missing)
instead("TakesOneGuardOnly", "save", "matching_guards", _one_guard)
instead("SavesAThousandAtMost", "save", "save_of_many_entries", _small)
instead("PointsAtNoEmptyJournal", "save", "save_of_an_empty_journal", _no_empty)
instead("AlwaysMakesAHead", "save", "save_of_an_empty_journal_with_metadata", _always_a_head)
instead("NeverMakesAHead", "save", "save_of_an_empty_journal_with_metadata", _never_a_head)
answering(
    "AnswersTheFirstVersionOfASave", "save", "save_counts_versions_and_revisions", lambda s: replace(s, version=1)
)
answering(
    "AnswersNoRevision", "save", "save_writes_both save_counts_versions_and_revisions", lambda s: replace(s, rev=None)
)
answering("IsNeverSure", "save", "save_writes_both", lambda saved: replace(saved, provisional=True))


@caught_by("stale_revision_changes_neither revision_is_checked_without_entries revision_of_a_missing_journal")
class IgnoresTheRevisionOfASave(SavesOtherwise):
    """The expected revision is not looked at."""

    async def told(self, thread: ThreadWrite) -> ThreadWrite:
        return replace(thread, expected_rev=None)


@caught_by("revision_is_checked_without_entries revision_of_a_missing_journal")
class ChecksTheRevisionOfEntriesOnly(SavesOtherwise):
    """The expected revision is looked at only when there is something to append."""

    async def told(self, thread: ThreadWrite) -> ThreadWrite:
        return thread if thread.entries else replace(thread, expected_rev=None)


@caught_by("revision_of_a_missing_journal")
class SavesAnyRevisionOfMissing(SavesOtherwise):
    """Where there is no journal, every expected revision is right."""

    async def told(self, thread: ThreadWrite) -> ThreadWrite:
        return thread if await self.rev(thread.id) else replace(thread, expected_rev=None)


@caught_by("metadata_of_a_save save_of_an_empty_journal_with_metadata")
class SavesNoMetadata(SavesOtherwise):
    """The metadata of a save are lost."""

    async def told(self, thread: ThreadWrite) -> ThreadWrite:
        return replace(thread, metadata={})


@caught_by("save_is_usable_after_a_conflict stale_revision_changes_neither")
class WritesEntriesOfARefusedSave(Broken):
    """A refused save has appended its entries all the same."""

    async def save(self, key: Any, data: Any, *, thread: Any = None, **guard: Any) -> Any:
        try:
            return await self.inner.save(key, data, thread=thread, **guard)
        except ConflictError:
            if thread is not None:
                await self.inner.append_thread(thread.id, thread.entries)
            raise


# -- fetches ----------------------------------------------------------------------------------------------------------


async def _fetch_or_raise(_: Broken, real: Method, key: Any) -> Any:
    found = await real(key)
    if found is None:
        raise NotFoundError("nothing there")
    return found


def _head_at_pointer(found: Any) -> Any:
    checkpoint, head = found
    return checkpoint, head and replace(head, rev=checkpoint.data["thread"]["rev"])


async def _dangling(_: Broken, real: Method, key: Any) -> Any:
    found = await real(key)
    if found is not None and found[1] is None:
        raise MissingThreadError("its journal is gone")
    return found


async def _malformed(_: Broken, real: Method, key: Any) -> Any:
    found = await real(key)
    pointer = found[0].data.get("thread") if found is not None and isinstance(found[0].data, dict) else None
    if pointer is not None and (not isinstance(pointer, dict) or {*pointer} != {"id", "rev"} or pointer["id"] == 7):
        raise CorruptRowError("this is no pointer")
    return found


async def _reads_latest(storage: Broken, real: Method, thread_id: str, head: Any) -> Any:
    return await storage.inner.load_thread(thread_id) or await real(thread_id, head)


async def _reads_none_for_empty(_: Broken, real: Method, thread_id: str, head: Any) -> Any:
    return await real(thread_id, head) if head.rev else None


async def _reads_what_is_left(storage: Broken, real: Method, thread_id: str, head: Any) -> Any:
    thread = await real(thread_id, head)
    left = await storage.inner.load_thread(thread_id)
    return left and rebuilt(left, rev=head.rev) if thread is None else thread


instead("CannotFetchNothing", "fetch", "fetch_of_nothing", _fetch_or_raise)
instead("CannotFetchADanglingPointer", "fetch", "fetch_without_a_journal", _dangling)
instead("CannotFetchAMalformedPointer", "fetch", "fetch_of_a_malformed_pointer", _malformed)
answering("FetchesTheHeadOfThePointer", "fetch", "fetch_answers_both", _head_at_pointer)
instead("ReadsTheLatest", "read_thread", "read_at_a_head read_at_a_head_that_was_trimmed", _reads_latest)
instead("ReadsNoEmptyJournal", "read_thread", "read_of_an_empty_journal_at_its_head", _reads_none_for_empty)
instead("ReadsWhatIsLeft", "read_thread", "read_at_a_head_that_was_trimmed", _reads_what_is_left)


@caught_by("fetch_of_a_put")
class FetchesHeadsOfSavesOnly(Broken):
    """A head is fetched only where a save has written the checkpoint."""

    async def save(self, key: Any, data: Any, **more: Any) -> Any:
        self.remembered("saved")[repr(key)] = True
        return await self.inner.save(key, data, **more)

    async def fetch(self, key: Any) -> Any:
        found = await self.inner.fetch(key)
        return found and (found[0], found[1] if repr(key) in self.remembered("saved") else None)


# -- deletes ----------------------------------------------------------------------------------------------------------


async def _keeps_journal(storage: Broken, real: Method, key: Any, thread_id: Any = None) -> None:
    await storage.inner.delete_checkpoint(key)
    if thread_id is not None:
        await storage.inner.delete_thread(thread_id)


async def _keeps_named(_: Broken, real: Method, key: Any, thread_id: Any = None) -> None:
    await real(key)


async def _named_only(storage: Broken, real: Method, key: Any, thread_id: Any = None) -> None:
    if thread_id is None:
        await real(key)
    else:
        await storage.inner.delete_checkpoint(key)
        await storage.inner.delete_thread(thread_id)


async def _must_exist(storage: Broken, real: Method, key: Any, thread_id: Any = None) -> None:
    if not await version_of(storage, key):
        raise NotFoundError("no such agent")
    await real(key, thread_id)


async def _must_point(storage: Broken, real: Method, key: Any, thread_id: Any = None) -> None:
    found = await storage.inner.get_checkpoint(key)
    pointer = found.data.get("thread") if found is not None and isinstance(found.data, dict) else None
    if found is not None and not isinstance(pointer, dict):
        raise CorruptRowError("this is no agent")
    await real(key, thread_id)


async def _by_pattern(storage: Broken, real: Method, key: Any, thread_id: Any = None) -> None:
    await real(key, thread_id)
    if key == "%":
        for name in list(storage.inner.tables._journals):
            await storage.inner.delete_thread(name)


instead("KeepsTheJournalOfTheDeleted", "delete_agent", "delete_agent_takes_both", _keeps_journal)
instead("KeepsTheNamedJournal", "delete_agent", "delete_agent_takes_a_named_journal_too", _keeps_named)
instead("DeletesTheNamedJournalOnly", "delete_agent", "delete_agent_takes_a_named_journal_too", _named_only)
instead("CannotDeleteAMissingAgent", "delete_agent", "delete_agent_without_a_checkpoint", _must_exist)
instead("DeletesAgentsOnly", "delete_agent", "delete_agent_without_a_journal", _must_point)
instead("DeletesAgentsByPattern", "delete_agent", "delete_agent_leaves_the_others", _by_pattern)
