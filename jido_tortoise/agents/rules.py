"""What every storage of ours checks and decides in the same way, whatever it keeps its rows in.

A storage calls these before its first write: what they refuse has changed nothing. The laws that they serve:

- An append whose entry ids are stored already, one after another and with the same content, is a repeat: it answers
  what the first one answered (the revision after its entries, not what others appended since) and writes nothing,
  not even `updated_at`; with an expected revision only when the stored ones begin at that revision. A save has no
  repeats: it is refused like any other, since its checkpoint has changed meanwhile, and hibernate looks what is there.
- What is no repeat: first the expected revision is checked (ConflictError), then the ids (DuplicateEntryError).
- The time of an entry is part of its content only when the caller gave it: a mapping without `at` is repeated by the
  same mapping, and the time of the first append stays.
- An append without entries checks the expected revision, makes the journal when there is none, and else moves
  `updated_at`, which never goes back. A save without entries does so only when it brings metadata and expects no
  revision above 0; else it checks the revision and leaves the journal as it is, or absent (revision 0).
- What is not there is at revision or version 0. Version 0 expected of a checkpoint that is there: AlreadyExistsError.
- A trim changes nothing but `first_seq`, and that never past `rev`. A copy has the metadata of its source, its own
  times, and the source's revision or `upto`, whichever is less, but never less than the source's `first_seq`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jido_tortoise import checks, codec, cursors, seams
from jido_tortoise.agents import keys
from jido_tortoise.agents.thread import Entry, EntryLike, normalise_entries
from jido_tortoise.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptRowError,
    DuplicateEntryError,
    InvalidEntryError,
    InvalidInputError,
    UnstorableError,
    said,
    shown,
)

# -- arguments --------------------------------------------------------------------------------------------------------


def check_thread_id(id: Any, path: str = "thread_id") -> str:
    """Answer the id when a journal can have it."""
    return checks.text(id, path)


def check_expected(name: str, value: Any) -> int | None:
    """Answer an expected revision or version: an int from 0 on, or None for any."""
    return None if value is None else checks.whole(value, name)


def check_range(from_seq: Any, limit: Any, tail: Any) -> None:
    """Refuse what is no range: `tail` stands alone, and nothing is negative."""
    checks.whole(from_seq, "from_seq")
    if limit is not None:
        checks.whole(limit, "limit")
    if tail is None:
        return
    checks.whole(tail, "tail")
    if from_seq or limit is not None:
        raise InvalidInputError.at("tail", "no from_seq and no limit beside it", tail)


def check_walk(from_seq: Any, upto: Any, page: Any) -> None:
    """Refuse what `iter_entries` cannot walk."""
    checks.whole(from_seq, "from_seq")
    if upto is not None:
        checks.whole(upto, "upto")
    checks.whole(page, "page", least=1)


def check_filters(agent_type: Any, partition: Any) -> None:
    """Refuse filters that are no texts; the partition "" asks for agents in none."""
    if agent_type is not None:
        checks.text(agent_type, "agent_type")
    if partition is not None and partition != "":
        checks.text(partition, "partition")


# -- entries ----------------------------------------------------------------------------------------------------------


class EncodedEntry(NamedTuple):
    """An entry as a row holds it, but for its number."""

    id: str
    at_ms: int
    kind: str
    #: JSON texts.
    payload: str
    refs: str


class UndatedEntry(EncodedEntry):
    """An entry whose time was not given; a repeat of it comes with another one."""

    __slots__ = ()


class StoredEntry(NamedTuple):
    """An entry's row."""

    seq: int
    id: str
    at_ms: int
    kind: str
    payload: str
    refs: str


def encode_entries(entries: EntryLike | Sequence[EntryLike], path: str = "entries") -> list[EncodedEntry]:
    """Answer the rows of all the entries, or refuse them all.

    Raises:
        InvalidEntryError: One is no entry; `path` says which and what of it.
        UnstorableError: One holds a value that cannot be stored.
        DuplicateEntryError: Two of them have one id.
    """
    raw = entries if type(entries) is list else [entries] if isinstance(entries, Entry | Mapping) else entries
    usual = _encoded_at_once(raw)
    if usual is not None:
        return usual
    made = normalise_entries(entries, path=path)
    try:
        rows = [_encoded(*pair) for pair in zip(made, raw, strict=True)]
    except InvalidInputError:
        _refuse_unstorable(made, path)
        raise
    _refuse_twins(rows, path)
    return rows


#: What nearly every entry says that is given as a dict.
_USUAL = frozenset({"kind", "payload", "refs"})
_NONE: dict[str, Any] = {}


def _encoded_at_once(given: Any) -> list[EncodedEntry] | None:
    """Answer the rows of usual dicts, column by column, which takes half the time; None when one is not as usual."""
    if type(given) is not list or {*map(type, given)} != {dict} or not _USUAL.issuperset(set().union(*given)):
        return None
    try:
        kinds = [fields["kind"] for fields in given]
        if not all(type(kind) is str and checks.is_text(kind) for kind in set(kinds)):
            return None
        payloads = codec.dump_maps([fields["payload"] for fields in given])
        refs = codec.dump_maps([fields.get("refs", _NONE) for fields in given])
    except (KeyError, TypeError, InvalidInputError):
        return None
    ids, now = [seams.new_id("entry_") for _ in given], seams.now_ms()
    return [UndatedEntry(id, now, *row) for id, *row in zip(ids, kinds, payloads, refs, strict=True)]


def _encoded(entry: Entry, given: EntryLike) -> EncodedEntry:
    row = EncodedEntry if _is_dated(given) else UndatedEntry
    refs = codec.dump_map(entry.refs) if entry.refs else "{}"
    return row(entry.id, entry.at_ms, entry.kind, codec.dump_map(entry.payload), refs)


def _is_dated(given: EntryLike) -> bool:
    return type(given) is Entry or not ((at := given.get("at")) is None or at is False)


def _refuse_unstorable(entries: list[Entry], path: str) -> None:
    """Say which entry cannot be stored, and what of it; the paths are spelled for this only."""
    try:
        for index, entry in enumerate(entries):
            codec.dump_map(entry.payload, path=f"{path}[{index}].payload")
            codec.dump_map(entry.refs, path=f"{path}[{index}].refs")
    except UnstorableError:
        raise
    except InvalidInputError as error:
        # The dict got another key after the entry was made.
        raise InvalidEntryError(str(error), **error.facts) from error


def _refuse_twins(rows: list[EncodedEntry], path: str) -> None:
    if len({row.id for row in rows}) == len(rows):
        return
    seen: set[str] = set()
    for index, row in enumerate(rows):
        if row.id in seen:
            raise DuplicateEntryError(f"{path}[{index}].id: {row.id!r} stands twice in one append", entry_id=row.id)
        seen.add(row.id)


def decode_entry(row: StoredEntry, thread_id: str) -> Entry:
    """Make the entry of a row; one that is malformed is a CorruptRowError that names it."""
    try:
        payload, refs = codec.loads(row.payload), codec.loads(row.refs)
    except CorruptRowError as error:
        raise corrupt_entry(thread_id, row.seq, str(error), error) from error
    if type(payload) is not dict or type(refs) is not dict:
        raise corrupt_entry(thread_id, row.seq, "payload or refs is no map")
    return Entry._make(row.id, row.seq, row.at_ms, row.kind, payload, refs)


def decode_entries(rows: Sequence[Sequence[Any]], thread_id: str) -> list[Entry]:
    """Make the entries of many rows, which are like StoredEntry; a malformed one is a CorruptRowError that names it."""
    if not rows:
        return []
    seqs, ids, ats, kinds, *texts = zip(*rows, strict=True)
    try:
        payloads, refs = map(codec.loads_each, texts)
    except CorruptRowError:
        payloads = refs = []
    if {*map(type, payloads), *map(type, refs)} != {dict}:  # once more, one by one, to say which
        return [decode_entry(StoredEntry(*row), thread_id) for row in rows]
    return list(map(Entry._make, ids, seqs, ats, kinds, payloads, refs))


def corrupt_entry(thread_id: str, seq: int, what: str, cause: CorruptRowError | None = None) -> CorruptRowError:
    """Say which stored entry is malformed."""
    facts = {**cause.facts, "thread_id": thread_id, "seq": seq} if cause else {"thread_id": thread_id, "seq": seq}
    facts["table"] = "jido_thread_entries"
    return CorruptRowError(f"entry {seq} of thread {thread_id!r} is malformed: {what}", **facts)


def repeated_at(rows: Sequence[EncodedEntry], stored: Sequence[StoredEntry], expected_rev: int | None) -> int | None:
    """Answer the number that the first row is stored under when the append is a repeat, else None.

    Args:
        rows: What is to be appended; at least one.
        stored: Every stored entry of the journal that has one of their ids, in the order of the numbers.
        expected_rev: The revision that the append expects.
    """
    if len(stored) != len(rows) or not rows:
        return None
    first = stored[0].seq
    if expected_rev is not None and expected_rev != first:
        return None
    if any(row.seq != first + index for index, row in enumerate(stored)):
        return None
    return first if same_content(rows, stored) else None


def same_content(rows: Sequence[EncodedEntry], stored: Sequence[StoredEntry]) -> bool:
    """Tell whether these are the same entries, in the same order, but for their numbers."""
    return len(rows) == len(stored) and all(_same(row, old) for row, old in zip(rows, stored, strict=True))


def _same(row: EncodedEntry, old: StoredEntry) -> bool:
    if (row.id, row.kind) != (old.id, old.kind) or (row.at_ms != old.at_ms and not isinstance(row, UndatedEntry)):
        return False
    return same_json(row.payload, old.payload) and same_json(row.refs, old.refs)


def same_json(one: str, other: str) -> bool:
    """Tell whether two stored texts are the same value: a JSONB column answers other spaces and another order."""
    if one == other:
        return True
    try:
        return codec.canonical(codec.loads(one)) == codec.canonical(codec.loads(other))
    except CorruptRowError:
        return False


def encode_metadata(metadata: Mapping[str, Any] | None, path: str = "metadata") -> str:
    """Answer a journal's metadata as its column holds it; None is {}."""
    if metadata is None or metadata == {}:
        return "{}"
    return codec.dump_map(checks.string_map(metadata, path), path=path)


def decode_metadata(text: str, thread_id: str) -> dict[str, Any]:
    """Answer a journal's metadata; what is no map is a CorruptRowError (`invalid_thread_metadata`)."""
    cause: CorruptRowError | None = None
    try:
        metadata = codec.loads(text)
    except CorruptRowError as error:
        metadata, cause = None, error
    if type(metadata) is not dict:
        message = f"the metadata of thread {thread_id!r} is no map"
        raise CorruptRowError(
            message, reason="invalid_thread_metadata", table="jido_threads", thread_id=thread_id
        ) from cause
    return metadata


# -- checkpoints ------------------------------------------------------------------------------------------------------


class EncodedCheckpoint(NamedTuple):
    """A checkpoint as a row holds it, but for its version and its times."""

    key_hash: str
    #: JSON texts.
    key: str
    data: str
    agent_type: str | None
    partition: str | None
    agent_id: str | None
    thread_id: str | None
    thread_rev: int | None


def encode_checkpoint(key: Any, data: Any) -> EncodedCheckpoint:
    """Answer the row of a checkpoint, or refuse it (UnstorableError); an agent's state is `state` in the path."""
    try:
        text = codec.dumps(data, path="data")
    except UnstorableError as error:
        if not error.path.startswith("data.state"):
            raise
        place = error.path.removeprefix("data.")
        raise UnstorableError.at(place, error.expected, said(error.got)) from error
    key_hash, key_text = keys.encode_key(key)
    return EncodedCheckpoint(key_hash, key_text, text, *keys.columns_of(data))


def with_pointer(data: Any, thread_id: str, rev: int) -> dict[str, Any]:
    """Answer a save's data with the pointer to the journal's revision in place of whatever stood there."""
    return {**checks.string_map(data, "data"), "thread": {"id": thread_id, "rev": rev}}


# -- refusals ---------------------------------------------------------------------------------------------------------


def rev_conflict(thread_id: str, expected: int | None, actual: int | None) -> ConflictError:
    """Say that a journal is not at the revision that an append expects; `actual` None: there is no journal."""
    stands = "does not exist" if actual is None else f"is at revision {actual}"
    message = f"thread {thread_id!r} {stands}, expected was {expected}: load it again and repeat"
    return ConflictError(message, thread_id=thread_id, expected=expected, actual=actual or 0)


def duplicate_ids(thread_id: str, ids: Iterable[str]) -> DuplicateEntryError:
    """Say that a journal has entries with these ids, and that this is no repeat of their append."""
    found = sorted(ids)
    message = f"thread {thread_id!r} has entries with the ids {found[:5]} already, with another content or elsewhere"
    return DuplicateEntryError(message, thread_id=thread_id, entry_id=found[0] if found else None, entry_ids=found)


def version_conflict(key: Any, expected: int, actual: int | None) -> ConflictError:
    """Say that a checkpoint is not at the version that a write expects; `actual` None: there is none."""
    if expected == 0:
        message = f"there is a checkpoint under {shown(key)} already, at version {actual}"
        return AlreadyExistsError(message, key=key, expected=0, actual=actual)
    stands = f"version {actual}" if actual else "no checkpoint"
    message = f"under {shown(key)} is {stands}, expected was version {expected}: load it again and repeat"
    return ConflictError(message, key=key, expected=expected, actual=actual or 0)


# -- pages ------------------------------------------------------------------------------------------------------------


def cursor_of(created_at_ms: int, key_hash: str, *, agent_type: str | None, partition: str | None) -> str:
    """Answer the cursor after this checkpoint; it serves lists with the same filters only."""
    return cursors.cursor_at([created_at_ms, key_hash], [agent_type, partition])


def parse_cursor(cursor: Any, *, agent_type: str | None, partition: str | None) -> tuple[int, str]:
    """Answer time and hash of the last checkpoint on the page before; a cursor that is not ours is refused."""
    created_at_ms, key_hash = cursors.place_of(cursor, [agent_type, partition])
    return created_at_ms, key_hash
