"""Storages that read the wrong part of a journal, walk it wrongly, or trim, copy and repair it wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jido_tortoise import seams
from jido_tortoise.agents.storage import ThreadHead
from jido_tortoise.agents.thread import Thread
from jido_tortoise.errors import CorruptRowError, NotFoundError, StorageError

from .cage import (
    Broken,
    Method,
    add,
    answering,
    as_list,
    caught_by,
    conflict,
    entry_with,
    id_of,
    instead,
    rebuilt,
    replace,
    without_id,
)

# -- ranges -----------------------------------------------------------------------------------------------------------


async def _after(_: Broken, real: Method, thread_id: str, *, from_seq: int = 0, **range_: Any) -> Any:
    return await real(thread_id, from_seq=from_seq + 1 if from_seq else 0, **range_)


async def _newest(
    _: Broken, real: Method, thread_id: str, *, limit: Any = None, from_seq: int = 0, **range_: Any
) -> Any:
    return (
        await real(thread_id, tail=limit)
        if limit and not from_seq
        else await real(thread_id, limit=limit, from_seq=from_seq, **range_)
    )


async def _limits_first(
    _: Broken, real: Method, thread_id: str, *, limit: Any = None, from_seq: int = 0, **more: Any
) -> Any:
    thread = await real(thread_id, limit=limit, **more)
    return thread and rebuilt(thread, entries=[entry for entry in thread if entry.seq >= from_seq])


async def _reversed_tail(_: Broken, real: Method, thread_id: str, *, tail: Any = None, **range_: Any) -> Any:
    thread = await real(thread_id, tail=tail, **range_)
    return thread if tail is None or thread is None else rebuilt(thread, entries=thread.to_list()[::-1])


async def _tail_is_limit(_: Broken, real: Method, thread_id: str, *, tail: Any = None, **range_: Any) -> Any:
    return await real(thread_id, limit=tail) if tail is not None else await real(thread_id, **range_)


async def _none_for_empty(_: Broken, real: Method, thread_id: str, **range_: Any) -> Any:
    thread = await real(thread_id, **range_)
    return thread if thread is not None and len(thread) else None


async def _empty_for_none(_: Broken, real: Method, thread_id: str, **range_: Any) -> Any:
    thread = await real(thread_id, **range_)
    return Thread(thread_id) if thread is None and range_ else thread


async def _rev_of_the_part(_: Broken, real: Method, thread_id: str, **range_: Any) -> Any:
    thread = await real(thread_id, **range_)
    return thread and rebuilt(thread, rev=len(thread))


async def _part_without_metadata(_: Broken, real: Method, thread_id: str, **range_: Any) -> Any:
    thread = await real(thread_id, **range_)
    return rebuilt(thread, metadata={}) if thread is not None and range_ else thread


async def _part_without_refs(_: Broken, real: Method, thread_id: str, **range_: Any) -> Any:
    thread = await real(thread_id, **range_)
    if thread is None or not range_:
        return thread
    return rebuilt(thread, entries=[entry_with(entry, refs={}) for entry in thread])


async def _one_more(_: Broken, real: Method, thread_id: str, *, limit: Any = None, **range_: Any) -> Any:
    return await real(thread_id, limit=limit and limit + 1, **range_)


instead("BeginsAfterTheNumber", "load_thread", "from_a_number_on pages_cover_the_journal", _after)
instead("LimitsFromTheEnd", "load_thread", "limit", _newest)
instead("LimitsBeforeItSkips", "load_thread", "from_a_number_on_with_a_limit pages_cover_the_journal", _limits_first)
instead("HasTheTailNewestFirst", "load_thread", "tail range_answers_the_same_entries", _reversed_tail)
instead("TakesTheTailFromTheBeginning", "load_thread", "tail", _tail_is_limit)
instead("HasNoThreadWithoutEntries", "load_thread", "range_without_entries", _none_for_empty)
instead("HasARangeOfNothing", "load_thread", "range_of_a_missing_thread", _empty_for_none)
instead("CountsThePartOnly", "load_thread", "range_knows_the_whole append_to_a_partial_thread", _rev_of_the_part)
instead("LosesMetadataOfAPart", "load_thread", "range_knows_the_whole", _part_without_metadata)
instead("LosesRefsOfAPart", "load_thread", "range_answers_the_same_entries", _part_without_refs)
instead("LoadsOneMore", "load_thread", "limit from_a_number_on_with_a_limit", _one_more)


# -- heads ------------------------------------------------------------------------------------------------------------


async def _head_for_missing(_: Broken, real: Method, thread_id: str) -> Any:
    now = seams.to_datetime(0)
    return await real(thread_id) or ThreadHead(rev=0, first_seq=0, metadata={}, created_at=now, updated_at=now)


async def _cached_head(storage: Broken, real: Method, thread_id: str) -> Any:
    heads = storage.remembered("heads")
    heads[thread_id] = heads.get(thread_id) or await real(thread_id)
    return heads[thread_id]


instead("HasAHeadForMissing", "get_thread_head", "head_of_a_missing_thread delete_removes_the_head", _head_for_missing)
instead("CachesHeads", "get_thread_head", "head_moves_with_each_append", _cached_head)
answering(
    "ShowsOtherTimesInTheHead",
    "get_thread_head",
    "head_says_what_the_thread_says",
    lambda head: replace(head, updated_at=head.created_at),
)


# -- walks ------------------------------------------------------------------------------------------------------------


def walking(name: str, checks: str, walk: Callable[..., Any]) -> None:
    """Put a storage into the zoo that walks in its own way."""

    def iter_entries(self: Broken, thread_id: str, **range_: Any) -> Any:
        return walk(self, thread_id, **range_)

    add(name, type(name, (Broken,), {"iter_entries": iter_entries}), checks)


async def _repeats_borders(
    storage: Broken, thread_id: str, *, page: int = 500, upto: int | None = None, from_seq: int = 0
) -> Any:
    met: list[Any] = []
    async for entry in storage.inner.iter_entries(thread_id, from_seq=from_seq, upto=upto):
        if met and len(met) % page == 0:
            yield met[-1]
        yield entry
        met.append(entry)


async def _without_refs(storage: Broken, thread_id: str, **range_: Any) -> Any:
    async for entry in storage.inner.iter_entries(thread_id, **range_):
        yield entry_with(entry, refs={})


async def _upto_included(storage: Broken, thread_id: str, *, upto: int | None = None, **range_: Any) -> Any:
    async for entry in storage.inner.iter_entries(thread_id, upto=None if upto is None else upto + 1, **range_):
        yield entry


async def _raises_for_nothing(storage: Broken, thread_id: str, **range_: Any) -> Any:
    if not await storage.rev(thread_id):
        raise NotFoundError("no such journal")
    async for entry in storage.inner.iter_entries(thread_id, **range_):
        yield entry


async def _counts_from_the_end(storage: Broken, thread_id: str, *, page: int = 500, **_: Any) -> Any:
    left = await storage.rev(thread_id)
    while left > 0:
        thread = await storage.inner.load_thread(thread_id)
        for entry in (thread.to_list() if thread else [])[-left:][:page]:
            yield entry
        left -= page


async def _counts_what_is_left(storage: Broken, thread_id: str, *, from_seq: int = 0, **range_: Any) -> Any:
    head = await storage.inner.get_thread_head(thread_id)
    offset = head.first_seq if head is not None else 0
    async for entry in storage.inner.iter_entries(thread_id, from_seq=from_seq + offset, **range_):
        yield entry


walking("WalksBordersTwice", "walk_meets_each_entry_once walk_beside_a_writer", _repeats_borders)
walking("WalksWithoutRefs", "walk_answers_whole_entries", _without_refs)
walking("WalksOneTooFar", "walk_of_a_range", _upto_included)
walking("CannotWalkNothing", "walk_of_nothing", _raises_for_nothing)
walking("WalksByDistanceFromTheEnd", "walk_beside_a_writer walk_of_a_range", _counts_from_the_end)
walking("WalksByPlaceNotByNumber", "walk_after_a_trim", _counts_what_is_left)


@caught_by("walk_can_be_left walk_beside_a_writer")
class IsBusyUntilAWalkEnds(Broken):
    """A walk holds the storage until it has come to its end."""

    async def iter_entries(self, thread_id: str, **range_: Any) -> Any:
        self.shared.walking = True
        async for entry in self.inner.iter_entries(thread_id, **range_):
            yield entry
        self.shared.walking = False

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        if getattr(self.shared, "walking", False):
            raise StorageError("another operation is in progress")
        return await self.inner.append_thread(thread_id, entries, **more)


# -- trims ------------------------------------------------------------------------------------------------------------


async def _trims_the_border(_: Broken, real: Method, thread_id: str, *, before: int) -> Any:
    return await real(thread_id, before=before + 1)


async def _keeps_one(storage: Broken, real: Method, thread_id: str, *, before: int) -> Any:
    return await real(thread_id, before=min(before, max(0, await storage.rev(thread_id) - 1)))


async def _drops_the_head(storage: Broken, real: Method, thread_id: str, *, before: int) -> Any:
    found = await real(thread_id, before=before)
    if await storage.inner.load_thread(thread_id) is None:
        await storage.inner.delete_thread(thread_id)
    return found


async def _answers_the_border(_: Broken, real: Method, thread_id: str, *, before: int) -> Any:
    await real(thread_id, before=before)
    return before


async def _missing_raises(storage: Broken, real: Method, thread_id: str, *, before: int) -> Any:
    if await storage.inner.get_thread_head(thread_id) is None:
        raise NotFoundError("no such journal")
    return await real(thread_id, before=before)


async def _makes_missing(storage: Broken, real: Method, thread_id: str, *, before: int) -> Any:
    if await storage.inner.get_thread_head(thread_id) is None:
        await storage.inner.append_thread(thread_id, [{}] * before)
    return await real(thread_id, before=before)


async def _trims_by_pattern(storage: Broken, real: Method, thread_id: str, *, before: int) -> Any:
    names = list(storage.inner.tables._journals) if thread_id == "%" else [thread_id]
    return sum([await real(name, before=before) for name in names])


async def _rebuilds(storage: Broken, real: Method, thread_id: str, *, before: int) -> Any:
    thread = await storage.inner.load_thread(thread_id)
    if thread is None:
        return 0
    await storage.inner.delete_thread(thread_id)
    kept = [entry for entry in thread if entry.seq >= before]
    if kept:
        await storage.inner.append_thread(thread_id, kept)
    return len(thread) - len(kept)


instead(
    "TrimsTheBorderToo", "trim_thread", "trim_drops_what_is_below trim_keeps_revision_and_numbers", _trims_the_border
)
instead("KeepsOneEntry", "trim_thread", "trim_of_all", _keeps_one)
instead("DropsTheHeadOfAnEmptyJournal", "trim_thread", "head_after_a_trim_of_all trim_of_all", _drops_the_head)
instead("AnswersTheBorder", "trim_thread", "trim_again trim_of_a_missing_thread", _answers_the_border)
instead("CannotTrimNothing", "trim_thread", "trim_of_a_missing_thread", _missing_raises)
instead("MakesWhatItTrims", "trim_thread", "trim_of_a_missing_thread", _makes_missing)
instead("TrimsByPattern", "trim_thread", "trim_leaves_the_others", _trims_by_pattern)
instead(
    "RebuildsWhatItTrims",
    "trim_thread",
    "trim_drops_what_is_below trim_keeps_revision_and_numbers append_after_a_trim trim_of_all guard_after_a_trim",
    _rebuilds,
)


@caught_by("trim_keeps_revision_and_numbers append_after_a_trim trim_of_all")
class CountsWhatIsLeft(Broken):
    """The revision is the number of entries that are there."""

    async def left(self, thread_id: str) -> int:
        """Answer how many entries a journal has."""
        thread = await self.inner.load_thread(thread_id)
        return len(thread) if thread is not None else 0

    async def load_thread(self, thread_id: str, **range_: Any) -> Any:
        thread = await self.inner.load_thread(thread_id, **range_)
        return thread and rebuilt(thread, rev=len(thread), first_seq=0)

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        found = await self.inner.append_thread(thread_id, entries, **more)
        return replace(found, rev=await self.left(thread_id))


async def _guards_by_what_is_left(storage: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    thread = await storage.inner.load_thread(thread_id)
    if more.pop("expected_rev", None) not in (None, len(thread) if thread is not None else 0):
        raise conflict()
    return await real(thread_id, entries, **more)


instead("GuardsByWhatIsLeft", "append_thread", "guard_after_a_trim append_after_a_trim", _guards_by_what_is_left)


@caught_by("ranges_after_a_trim")
class RangesCountFromTheFirst(Broken):
    """A first number is taken for a place among the entries that are there."""

    async def load_thread(self, thread_id: str, *, from_seq: int = 0, **range_: Any) -> Any:
        head = await self.inner.get_thread_head(thread_id)
        first = head.first_seq if head is not None else 0
        return await self.inner.load_thread(thread_id, from_seq=from_seq + first if from_seq else 0, **range_)


@caught_by("repeat_after_a_trim")
class ForgetsIdsWithATrim(Broken):
    """After a trim it knows no repeat."""

    async def trim_thread(self, thread_id: str, *, before: int) -> int:
        self.remembered("trimmed")[thread_id] = True
        return await self.inner.trim_thread(thread_id, before=before)

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        if thread_id in self.remembered("trimmed") and any(id_of(entry) for entry in as_list(entries)):
            entries = [without_id(entry) for entry in as_list(entries)]
        return await self.inner.append_thread(thread_id, entries, **more)


@caught_by("trim_again")
class MovesTheFirstNumberBack(Broken):
    """The first number is whatever the last trim said."""

    async def trim_thread(self, thread_id: str, *, before: int) -> int:
        self.remembered("first").setdefault(thread_id, []).append(before)
        return await self.inner.trim_thread(thread_id, before=before)

    async def load_thread(self, thread_id: str, **range_: Any) -> Any:
        thread = await self.inner.load_thread(thread_id, **range_)
        firsts = self.remembered("first").get(thread_id)
        return rebuilt(thread, first_seq=firsts[-2]) if thread is not None and firsts else thread


# -- copies -----------------------------------------------------------------------------------------------------------


async def _copies_anew(storage: Broken, real: Method, source: str, target: str, *, upto: Any = None) -> Any:
    if await storage.inner.get_thread_head(source) is None or await storage.inner.get_thread_head(target) is not None:
        return await real(source, target, upto=upto)
    thread = await storage.inner.load_thread(source)
    entries = [without_id(entry) for entry in thread or () if upto is None or entry.seq < upto]
    await storage.inner.append_thread(target, entries, metadata=thread.metadata if thread is not None else None)
    return await storage.inner.get_thread_head(target)


async def _copies_the_border(_: Broken, real: Method, source: str, target: str, *, upto: Any = None) -> Any:
    return await real(source, target, upto=None if upto is None else upto + 1)


async def _copies_without_metadata(storage: Broken, real: Method, source: str, target: str, **upto: Any) -> Any:
    head = await real(source, target, **upto)
    return replace(head, metadata={})


async def _cannot_copy_nothing(storage: Broken, real: Method, source: str, target: str, **upto: Any) -> Any:
    if await storage.inner.load_thread(source) is None or upto.get("upto") == 0:
        raise NotFoundError("no entries")
    return await real(source, target, **upto)


async def _touches_the_source(storage: Broken, real: Method, source: str, target: str, **upto: Any) -> Any:
    head = await real(source, target, **upto)
    await storage.inner.append_thread(source, [])
    return head


async def _overwrites(storage: Broken, real: Method, source: str, target: str, **upto: Any) -> Any:
    if source != target:
        await storage.inner.delete_thread(target)
    return await real(source, target, **upto)


async def _copies_onto_empty(storage: Broken, real: Method, source: str, target: str, **upto: Any) -> Any:
    if not await storage.rev(target):
        await storage.inner.delete_thread(target)
    return await real(source, target, **upto)


async def _makes_the_source(storage: Broken, real: Method, source: str, target: str, **upto: Any) -> Any:
    await storage.inner.append_thread(source, [])
    return await real(source, target, **upto)


async def _makes_the_target(storage: Broken, real: Method, source: str, target: str, **upto: Any) -> Any:
    try:
        return await real(source, target, **upto)
    except NotFoundError:
        await storage.inner.append_thread(target, [{}])
        raise


instead("CopiesAnew", "copy_thread", "copy_has_the_same_entries copy_of_a_trimmed_thread", _copies_anew)
instead("CopiesTheBorderToo", "copy_thread", "copy_up_to_a_number copy_of_no_entries", _copies_the_border)
instead("CopiesWithoutMetadata", "copy_thread", "copy_has_the_same_entries", _copies_without_metadata)
instead("CannotCopyNothing", "copy_thread", "copy_of_no_entries", _cannot_copy_nothing)
instead("TouchesTheSource", "copy_thread", "copy_leaves_the_source", _touches_the_source)
instead("CopiesOverWhatIsThere", "copy_thread", "copy_over_a_thread one_winner_of_copies", _overwrites)
instead("CopiesOverAnEmptyJournal", "copy_thread", "copy_over_a_thread", _copies_onto_empty)
instead("MakesTheSource", "copy_thread", "copy_of_a_missing_thread", _makes_the_source)
instead("MakesTheTargetAllTheSame", "copy_thread", "copy_of_a_missing_thread", _makes_the_target)


@caught_by("copy_goes_its_own_way")
class CopiesByReference(Broken):
    """A copy is another name of the same journal."""

    def real(self, name: str) -> str:
        """Answer the name of the journal behind a name."""
        return str(self.remembered("aliases").get(name, name))

    async def copy_thread(self, source: str, target: str, *, upto: Any = None) -> Any:
        self.remembered("aliases")[target] = source
        return await self.inner.get_thread_head(source)

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        return await self.inner.append_thread(self.real(thread_id), entries, **more)

    async def load_thread(self, thread_id: str, **range_: Any) -> Any:
        return await self.inner.load_thread(self.real(thread_id), **range_)


# -- repair -----------------------------------------------------------------------------------------------------------


async def _always_repairs(storage: Broken, real: Method, thread_id: str) -> Any:
    return await real(thread_id) or "rebuilt the head"


async def _repair_touches(storage: Broken, real: Method, thread_id: str) -> Any:
    await storage.inner.append_thread(thread_id, [{}])
    return await real(thread_id)


async def _trimmed_is_damaged(storage: Broken, real: Method, thread_id: str) -> Any:
    head = await storage.inner.get_thread_head(thread_id)
    if head is not None and head.first_seq:
        raise CorruptRowError("entries are missing")
    return await real(thread_id)


async def _makes_a_head(storage: Broken, real: Method, thread_id: str) -> Any:
    if await storage.inner.get_thread_head(thread_id) is None:
        await storage.inner.append_thread(thread_id, [{}])
    return await real(thread_id)


instead("AlwaysFindsDamage", "repair_thread", "sound_journal_is_left_alone repair_of_nothing", _always_repairs)
instead("RepairsWhatIsSound", "repair_thread", "sound_journal_is_left_alone", _repair_touches)
instead("TakesATrimForDamage", "repair_thread", "trimmed_journal_is_sound", _trimmed_is_damaged)
instead("RepairsWhatIsNotThere", "repair_thread", "repair_of_nothing", _makes_a_head)
answering("AnswersThePythonText", "read_raw_checkpoint", "raw_checkpoint", lambda raw: ('"text"', raw[1]))
answering("AnswersTheFirstVersion", "read_raw_checkpoint", "raw_checkpoint", lambda raw: (raw[0], 1))
