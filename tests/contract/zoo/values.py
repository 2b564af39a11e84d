"""Storages that lose something of a value, share it with the caller, or store what they should refuse."""

from __future__ import annotations

import copy
import json
import math
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from jido_tortoise import codec
from jido_tortoise.agents.storage import ThreadWrite
from jido_tortoise.agents.thread import Entry
from jido_tortoise.errors import UnstorableError

from .cage import Broken, Method, add, as_list, caught_by, each_entry, entry_with, fields_of, instead, rebuilt, replace

Change = Callable[[Any], Any]


def deep(change: Change) -> Change:
    """Answer what changes a value and all that is inside of it, keys of maps left out."""

    def walk(value: Any) -> Any:
        if type(value) in (list, tuple, set, frozenset):
            return change(type(value)(walk(part) for part in value))
        if isinstance(value, dict):
            return change({name: walk(part) for name, part in value.items()})
        return change(value)

    return walk


def when(kinds: type | tuple[type, ...], change: Change) -> Change:
    """Answer what changes values of these very types, wherever they are."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    return deep(lambda value: change(value) if type(value) in kinds else value)


def lossy(name: str, check: str, change: Change) -> None:
    """Put a storage into the zoo that changes the data of checkpoints."""

    async def put(_: Broken, real: Method, key: Any, data: Any, **guard: Any) -> Any:
        return await real(key, change(data), **guard)

    instead(name, "put_checkpoint", check, put)


def _from_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _as_ours(value: dict[Any, Any]) -> Any:
    return b"" if any(isinstance(name, str) and name.startswith("$jido:") for name in value) else value


def _plain_float(value: float) -> float | None:
    return value + 0.0 if math.isfinite(value) else None


def _object(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value


lossy("StoresBoolsAsNumbers", "constants_are_kept", when(bool, int))
lossy("DropsNone", "constants_are_kept", deep(lambda value: "" if value is None else value))
lossy(
    "HasNumbersOfJavaScript",
    "integers_are_kept",
    when(int, lambda value: int(float(value)) if abs(value) < 2**99 else value),
)
lossy("HasNumbersOf64Bits", "big_integers_are_kept", when(int, lambda value: max(-(2**63), min(value, 2**63 - 1))))
lossy("StoresWholeFloatsAsInts", "floats_are_kept", when(float, lambda value: _whole(value) if value else value))
lossy("RoundsFloats", "floats_are_kept", when(float, lambda value: float(f"{value:.12g}")))
lossy("HasNoOddFloats", "odd_floats_are_kept", when(float, _plain_float))
lossy("LosesMinusZero", "odd_floats_are_kept", when(float, lambda value: value + 0.0))
lossy("ComposesTexts", "texts_are_kept", when(str, lambda text: unicodedata.normalize("NFC", text)))
lossy("ParsesTexts", "texts_like_values_are_kept", when(str, _from_text))
lossy("DropsNul", "nul_and_surrogates_are_kept", when(str, lambda text: text.replace("\0", "")))
lossy(
    "ReplacesSurrogates",
    "nul_and_surrogates_are_kept",
    when(str, lambda text: text.encode("utf-8", "replace").decode()),
)
lossy("StoresBytesAsText", "bytes_are_kept", when(bytes, lambda value: value.decode("latin-1")))
lossy("StoresBytearrayAsBytes", "bytes_are_kept", when(bytearray, bytes))
lossy(
    "StoresMomentsInUtc",
    "datetimes_are_kept",
    when(datetime, lambda value: value.astimezone(UTC) if value.tzinfo and value.year > 1 else value),
)
lossy("LosesTheFold", "datetimes_are_kept", when(datetime, lambda value: value.replace(fold=0)))
lossy("StoresMillisecondsOnly", "datetimes_are_kept", when(datetime, lambda value: value.replace(microsecond=0)))
lossy("StoresDatesAsText", "dates_and_times_are_kept", when(date, str))
lossy("StoresTimesWithoutZone", "dates_and_times_are_kept", when(time, lambda value: value.replace(tzinfo=None)))
lossy("StoresDurationsAsSeconds", "durations_are_kept", when(timedelta, lambda value: value.total_seconds()))
lossy("StoresUuidsAsText", "uuids_are_kept", when(UUID, str))
lossy("StoresDecimalsAsFloats", "decimals_are_kept", when(Decimal, float))
lossy("NormalisesDecimals", "decimals_are_kept", when(Decimal, lambda value: value.normalize()))
lossy("LosesTheImaginaryPart", "complex_numbers_are_kept", when(complex, lambda value: value.real))
lossy("StoresTuplesAsLists", "lists_and_tuples_are_kept", when(tuple, list))
lossy("StoresSetsAsLists", "sets_are_kept", when(set, lambda value: sorted(value, key=repr)))
lossy("StoresFrozensetsAsSets", "sets_are_kept", when(frozenset, lambda value: list(value) and tuple(value)))
lossy("DropsEmptyKeys", "maps_are_kept", when(dict, lambda value: {n: part for n, part in value.items() if n != ""}))
lossy(
    "SplitsKeysAtDots", "maps_are_kept", when(dict, lambda value: {str(n).split(".")[0]: v for n, v in value.items()})
)
lossy(
    "StoresKeysAsText", "maps_with_other_keys_are_kept", when(dict, lambda value: {str(n): v for n, v in value.items()})
)
lossy("TakesMapsForItsOwn", "maps_that_look_like_ours_are_kept", when(dict, _as_ours))
lossy("StoresEnumsAsValues", "enums_are_kept", deep(lambda value: value.value if isinstance(value, Enum) else value))
lossy("StoresObjectsAsMaps", "objects_are_kept", deep(_object))
lossy("CutsLists", "large_values", when(list, lambda value: value[:5_000]))
lossy("CutsBlobs", "large_values", when(bytes, lambda value: value[:65_535]))
lossy("CutsMaps", "many_fields", when(dict, lambda value: dict(list(value.items())[:1_000])))

_narrow = when((bool, bytes), lambda value: int(value) if isinstance(value, bool) else value.hex())


async def _narrow_append(_: Broken, real: Method, thread_id: Any, entries: Any, *, field: str, change: Change) -> Any:
    changed = [{**fields_of(entry), field: change(fields_of(entry).get(field) or {})} for entry in as_list(entries)]
    return await real(thread_id, changed)


async def _narrow_payload(storage: Broken, real: Method, thread_id: Any, entries: Any, **_: Any) -> Any:
    return await _narrow_append(storage, real, thread_id, entries, field="payload", change=_narrow)


async def _narrow_refs(storage: Broken, real: Method, thread_id: Any, entries: Any, **_: Any) -> Any:
    return await _narrow_append(storage, real, thread_id, entries, field="refs", change=_narrow)


async def _narrow_metadata(_: Broken, real: Method, thread_id: Any, entries: Any, *, metadata: Any, **more: Any) -> Any:
    return await real(thread_id, entries, metadata=_narrow(metadata), **more)


async def _cuts_payload(storage: Broken, real: Method, thread_id: Any, entries: Any, **_: Any) -> Any:
    cut = when(str, lambda text: text[:65_535])
    return await _narrow_append(storage, real, thread_id, entries, field="payload", change=cut)


async def _narrow_save(_: Broken, real: Method, key: Any, data: Any, **more: Any) -> Any:
    return await real(key, _narrow(data), **more)


async def _narrow_save_of_entries(_: Broken, real: Method, key: Any, data: Any, *, thread: Any, **more: Any) -> Any:
    entries = [{**fields_of(entry), "refs": _narrow(fields_of(entry).get("refs"))} for entry in thread.entries]
    return await real(key, data, thread=replace(thread, entries=entries), **more)


instead("LosesTypesInPayloads", "append_thread", "everything_in_a_payload", _narrow_payload)
instead("LosesTypesInRefs", "append_thread", "everything_in_refs", _narrow_refs)
instead("LosesTypesInMetadata", "append_thread", "everything_in_metadata", _narrow_metadata)
instead("LosesTypesInSaves", "save", "everything_in_a_save", _narrow_save)
instead("LosesTypesInSavedEntries", "save", "everything_in_a_save", _narrow_save_of_entries)
instead("CutsPayloads", "append_thread", "payloads_of_all_sizes", _cuts_payload)


# -- what is shared with the caller -----------------------------------------------------------------------------------


class SharesData(Broken):
    """It keeps objects beside what is stored, and shows them in its place."""

    def kept(self, data: Any) -> Any:
        """Answer what to keep of data that was put."""
        return copy.deepcopy(data)

    async def put_checkpoint(self, key: Any, data: Any, **guard: Any) -> Any:
        stored = await self.inner.put_checkpoint(key, data, **guard)
        self.remembered("data")[repr(key)] = self.kept(data)
        return stored

    async def get_checkpoint(self, key: Any) -> Any:
        found = await self.inner.get_checkpoint(key)
        return found and replace(found, data=self.remembered("data")[repr(key)])


@caught_by("later_change_of_given_data")
class KeepsTheCallersData(SharesData):
    """It stores the object that was given, instead of what it said."""

    def kept(self, data: Any) -> Any:
        return data


@caught_by("later_change_of_given_data")
class CopiesTheSurfaceOfData(SharesData):
    """It copies what was given, but not what is inside of it."""

    def kept(self, data: Any) -> Any:
        return copy.copy(data)


@caught_by("later_change_of_read_data")
class GivesItsDataAway(SharesData):
    """Each read answers the same object."""


@caught_by("later_change_of_answered_data")
class GivesItsDataAwayAtOnce(SharesData):
    """A put answers the object that is read later."""

    async def put_checkpoint(self, key: Any, data: Any, **guard: Any) -> Any:
        stored = await super().put_checkpoint(key, data, **guard)
        return replace(stored, data=self.remembered("data")[repr(key)])

    async def get_checkpoint(self, key: Any) -> Any:
        return copy.deepcopy(await super().get_checkpoint(key))


class SharesEntries(Broken):
    """It keeps payloads and refs beside the journal, and shows them in their place."""

    def kept(self, value: Any) -> Any:
        """Answer what to keep of a payload or of refs."""
        return value

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        appended = await self.inner.append_thread(thread_id, entries, **more)
        for entry, stored in zip(as_list(entries), appended.entries, strict=True):
            fields = fields_of(entry)
            kept = {name: self.kept(fields.get(name) or {}) for name in ("payload", "refs")}
            self.remembered("entries")[stored.id] = kept
        return appended

    async def load_thread(self, thread_id: str, **range_: Any) -> Any:
        thread = await self.inner.load_thread(thread_id, **range_)
        return thread and each_entry(lambda entry: entry_with(entry, **self.remembered("entries")[entry.id]))(thread)


@caught_by("later_change_of_given_entries later_change_of_nested_payload")
class KeepsTheCallersEntries(SharesEntries):
    """It stores the payload that was given, instead of what it said."""


@caught_by("later_change_of_given_entries later_change_of_nested_payload")
class CopiesTheSurfaceOfEntries(SharesEntries):
    """It copies payload and refs, but not what is inside of them."""

    def kept(self, value: Any) -> Any:
        return dict(value)


@caught_by("later_change_of_answered_entries")
class GivesItsEntriesAwayAtOnce(Broken):
    """An append answers the objects that are loaded later."""

    async def append_thread(self, thread_id: str, entries: Any, **more: Any) -> Any:
        appended = await self.inner.append_thread(thread_id, entries, **more)
        self.remembered("entries").setdefault(thread_id, []).extend(appended.entries)
        return appended

    async def load_thread(self, thread_id: str, **range_: Any) -> Any:
        thread = await self.inner.load_thread(thread_id, **range_)
        return thread and rebuilt(thread, entries=list(self.remembered("entries")[thread_id]))


@caught_by("later_change_of_a_loaded_thread second_handle_sees_each_append")
class GivesItsThreadsAway(Broken):
    """Each load of a handle answers the same thread."""

    async def load_thread(self, thread_id: str, **range_: Any) -> Any:
        cache = vars(self).setdefault("threads", {})
        if thread_id not in cache:
            cache[thread_id] = await self.inner.load_thread(thread_id, **range_)
        return cache[thread_id]


@caught_by("later_change_of_given_metadata")
class KeepsTheCallersMetadata(Broken):
    """It stores the metadata that were given, instead of what they said."""

    async def append_thread(self, thread_id: str, entries: Any, *, metadata: Any = None, **more: Any) -> Any:
        self.remembered("metadata")[thread_id] = metadata
        return await self.inner.append_thread(thread_id, entries, metadata=metadata, **more)

    async def load_thread(self, thread_id: str, **range_: Any) -> Any:
        thread = await self.inner.load_thread(thread_id, **range_)
        return thread and rebuilt(thread, metadata=self.remembered("metadata")[thread_id])


async def _writes_pointer(_: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **more: Any) -> Any:
    saved = await real(key, data, thread=thread, **more)
    if isinstance(data, dict) and thread is not None:
        data["thread"] = {"id": thread.id, "rev": saved.rev}
    return saved


instead("WritesIntoTheCallersData", "save", "save_leaves_the_callers_data", _writes_pointer)


# -- what cannot be stored --------------------------------------------------------------------------------------------


def tame(value: Any) -> Any:
    """Answer what can be stored of a value: text in place of what cannot."""
    try:
        codec.dumps(value)
    except UnstorableError:
        if isinstance(value, dict) and type(value) is dict:
            return {name: tame(part) for name, part in value.items()}
        return f"{type(value).__name__} that cannot be stored"
    return value


def _tamed(entry: Any, *fields: str) -> Any:
    made = fields_of(entry)
    return made | {name: tame(made[name]) for name in fields if made.get(name)}


async def _tame_put(_: Broken, real: Method, key: Any, data: Any, **guard: Any) -> Any:
    return await real(key, tame(data), **guard)


async def _tame_payload(_: Broken, real: Method, thread_id: Any, entries: Any, **more: Any) -> Any:
    return await real(thread_id, [_tamed(entry, "payload") for entry in as_list(entries)], **more)


async def _tame_refs(_: Broken, real: Method, thread_id: Any, entries: Any, **more: Any) -> Any:
    return await real(thread_id, [_tamed(entry, "refs") for entry in as_list(entries)], **more)


async def _tame_metadata(_: Broken, real: Method, thread_id: Any, entries: Any, *, metadata: Any = None) -> Any:
    return await real(thread_id, entries, metadata=tame(metadata))


async def _tame_save(_: Broken, real: Method, key: Any, data: Any, *, thread: ThreadWrite) -> Any:
    entries = [_tamed(entry, "payload") for entry in thread.entries]
    return await real(key, tame(data), thread=replace(thread, entries=entries))


async def _writes_first(storage: Broken, real: Method, thread_id: Any, entries: Any, **more: Any) -> Any:
    *first, last = as_list(entries)
    for entry in first:
        await real(thread_id, [entry])
    return await real(thread_id, [last])


async def _makes_the_head_first(_: Broken, real: Method, thread_id: Any, entries: Any, *, metadata: Any = None) -> Any:
    await real(thread_id, [])
    await real(thread_id, [Entry()])
    return await real(thread_id, entries, metadata=metadata)


async def _saves_journal_first(storage: Broken, real: Method, key: Any, data: Any, *, thread: ThreadWrite) -> Any:
    await storage.inner.append_thread(thread.id, thread.entries)
    return await real(key, data, thread=ThreadWrite(id=thread.id))


async def _no_path(_: Broken, real: Method, key: Any, data: Any, **guard: Any) -> Any:
    try:
        return await real(key, data, **guard)
    except UnstorableError as error:
        raise UnstorableError.at("value", "something that can be stored", data) from error


instead("PrintsDataItCannotStore", "put_checkpoint", "unstorable_data", _tame_put)
instead("PrintsPayloadsItCannotStore", "append_thread", "unstorable_payload", _tame_payload)
instead("PrintsRefsItCannotStore", "append_thread", "unstorable_refs", _tame_refs)
instead("PrintsMetadataItCannotStore", "append_thread", "unstorable_metadata", _tame_metadata)
instead("PrintsWhatItCannotSave", "save", "unstorable_save", _tame_save)
instead("WritesUntilItCannot", "append_thread", "unstorable_payload unstorable_refs", _writes_first)
instead("MakesTheHeadBeforeItLooks", "append_thread", "unstorable_metadata", _makes_the_head_first)
instead("SavesTheJournalBeforeItLooks", "save", "unstorable_save", _saves_journal_first)
instead("DoesNotSayWhere", "put_checkpoint", "path_to_what_is_unstorable", _no_path)


class _Deleter(Broken):
    """It forgets what was there before it looks at what is to come."""

    async def put_checkpoint(self, key: Any, data: Any, **guard: Any) -> Any:
        await self.inner.delete_checkpoint(key)
        return await self.inner.put_checkpoint(key, data, **guard)


add("DeletesBeforeItLooks", _Deleter, "unstorable_data version_counts_the_writes")
