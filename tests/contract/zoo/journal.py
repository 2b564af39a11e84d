"""Storages that break the journal: appends, entries, metadata, revisions, repeats and deletes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jido_tortoise import seams
from jido_tortoise.agents.storage import Appended
from jido_tortoise.agents.thread import Entry, Thread
from jido_tortoise.errors import (
    ConflictError,
    CorruptRowError,
    DuplicateEntryError,
    InvalidEntryError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)

from .cage import (
    Broken,
    Method,
    add,
    answering,
    as_list,
    caught_by,
    conflict,
    each_entry,
    entry_with,
    fields_of,
    id_of,
    instead,
    rebuilt,
    refusal,
    replace,
    without_id,
)

# -- appends ----------------------------------------------------------------------------------------------------------


async def _empty_for_missing(_: Broken, real: Method, thread_id: str, **range_: Any) -> Any:
    return await real(thread_id, **range_) or Thread(thread_id)


async def _must_exist(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if not await storage.rev(thread_id):
        raise NotFoundError("no such journal")
    return await real(thread_id, entries, **more)


async def _replaces(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    await storage.inner.delete_thread(thread_id)
    return await real(thread_id, entries, **more)


async def _numbers_each_append(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    found = await real(thread_id, entries, **more)
    return replace(found, entries=tuple(entry_with(entry, seq=n) for n, entry in enumerate(found.entries)))


async def _counts_appends(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    found = await real(thread_id, entries, **more)
    counts = storage.remembered("appends")
    counts[thread_id] = counts.get(thread_id, 0) + 1
    return replace(found, rev=counts[thread_id])


async def _binds(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if len(as_list(entries)) > 10_922:
        raise StorageError("the number of query arguments cannot exceed 65535")
    return await real(thread_id, entries, **more)


async def _no_lone_mapping(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if isinstance(entries, Mapping) and entries:
        raise InvalidEntryError.at("entries", "a list", entries)
    return await real(thread_id, entries, **more)


async def _no_lone_entry(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if isinstance(entries, Entry):
        raise InvalidEntryError.at("entries", "a list", entries)
    return await real(thread_id, entries, **more)


async def _one_kind(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if len({isinstance(entry, Entry) for entry in as_list(entries)}) > 1:
        raise InvalidEntryError.at("entries", "entries or mappings", entries)
    return await real(thread_id, entries, **more)


async def _empty_is_nothing(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    return await real(thread_id, entries or [], **more)


async def _unique_everywhere(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    owners = storage.remembered("owners")
    for entry in as_list(entries):
        if id_of(entry) and owners.setdefault(id_of(entry), thread_id) != thread_id:
            raise DuplicateEntryError("there is such an entry already")
    return await real(thread_id, entries, **more)


def _by_text(thread: Thread) -> Thread:
    return rebuilt(thread, entries=sorted(thread, key=lambda entry: str(entry.seq)))


instead(
    "HasAThreadForMissing", "load_thread", "missing_thread_is_none empty_append_of_a_new_thread", _empty_for_missing
)
instead("AppendsToExistingOnly", "append_thread", "append_creates first_entries_after_an_empty_append", _must_exist)
instead("ReplacesTheJournal", "append_thread", "append_continues many_appends_to_one_thread", _replaces)
instead("NumbersEachAppend", "append_thread", "numbers_run_on_across_appends", _numbers_each_append)
instead("CountsAppends", "append_thread", "revision_counts_the_entries hundred_entries_in_one_append", _counts_appends)
instead("BindsEachField", "append_thread", "twenty_thousand_entries_in_one_append", _binds)
instead("TakesNoLoneMapping", "append_thread", "lone_mapping_is_one_entry", _no_lone_mapping)
instead("TakesNoLoneEntry", "append_thread", "lone_entry_is_one_entry", _no_lone_entry)
instead("TakesEntriesOrMappings", "append_thread", "entries_and_mappings_may_be_mixed", _one_kind)
instead("TakesAnEmptyMappingForNothing", "append_thread", "empty_mapping_is_an_entry", _empty_is_nothing)
instead("HasIdsUniqueEverywhere", "append_thread", "two_threads_may_share_an_entry_id", _unique_everywhere)
answering(
    "SortsNumbersAsText",
    "load_thread",
    "hundred_entries_in_one_append many_appends_to_one_thread twenty_thousand_entries_in_one_append",
    _by_text,
)
answering(
    "LoadsAHundredAtMost",
    "load_thread",
    "many_appends_to_one_thread",
    lambda thread: rebuilt(thread, entries=thread.to_list()[:100]),
)
answering(
    "LoadsNewestFirst",
    "load_thread",
    "load_answers_a_whole_thread append_continues",
    lambda thread: rebuilt(thread, entries=thread.to_list()[::-1]),
)
answering(
    "AnswersOtherTimesThanItStores",
    "append_thread",
    "answer_is_what_is_stored",
    lambda found: replace(found, entries=tuple(entry_with(e, at=e.at_ms + 1) for e in found.entries)),
)
answering(
    "AnswersAllThatIsThere",
    "append_thread",
    "answer_is_what_is_stored numbers_run_on_across_appends",
    lambda found: replace(found, entries=tuple(Entry._make(str(n), n, 0, "note", {}, {}) for n in range(found.rev))),
)


@caught_by("given_numbers_are_ignored")
class BelievesGivenNumbers(Broken):
    """It numbers an entry as the caller says."""

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        found = await self.inner.append_thread(thread_id, entries, **more)
        for entry, stored in zip(as_list(entries), found.entries, strict=True):
            self.remembered("seqs")[stored.id] = fields_of(entry).get("seq") or stored.seq
        return found

    async def load_thread(self, thread_id: str, **range_: Any) -> Any:
        thread = await self.inner.load_thread(thread_id, **range_)
        return thread and each_entry(lambda entry: entry_with(entry, seq=self.remembered("seqs")[entry.id]))(thread)


def named(name: str, checks: str, change: Any) -> None:
    """Put a storage into the zoo that keeps its journals under changed names, and shows them as they were given."""

    async def append(storage: Broken, thread_id: str, entries: Any, **more: Any) -> Any:
        return replace(await storage.inner.append_thread(change(thread_id), entries, **more), thread_id=thread_id)

    async def load(storage: Broken, thread_id: str, **range_: Any) -> Any:
        thread = await storage.inner.load_thread(change(thread_id), **range_)
        return thread and rebuilt(thread, id=thread_id)

    async def delete(storage: Broken, thread_id: str) -> None:
        await storage.inner.delete_thread(change(thread_id))

    add(name, type(name, (Broken,), {"append_thread": append, "load_thread": load, "delete_thread": delete}), checks)


named(
    "FoldsThreadIds", "threads_are_apart strange_thread_ids_are_apart delete_of_a_thread_leaves_the_others", str.lower
)
named("StripsThreadIds", "strange_thread_ids_are_apart", str.strip)
named("KeepsJournalsInFiles", "strange_thread_ids_are_apart", lambda name: name.replace("\\", "/").rsplit("/")[-1])


# -- entries ----------------------------------------------------------------------------------------------------------


def mapped(name: str, checks: str, change: Any) -> None:
    """Put a storage into the zoo that changes the fields of each entry before it is stored."""

    async def append(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
        return await real(thread_id, [change(entry) for entry in as_list(entries)], **more)

    instead(name, "append_thread", checks, append)


def _refuse_false(entry: Any) -> Any:
    if isinstance(entry, Mapping) and False in entry.values():
        raise InvalidEntryError.at("entries", "no False", entry)
    return entry


def _short(entry: Any) -> Any:
    if len((id_of(entry) or "").encode()) > 255:
        raise InvalidEntryError.at("entries[0].id", "at most 255 bytes", entry)
    return entry


def _at_of(entry: Any) -> Any:
    fields = fields_of(entry)
    return {**fields, "at": fields.get("at") or None}


def _seconds(entry: Any) -> Any:
    fields = fields_of(entry)
    return {**fields, "at": fields["at"] // 1000 * 1000} if isinstance(fields.get("at"), int) else fields


mapped("HasAnotherKindByDefault", "fields_have_defaults", lambda e: {"kind": "message", **fields_of(e)})
mapped("RefusesFalse", "none_and_false_stand_for_the_default", _refuse_false)
mapped("TakesZeroForNow", "zero_is_a_time", _at_of)
mapped("StoresSeconds", "given_id_and_time_are_kept", _seconds)
mapped("GivesNewIds", "given_id_and_time_are_kept entry_objects_keep_all_fields longest_ids", without_id)
mapped("LosesRefs", "entry_objects_keep_all_fields append_creates", lambda e: {**fields_of(e), "refs": {}})
mapped(
    "FoldsKinds",
    "kinds_are_an_open_set",
    lambda e: {**fields_of(e), "kind": (fields_of(e).get("kind") or "note").lower()},
)
mapped("CountsBytes", "longest_ids", _short)
answering(
    "RepeatsItsIds",
    "load_thread",
    "new_ids_are_unique",
    each_entry(lambda entry: entry_with(entry, id=f"entry_{entry.seq % 50}")),
)
answering(
    "HasIdsWithoutAPrefix",
    "load_thread",
    "new_ids_are_unique",
    each_entry(lambda entry: entry_with(entry, id=entry.id.removeprefix("entry_"))),
)


# -- appends without entries ------------------------------------------------------------------------------------------


async def _nothing_for_nothing(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if not entries and not isinstance(entries, Mapping):
        return Appended(thread_id=thread_id, rev=await storage.rev(thread_id), entries=())
    return await real(thread_id, entries, **more)


async def _nothing_when_there(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if not as_list(entries) and await storage.rev(thread_id):
        return Appended(thread_id=thread_id, rev=await storage.rev(thread_id), entries=())
    return await real(thread_id, entries, **more)


async def _counts_nothing(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    found = await real(thread_id, entries, **more)
    return replace(found, rev=found.rev + (not found.entries))


async def _makes_again(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    head = await storage.inner.get_thread_head(thread_id)
    if head is not None and head.rev == 0 and as_list(entries):
        await storage.inner.delete_thread(thread_id)
        more["metadata"] = head.metadata
    return await real(thread_id, entries, **more)


async def _unguarded_nothing(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if not as_list(entries):
        more.pop("expected_rev", None)
    return await real(thread_id, entries, **more)


instead(
    "DoesNothingForNothing",
    "append_thread",
    "empty_append_makes_a_head empty_append_bumps_the_time metadata_of_an_empty_append"
    " empty_append_checks_the_revision",
    _nothing_for_nothing,
)
instead("DoesNothingWhenThere", "append_thread", "empty_append_bumps_the_time", _nothing_when_there)
instead(
    "CountsNothing", "append_thread", "empty_append_of_a_new_thread empty_append_leaves_the_entries", _counts_nothing
)
instead("MakesTheHeadAgain", "append_thread", "first_entries_after_an_empty_append", _makes_again)
instead("GuardsEntriesOnly", "append_thread", "empty_append_checks_the_revision", _unguarded_nothing)


# -- metadata and times -----------------------------------------------------------------------------------------------


async def _no_metadata(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    return await real(thread_id, entries, **{**more, "metadata": None})


async def _no_metadata_of_nothing(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    return await real(thread_id, entries, **({} if not as_list(entries) else more))


async def _metadata_of_first_entries(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if as_list(entries) and not await storage.rev(thread_id) and more.get("metadata"):
        await storage.inner.delete_thread(thread_id)
    return await real(thread_id, entries, **more)


class ShowsMetadata(Broken):
    """It keeps metadata in its own way."""

    async def load_thread(self, thread_id: str, **range_: Any) -> Any:
        thread = await self.inner.load_thread(thread_id, **range_)
        return thread and rebuilt(thread, metadata=self.remembered("metadata").get(thread_id) or {})


@caught_by("later_metadata_are_ignored metadata_after_an_empty_append")
class ReplacesMetadata(ShowsMetadata):
    """The last metadata that were given are those of the journal."""

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        if more.get("metadata"):
            self.remembered("metadata")[thread_id] = more["metadata"]
        return await self.inner.append_thread(thread_id, entries, **more)


@caught_by("later_metadata_are_ignored metadata_of_an_empty_append")
class WipesMetadata(ShowsMetadata):
    """An append that brings no metadata wipes those that are there."""

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        self.remembered("metadata")[thread_id] = more.get("metadata")
        return await self.inner.append_thread(thread_id, entries, **more)


instead(
    "StoresNoMetadata", "append_thread", "metadata_of_the_first_append head_says_what_the_thread_says", _no_metadata
)
instead("StoresNoMetadataOfNothing", "append_thread", "metadata_of_an_empty_append", _no_metadata_of_nothing)
instead("TakesMetadataOfTheFirstEntries", "append_thread", "metadata_after_an_empty_append", _metadata_of_first_entries)
answering(
    "HasNoneForNoMetadata",
    "load_thread",
    "no_metadata_is_an_empty_map",
    lambda thread: rebuilt(thread, metadata=thread.metadata or None),
)


class _Naive:
    """A thread whose times have no zone."""

    created_at = updated_at = datetime(2026, 1, 1)

    def __init__(self, thread: Thread) -> None:
        self.thread = thread

    def __getattr__(self, name: str) -> Any:
        return getattr(self.thread, name)


answering("HasNaiveTimes", "load_thread", "times_of_a_thread", _Naive)
answering(
    "HasTimesOfItsOwnEpoch",
    "load_thread",
    "times_of_a_thread append_moves_only_updated_at",
    lambda thread: rebuilt(thread, created_ms=thread._created_ms // 1000, updated_ms=thread._updated_ms // 1000),
)
answering(
    "MovesTheBirthOfAThread",
    "load_thread",
    "append_moves_only_updated_at",
    lambda thread: rebuilt(thread, created_ms=thread._updated_ms),
)


@caught_by("thread_time_never_goes_back")
class MovesTheTimeOfAThreadBack(Broken):
    """The time of the last change is whatever clock its writer has."""

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        self.remembered("times")[thread_id] = seams.now_ms()
        return await self.inner.append_thread(thread_id, entries, **more)

    async def load_thread(self, thread_id: str, **range_: Any) -> Any:
        thread = await self.inner.load_thread(thread_id, **range_)
        return thread and rebuilt(thread, updated_ms=self.remembered("times")[thread_id])


# -- expected revisions -----------------------------------------------------------------------------------------------


async def _spurious(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if more.get("expected_rev"):
        raise conflict()
    return await real(thread_id, entries, **more)


async def _ignores(
    _: Broken, real: Method, thread_id: str, entries: Any, *, expected_rev: Any = None, **more: Any
) -> Any:
    return await real(thread_id, entries, **more)


async def _no_older(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    expected = more.get("expected_rev")
    if isinstance(expected, int) and expected < await storage.rev(thread_id):
        raise conflict()
    return await real(thread_id, entries, **{**more, "expected_rev": None})


async def _zero_conflicts(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if more.get("expected_rev") == 0 and not await storage.rev(thread_id):
        raise conflict()
    return await real(thread_id, entries, **more)


async def _any_for_missing(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if await storage.inner.get_thread_head(thread_id) is None:
        more.pop("expected_rev", None)
    return await real(thread_id, entries, **more)


async def _head_before_guard(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if await storage.inner.get_thread_head(thread_id) is None and more.get("expected_rev"):
        await real(thread_id, [], metadata=more.get("metadata"))
    return await real(thread_id, entries, **more)


async def _touches(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    try:
        return await real(thread_id, entries, **more)
    except ConflictError:
        await real(thread_id, [])
        raise


async def _writes_before_guard(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    try:
        return await real(thread_id, entries, **more)
    except ConflictError:
        await real(thread_id, entries)
        raise


async def _poisons(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    poisoned = storage.remembered("poisoned")
    if thread_id in poisoned:
        raise CorruptRowError("this journal is done for")
    try:
        return await real(thread_id, entries, **more)
    except ConflictError:
        poisoned[thread_id] = True
        raise


async def _no_facts(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    try:
        return await real(thread_id, entries, **more)
    except ConflictError as error:
        raise type(error)(str(error)) from None


async def _bad_is_conflict(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    try:
        return await real(thread_id, entries, **more)
    except InvalidEntryError:
        raise
    except InvalidInputError:
        raise conflict() from None


instead("ConflictsForNothing", "append_thread", "matching_revision_appends repeat_of_a_guarded_append", _spurious)
instead(
    "IgnoresTheRevision",
    "append_thread",
    "other_revision_conflicts revision_of_a_missing_thread refused_append_changes_nothing deleted_thread_is_at_zero"
    " thread_is_usable_after_a_conflict revision_conflict_has_its_facts wrong_revision_is_refused"
    " one_winner_at_one_revision one_winner_makes_the_journal",
    _ignores,
)
instead(
    "RefusesOlderRevisionsOnly", "append_thread", "other_revision_conflicts revision_of_a_missing_thread", _no_older
)
instead("HasNoRevisionZero", "append_thread", "zero_makes_a_thread deleted_thread_is_at_zero", _zero_conflicts)
instead("TakesAnyRevisionOfMissing", "append_thread", "revision_of_a_missing_thread", _any_for_missing)
instead("MakesTheHeadBeforeTheGuard", "append_thread", "revision_of_a_missing_thread", _head_before_guard)
instead("TouchesWhatItRefuses", "append_thread", "refused_append_changes_nothing", _touches)
instead(
    "WritesBeforeItRefuses",
    "append_thread",
    "refused_append_changes_nothing thread_is_usable_after_a_conflict",
    _writes_before_guard,
)
instead("IsPoisonedByAConflict", "append_thread", "thread_is_usable_after_a_conflict", _poisons)
instead("SaysNoFactsOfAConflict", "append_thread", "revision_conflict_has_its_facts duplicate_has_its_facts", _no_facts)
instead("TakesBadRevisionsForConflicts", "append_thread", "wrong_revision_is_refused", _bad_is_conflict)


# -- repeats ----------------------------------------------------------------------------------------------------------


async def known_ids(storage: Broken, thread_id: str) -> list[str]:
    """Answer the ids that a journal has."""
    thread = await storage.inner.load_thread(thread_id)
    return [entry.id for entry in thread or ()]


async def is_repeat(storage: Broken, thread_id: str, entries: Any) -> bool:
    """Tell whether one of these ids is stored."""
    known = set(await known_ids(storage, thread_id))
    return any(id_of(entry) in known for entry in as_list(entries))


async def _twice(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if await is_repeat(storage, thread_id, entries):
        entries = [without_id(entry) for entry in as_list(entries)]
    return await real(thread_id, entries, **more)


async def _answers_nothing(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    repeat = await is_repeat(storage, thread_id, entries)
    found = await real(thread_id, entries, **more)
    return replace(found, entries=()) if repeat else found


async def _answers_given(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    repeat = await is_repeat(storage, thread_id, entries)
    found = await real(thread_id, entries, **more)
    return replace(found, rev=await storage.rev(thread_id) + 1) if repeat else found


async def _guards_first(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if more.get("expected_rev") not in (None, await storage.rev(thread_id)):
        raise conflict()
    return await real(thread_id, entries, **more)


async def _last_only(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    ids = [id_of(entry) for entry in as_list(entries)]
    known = await known_ids(storage, thread_id)
    if ids and known[-len(ids) :] != ids and ids[0] in known:
        raise DuplicateEntryError("not at the end")
    return await real(thread_id, entries, **more)


async def _dates(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    dated = [{"at": seams.now_ms(), **fields_of(entry)} for entry in as_list(entries)]
    return await real(thread_id, dated, **more)


async def _believes(storage: Broken, real: Method, thread_id: str, entries: Any, same: Any, **more: Any) -> Any:
    try:
        return await real(thread_id, entries, **more)
    except DuplicateEntryError:
        thread = await storage.inner.load_thread(thread_id)
        stored = {entry.id: entry for entry in thread or ()}
        found = [stored.get(entry.id) for entry in entries]
        if not all(old is not None and same(old, new) for old, new in zip(found, entries, strict=True)):
            raise
        return Appended(thread_id=thread_id, rev=len(stored), entries=tuple(found))  # type: ignore[arg-type]


async def _believes_ids(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    return await _believes(storage, real, thread_id, as_list(entries), lambda old, new: old.kind == new.kind, **more)


async def _compares_as_python(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    def same(old: Entry, new: Entry) -> bool:
        return (old.kind, old.payload, old.refs) == (new.kind, new.payload, new.refs)

    return await _believes(storage, real, thread_id, as_list(entries), same, **more)


async def _compares_payloads(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    return await _believes(
        storage, real, thread_id, as_list(entries), lambda old, new: old.payload == new.payload, **more
    )


async def _adds_the_new(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    known = set(await known_ids(storage, thread_id))
    new = [entry for entry in as_list(entries) if id_of(entry) not in known]
    return await real(thread_id, new if new and len(new) < len(as_list(entries)) else entries, **more)


async def _once_each(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    seen: dict[Any, Any] = {}
    for entry in as_list(entries):
        seen.setdefault(id_of(entry) or id(entry), entry)
    return await real(thread_id, list(seen.values()), **more)


async def _folds_ids(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    known = {entry_id.strip().casefold() for entry_id in await known_ids(storage, thread_id)}
    if any((id_of(entry) or "").strip().casefold() in known for entry in as_list(entries)):
        raise DuplicateEntryError("there is such an entry already")
    return await real(thread_id, entries, **more)


async def _wrong_error(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    try:
        return await real(thread_id, entries, **more)
    except DuplicateEntryError:
        raise refusal() from None


async def _saves_twice(storage: Broken, real: Method, key: Any, data: Any, *, thread: Any, **more: Any) -> Any:
    if await is_repeat(storage, thread.id, thread.entries):
        entries = [without_id(entry) for entry in thread.entries]
        thread = replace(thread, entries=entries, expected_rev=None)
    return await real(key, data, thread=thread, **more)


instead(
    "StoresRepeatsTwice",
    "append_thread",
    "repeat_writes_nothing_twice repeat_answers_what_is_stored same_id_with_another_payload concurrent_repeats"
    " stored_entries_in_another_order new_entries_beside_stored_ones same_id_with_another_kind_or_refs",
    _twice,
)
instead(
    "AnswersRepeatsWithNothing", "append_thread", "repeat_answers_what_is_stored concurrent_repeats", _answers_nothing
)
instead("AnswersRepeatsWithAnotherRevision", "append_thread", "repeat_answers_what_is_stored", _answers_given)
instead("GuardsRepeatsToo", "append_thread", "repeat_of_a_guarded_append cancelled_guarded_append", _guards_first)
instead("KnowsRepeatsAtTheEndOnly", "append_thread", "repeat_after_others_appended", _last_only)
instead("DatesWhatHasNoTime", "append_thread", "repeat_of_a_mapping_without_time", _dates)
instead("BelievesIds", "append_thread", "same_id_with_another_payload same_id_with_another_type_inside", _believes_ids)
instead("ComparesContentAsPython", "append_thread", "same_id_with_another_type_inside", _compares_as_python)
instead(
    "ComparesPayloadsOnly",
    "append_thread",
    "same_id_with_another_kind_or_refs stored_entries_in_another_order",
    _compares_payloads,
)
instead("AddsWhatIsNew", "append_thread", "new_entries_beside_stored_ones", _adds_the_new)
instead("DropsDoublesOfOneAppend", "append_thread", "same_id_twice_in_one_append", _once_each)
instead("FoldsIds", "append_thread", "ids_are_compared_exactly", _folds_ids)
instead(
    "TakesDuplicatesForBadInput", "append_thread", "duplicate_has_its_facts same_id_with_another_payload", _wrong_error
)
instead("SavesRepeatsTwice", "save", "repeat_of_a_save", _saves_twice)


# -- deletes ----------------------------------------------------------------------------------------------------------


async def _never(*_: Any) -> None:
    return None


async def _entries_only(storage: Broken, real: Method, thread_id: str) -> None:
    head = await storage.inner.get_thread_head(thread_id)
    await real(thread_id)
    if head is not None:
        await storage.inner.append_thread(thread_id, [], metadata=head.metadata)


async def _or_raise(storage: Broken, real: Method, thread_id: str) -> None:
    if await storage.inner.get_thread_head(thread_id) is None:
        raise NotFoundError("no such journal")
    await real(thread_id)


async def _by_pattern(storage: Broken, real: Method, thread_id: str) -> None:
    for name in [name for name in storage.inner.tables._journals if thread_id in ("%", name, "_" * len(name))]:
        await real(name)


instead("NeverDeletesThreads", "delete_thread", "delete_removes_the_thread deleted_id_starts_anew", _never)
instead("KeepsTheHeadOfDeleted", "delete_thread", "delete_removes_the_head deleted_id_starts_anew", _entries_only)
instead("CannotDeleteAMissingThread", "delete_thread", "deleting_no_thread_is_no_error", _or_raise)
instead("DeletesByPattern", "delete_thread", "delete_of_a_thread_leaves_the_others", _by_pattern)


@caught_by("deleted_thread_is_at_zero")
class GoesOnAfterADelete(Broken):
    """The revision that is expected after a delete is still that from before."""

    async def delete_thread(self, thread_id: str) -> None:
        self.remembered("tombs")[thread_id] = await self.rev(thread_id)
        await self.inner.delete_thread(thread_id)

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        tomb = self.remembered("tombs").pop(thread_id, None)
        if tomb is not None and more.get("expected_rev") is not None:
            more["expected_rev"] = 0 if more["expected_rev"] == tomb else 99
        return await self.inner.append_thread(thread_id, entries, **more)


@caught_by("deleted_entry_ids_are_free")
class NeverForgetsAnId(Broken):
    """The ids of a deleted journal stay taken."""

    async def delete_thread(self, thread_id: str) -> None:
        self.remembered("ids").update(dict.fromkeys(await known_ids(self, thread_id)))
        await self.inner.delete_thread(thread_id)

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        if any(id_of(entry) in self.remembered("ids") for entry in as_list(entries)):
            raise DuplicateEntryError("there was such an entry")
        return await self.inner.append_thread(thread_id, entries, **more)
