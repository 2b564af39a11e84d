"""Storages that make something of bad input, where they should refuse it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from jido_tortoise.agents.storage import Page
from jido_tortoise.agents.thread import Entry
from jido_tortoise.errors import InvalidEntryError, InvalidInputError

from .cage import Broken, DriverError, Method, add, as_list, fields_of, instead, replace


def tidy(name: Any) -> str:
    """Make a name of whatever is given."""
    text = (name.decode() if isinstance(name, bytes) else str(name)).replace("\0", "")
    return text.encode("utf-8", "replace").decode()[:255] or "none"


def whole(number: Any) -> int:
    """Make a number from 0 on of whatever is given."""
    try:
        return max(0, int(number))
    except (TypeError, ValueError):
        return 0


def _datetime_or_ms(moment: Any) -> Any:
    if isinstance(moment, datetime):
        return moment.replace(tzinfo=moment.tzinfo or UTC)
    return moment if isinstance(moment, int) and not isinstance(moment, bool) and moment < 2**62 else 0


def _map(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {str(name): part for name, part in value.items()}
    return {"value": repr(value)} if value is not None else {}


# -- entries ----------------------------------------------------------------------------------------------------------


def repairs(name: str, check: str, field: str, change: Callable[[Any], Any]) -> None:
    """Put a storage into the zoo that makes something of a bad field of an entry."""

    async def append(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
        made = [
            {**entry, field: change(entry[field])}
            if isinstance(entry, dict) and entry.get(field) is not None
            else entry
            for entry in as_list(entries)
        ]
        return await real(thread_id, made, **more)

    instead(name, "append_thread", check, append)


async def _wraps(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    made = [e if isinstance(e, Entry | Mapping) else {"payload": {"value": repr(e)}} for e in as_list(entries)]
    return await real(thread_id, made, **more)


async def _skips(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    return await real(thread_id, [e for e in as_list(entries) if isinstance(e, Entry | Mapping)], **more)


async def _falsy_is_empty(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    return await real(thread_id, [] if entries is None or entries is False else entries, **more)


async def _drops_unknown(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    known = ("id", "seq", "at", "kind", "payload", "refs")
    made = [{name: e[name] for name in known if name in e} if isinstance(e, Mapping) else e for e in as_list(entries)]
    return await real(thread_id, made, **more)


async def _vague(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    try:
        return await real(thread_id, entries, **more)
    except InvalidEntryError as error:
        raise InvalidEntryError.at("entries", "entries", entries) from error


async def _tidies_entries(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    made = [{**fields_of(e), "payload": _map(fields_of(e).get("payload"))} for e in as_list(entries)]
    return await real(thread_id, made, **more)


async def _bare_error(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    try:
        return await real(thread_id, entries, **more)
    except InvalidInputError as error:
        raise InvalidInputError("something is wrong") from error


async def _writes_the_good(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    if isinstance(entries, list):
        for entry in entries[:-1]:
            await real(thread_id, entry)
        entries = entries[-1:]
    return await real(thread_id, entries, **more)


async def _prints(_: Broken, real: Method, thread_id: str, entries: Any, **more: Any) -> Any:
    try:
        return await real(thread_id, entries, **more)
    except InvalidInputError as error:
        try:
            repr(error.facts)
        except Exception as problem:
            raise DriverError("cannot say what is wrong") from problem
        raise


instead("PrintsWhatItRefuses", "append_thread", "refusals_of_what_cannot_be_printed", _prints)
instead("WrapsWhatIsNoEntry", "append_thread", "what_is_no_entry", _wraps)
instead("SkipsWhatIsNoEntry", "append_thread", "what_is_no_entry", _skips)
instead("TakesFalsyForNoEntries", "append_thread", "what_is_no_list_of_entries", _falsy_is_empty)
instead("DropsUnknownKeys", "append_thread", "unknown_key_of_an_entry", _drops_unknown)
instead("DoesNotSayWhichEntry", "append_thread", "path_to_a_bad_field", _vague)
instead("TidiesPayloads", "append_thread", "bad_payload entry_spoiled_after_its_making", _tidies_entries)
instead("SaysNothingOfBadInput", "append_thread", "refusals_have_reason_and_facts bad_kind bad_metadata", _bare_error)
instead(
    "WritesTheGoodEntriesFirst", "append_thread", "bad_kind bad_payload what_is_no_entry bad_refs", _writes_the_good
)
repairs("TidiesKinds", "bad_kind", "kind", tidy)
repairs("TidiesEntryIds", "bad_entry_id", "id", tidy)
repairs("TidiesRefs", "bad_refs", "refs", _map)
repairs("TidiesTimes", "bad_time", "at", _datetime_or_ms)
repairs("TidiesNumbers", "bad_number", "seq", lambda _: 0)


# -- names, metadata and ranges ---------------------------------------------------------------------------------------


def tidies_names(method: str, check: str) -> None:
    """Put a storage into the zoo that makes a thread id of whatever a method is given."""

    async def tidied(_: Broken, real: Method, *names: Any, **more: Any) -> Any:
        rest = names[1:] if method == "append_thread" else [tidy(name) for name in names[1:]]
        return await real(tidy(names[0]), *rest, **more)

    instead(f"TidiesNamesOf_{method}", method, check, tidied)


tidies_names("append_thread", "bad_thread_id_of_an_append refusals_have_reason_and_facts")
tidies_names("load_thread", "bad_thread_id_of_a_load")
tidies_names("delete_thread", "bad_thread_id_of_a_delete")
tidies_names("get_thread_head", "bad_thread_id_of_a_head")
tidies_names("trim_thread", "bad_thread_id_of_a_trim")


async def _finds_nothing(_: Broken, real: Method, thread_id: str, **more: Any) -> Any:
    try:
        return await real(thread_id, **more)
    except InvalidInputError:
        return None


async def _tidy_source(_: Broken, real: Method, source: Any, target: Any, **more: Any) -> Any:
    try:
        return await real(source, target, **more)
    except InvalidInputError:
        return await real("t", target, **more)


async def _tidy_target(_: Broken, real: Method, source: Any, target: Any, **more: Any) -> Any:
    return await real(source, tidy(target), **more)


async def _tidy_save(_: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **more: Any) -> Any:
    return await real(key, data, thread=thread and replace(thread, id=tidy(thread.id)), **more)


async def _tidy_data(_: Broken, real: Method, key: Any, data: Any, **more: Any) -> Any:
    return await real(key, _map(data), **more)


async def _tidy_data_of_put(_: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **more: Any) -> Any:
    return await real(key, _map(data) if thread is None else data, thread=thread, **more)


async def _tidy_version(
    _: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None, **more: Any
) -> Any:
    return await real(key, data, expected_version=None if expected_version is None else 0, **more)


async def _tidy_rev(_: Broken, real: Method, key: Any, data: Any, *, thread: Any = None, **more: Any) -> Any:
    if thread is not None and thread.expected_rev is not None:
        thread = replace(thread, expected_rev=0)
    return await real(key, data, thread=thread, **more)


async def _skips_bad(_: Broken, real: Method, key: Any, data: Any, *, thread: Any, **more: Any) -> Any:
    good = [e for e in thread.entries or () if isinstance(e, Mapping) and isinstance(e.get("payload", {}), Mapping)]
    return await real(key, data, thread=replace(thread, entries=good), **more)


async def _checkpoint_before_entries(storage: Broken, real: Method, key: Any, data: Any, **more: Any) -> Any:
    await storage.inner.put_checkpoint(key, data)
    return await real(key, data, **more)


async def _tidy_metadata(_: Broken, real: Method, thread_id: str, entries: Any, *, metadata: Any = None) -> Any:
    return await real(thread_id, entries, metadata=_map(metadata))


async def _tidy_range(_: Broken, real: Method, thread_id: str, **range_: Any) -> Any:
    return await real(thread_id, **{name: None if value is None else whole(value) for name, value in range_.items()})


async def _tail_wins(_: Broken, real: Method, thread_id: str, **range_: Any) -> Any:
    return await real(thread_id, **({"tail": range_["tail"]} if "tail" in range_ else range_))


async def _tidy_border(_: Broken, real: Method, thread_id: str, *, before: Any) -> Any:
    return await real(thread_id, before=whole(before))


async def _tidy_upto(_: Broken, real: Method, source: str, target: str, *, upto: Any = None) -> Any:
    return await real(source, target, upto=None if upto is None else whole(upto))


async def _tidy_list(_: Broken, real: Method, *, limit: Any = 100, **filters: Any) -> Any:
    return await real(limit=whole(limit) or 100, **filters)


async def _tidy_filters(_: Broken, real: Method, **filters: Any) -> Any:
    wrong = any(isinstance(filters.get(name), int | bytes | tuple) for name in ("agent_type", "partition"))
    return Page(items=(), next=None) if wrong else await real(**filters)


async def _tidy_count(_: Broken, real: Method, **filters: Any) -> Any:
    return await real(**{name: None if value is None else str(value) for name, value in filters.items()})


class _TidyWalk(Broken):
    """It makes a range of whatever is given."""

    async def iter_entries(self, thread_id: str, **range_: Any) -> Any:
        made = {name: whole(value) or (name == "page") for name, value in range_.items()}
        async for entry in self.inner.iter_entries(thread_id, **{name: int(value) for name, value in made.items()}):
            yield entry


instead("FindsNothingUnderBadNames", "load_thread", "bad_thread_id_of_a_load", _finds_nothing)
instead("TidiesTheSource", "copy_thread", "bad_thread_id_of_a_copy", _tidy_source)
instead("TidiesTheTarget", "copy_thread", "bad_thread_id_of_a_copy", _tidy_target)
instead("TidiesTheThreadOfASave", "save", "bad_thread_id_of_a_save", _tidy_save)
instead("TidiesTheDataOfASave", "save", "bad_data_of_a_save", _tidy_data)
instead("TidiesTheDataOfABareSave", "save", "bad_data_of_a_save", _tidy_data_of_put)
instead("TidiesTheVersionOfASave", "save", "bad_guards_of_a_save", _tidy_version)
instead("TidiesTheRevisionOfASave", "save", "bad_guards_of_a_save", _tidy_rev)
instead("SkipsBadEntriesOfASave", "save", "bad_entries_of_a_save", _skips_bad)
instead(
    "PutsTheCheckpointBeforeItLooks",
    "save",
    "bad_entries_of_a_save bad_thread_id_of_a_save",
    _checkpoint_before_entries,
)
instead("TidiesMetadata", "append_thread", "bad_metadata", _tidy_metadata)
instead("TidiesRanges", "load_thread", "bad_range_of_a_load", _tidy_range)
instead("LetsTheTailWin", "load_thread", "tail_goes_with_no_other_range", _tail_wins)
instead("TidiesTheBorderOfATrim", "trim_thread", "bad_border_of_a_trim", _tidy_border)
instead("TidiesTheBorderOfACopy", "copy_thread", "bad_border_of_a_copy", _tidy_upto)
instead("TidiesTheLimitOfAList", "list_checkpoints", "bad_range_of_a_list", _tidy_list)
instead("TidiesTheFiltersOfAList", "list_checkpoints", "bad_range_of_a_list", _tidy_filters)
instead("TidiesTheFiltersOfACount", "count_checkpoints", "bad_range_of_a_list", _tidy_count)
add("TidiesTheRangeOfAWalk", _TidyWalk, "bad_range_of_a_walk")
