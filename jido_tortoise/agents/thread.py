"""The thread of an agent in memory: frozen entries, numbered without gaps, appended in place."""

from __future__ import annotations

import reprlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NoReturn, TypeAlias, final, overload

from jido_tortoise import checks, seams
from jido_tortoise.errors import DuplicateEntryError, InvalidEntryError, InvalidInputError, said

#: The fields of an entry, in the order in which they are shown.
FIELDS: Final = ("id", "seq", "at", "kind", "payload", "refs")
_KNOWN: Final = frozenset(FIELDS)

_seq_of = attrgetter("seq")

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 40
_brief.maxdict = _brief.maxlist = 4
_brief.maxlevel = 3


class _Fields:
    __slots__ = ("at_ms", "id", "kind", "payload", "refs", "seq")

    id: str
    seq: int
    at_ms: int
    kind: str
    payload: dict[str, Any]
    refs: dict[str, Any]


class _Draft(_Fields):
    __slots__ = ()

    def __init__(
        self, id: str, seq: int, at_ms: int, kind: str, payload: dict[str, Any], refs: dict[str, Any], /
    ) -> None:
        self.id = id
        self.seq = seq
        self.at_ms = at_ms
        self.kind = kind
        self.payload = payload
        self.refs = refs


def _make(id: str, seq: int, at_ms: int, kind: str, payload: dict[str, Any], refs: dict[str, Any], /) -> Entry:
    # Every row that is read passes here. Six plain stores into a class of the same layout, which then becomes an
    # Entry, take half the time of six object.__setattr__.
    draft: Any = _Draft(id, seq, at_ms, kind, payload, refs)
    draft.__class__ = Entry
    return draft  # type: ignore[no-any-return]


@final
class Entry(_Fields):
    """One entry of a journal; it never changes.

    Args:
        kind: What it is: "message", "tool_call", "tool_result", "error", or any other name.
        payload: What it says: a dict with string keys.
        refs: What it belongs to: a dict with string keys, such as `instruction_id` or `entry_id`.
        id: Unique within its thread; a new one when None.
        seq: Its number; given by the thread that it is appended to.
        at: Milliseconds since 1970 or an aware datetime; now when None.

    Raises:
        InvalidEntryError: A field is not what it must be.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # its payload is a dict

    def __new__(
        cls,
        kind: str = "note",
        payload: Mapping[str, Any] | None = None,
        refs: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        seq: int = 0,
        at: int | datetime | None = None,
    ) -> Entry:
        """Check every field, then make the entry."""
        return _checked("entry", id, seq, at, kind, payload, refs)

    #: The same without a look at the values: for what was checked when it was written.
    _make = staticmethod(_make)

    @classmethod
    def from_map(cls, fields: Mapping[str, Any], *, path: str = "entry") -> Entry:
        """Make an entry of a mapping with its fields; None and False stand for the default, 0 and {} for themselves."""
        if type(fields) is not dict and not isinstance(fields, Mapping):
            raise InvalidEntryError.at(path, "an Entry, or a mapping with its fields", fields)
        if not fields.keys() <= _KNOWN:
            raise _unknown(next(name for name in fields if name not in _KNOWN), fields, path)
        return _checked(path, *[None if value is False else value for value in map(fields.get, FIELDS)])

    @property
    def at(self) -> datetime:
        """When it happened, in UTC (OverflowError beyond the year 9999; `at_ms` has it still)."""
        return seams.to_datetime(self.at_ms)

    def as_dict(self) -> dict[str, Any]:
        """Answer its fields as `from_map` takes them; `at` in milliseconds."""
        return {
            "id": self.id,
            "seq": self.seq,
            "at": self.at_ms,
            "kind": self.kind,
            "payload": self.payload,
            "refs": self.refs,
        }

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an Entry never changes: append another one that refers to it, rather than set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an Entry never changes: {name!r} stays")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return _values(self) == _values(other)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_make, _values(self))

    def __repr__(self) -> str:
        refs = f", refs={_brief.repr(self.refs)}" if self.refs else ""
        return f"Entry({self.seq}, {self.kind!r}, {_brief.repr(self.payload)}{refs}, id={self.id!r})"


_values = attrgetter("id", "seq", "at_ms", "kind", "payload", "refs")


def _checked(path: str, id: Any, seq: Any, at: Any, kind: Any, payload: Any, refs: Any, /) -> Entry:
    """Make an entry of any values; None stands for the default."""
    return _make(
        seams.new_id("entry_") if id is None else _text(id, path, "id"),
        0 if seq is None else checks.whole(seq, f"{path}.seq", error=InvalidEntryError),
        seams.now_ms() if at is None else checks.moment(at, f"{path}.at", InvalidEntryError),
        "note" if kind is None else _text(kind, path, "kind"),
        {} if payload is None else checks.string_map(payload, f"{path}.payload", InvalidEntryError),
        {} if refs is None else checks.string_map(refs, f"{path}.refs", InvalidEntryError),
    )


def _text(value: Any, path: str, name: str) -> str:
    if type(value) is str and checks.is_text(value):
        return value
    return checks.text(value, f"{path}.{name}", InvalidEntryError)


def _unknown(name: object, fields: Mapping[str, Any], path: str) -> InvalidInputError:
    cure = ""
    if "role" in fields:
        cure = ': a chat message goes into the payload, {"kind": "message", "payload": {"role": ...}}'
    return InvalidEntryError.at(path, f"no other keys than {', '.join(FIELDS)}", said(f"{name!r}{cure}"), key=name)


#: Sequences that are never meant as one.
_TEXTS: Final[tuple[type, ...]] = (str, bytes, bytearray, memoryview)

EntryLike: TypeAlias = Entry | Mapping[str, Any]


def normalise_entries(entries: EntryLike | Sequence[EntryLike], *, path: str = "entries") -> list[Entry]:
    """Answer a list of entries; a lone entry or mapping counts as a list of one.

    Raises:
        InvalidEntryError: Something is no entry; `path` is where, such as `entries[3].kind`.
    """
    if type(entries) is not list:
        if type(entries) is Entry:
            return [entries]
        if isinstance(entries, Mapping):
            return [Entry.from_map(entries, path=path)]
        if isinstance(entries, _TEXTS) or not isinstance(entries, Sequence):
            raise InvalidEntryError.at(path, "a list of entries, or one entry", entries)
    try:
        return [entry if type(entry) is Entry else Entry.from_map(entry) for entry in entries]
    except InvalidEntryError:  # once more, to say which one: the paths are spelled for this only
        for index, entry in enumerate(entries):
            if type(entry) is not Entry:
                Entry.from_map(entry, path=f"{path}[{index}]")
        raise


def numbered(entries: Iterable[Entry], first: int) -> list[Entry]:
    """Answer the entries with the numbers from `first` on, whatever number they had."""
    return [
        _make(entry.id, first + index, entry.at_ms, entry.kind, entry.payload, entry.refs)
        for index, entry in enumerate(entries)
    ]


@final
class Entries(Sequence[Entry]):
    """The entries of a thread, to look at: it shows what the thread holds at the moment of the look."""

    __slots__ = ("_held",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, held: list[Entry]) -> None:
        self._held = held

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        return self._held[index]

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._held)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entries | list | tuple):
            return NotImplemented
        return self._held == list(other)

    def __repr__(self) -> str:
        return f"<{len(self._held)} entries>"


class Thread:
    """A journal in memory; `append` works in place.

    A thread that was loaded by range holds that range only: `rev` is the journal's revision all the same, and what is
    appended is numbered from there.

    Args:
        id: Its name in a storage; a new one when None.
        metadata: A dict with string keys; stored when the journal is created, never after.
        now: When it was made, in milliseconds since 1970 or as an aware datetime; now when None.
    """

    __slots__ = (
        "__weakref__",
        "_created_ms",
        "_entries",
        "_first_seq",
        "_id",
        "_ids",
        "_rev",
        "_updated_ms",
        "metadata",
    )
    __hash__ = None  # type: ignore[assignment]  # it changes in place

    metadata: dict[str, Any]

    def __init__(
        self,
        id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        now: int | datetime | None = None,
    ) -> None:
        self._id = seams.new_id("thread_") if id is None else checks.text(id, "thread.id")
        self.metadata = {} if metadata is None else checks.string_map(metadata, "thread.metadata")
        self._created_ms = self._updated_ms = seams.now_ms() if now is None else checks.moment(now, "thread.now")
        self._rev = self._first_seq = 0
        self._entries: list[Entry] = []
        # Ids of the entries, in their order; it is behind until somebody brings an id of their own.
        self._ids: dict[str, int] = {}

    @classmethod
    def _loaded(
        cls,
        id: str,
        rev: int,
        first_seq: int,
        metadata: dict[str, Any],
        created_ms: int,
        updated_ms: int,
        entries: list[Entry],
    ) -> Thread:
        """Make a thread of what a storage holds, without a look at it."""
        thread = cls.__new__(cls)
        thread._id, thread._rev, thread._first_seq, thread.metadata = id, rev, first_seq, metadata
        thread._created_ms, thread._updated_ms = created_ms, updated_ms
        thread._entries, thread._ids = entries, {}
        return thread

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Its name in a storage."""
        return self._id

    @property
    def rev(self) -> int:
        """Number of entries ever appended; the next one gets this number."""
        return self._rev

    @property
    def first_seq(self) -> int:
        """Number of the oldest entry that its journal still has."""
        return self._first_seq

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        return seams.to_datetime(self._created_ms)

    @property
    def updated_at(self) -> datetime:
        """When something was appended last; it never goes back."""
        return seams.to_datetime(self._updated_ms)

    @property
    def entries(self) -> Entries:
        """The entries that it holds, oldest first; read only."""
        return Entries(self._entries)

    @property
    def stats(self) -> dict[str, int]:
        """`entry_count`: how many entries it holds."""
        return {"entry_count": len(self._entries)}

    # -- appending ----------------------------------------------------------------------------------------------------

    def append(
        self,
        entry: str | EntryLike,
        payload: Mapping[str, Any] | None = None,
        refs: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        at: int | datetime | None = None,
    ) -> Entry:
        """Append one entry, given as its kind and payload, as an Entry or as a mapping with its fields.

        Returns:
            The entry as it stands in the thread, with its number.

        Raises:
            InvalidEntryError: It is no entry; nothing was appended.
            DuplicateEntryError: The thread has this id; nothing was appended.
        """
        if isinstance(entry, str):
            made = Entry(entry, payload, refs, id=id, at=at)
            return self._take([made], foreign=id is not None)[0]
        if not (payload is None and refs is None and id is None and at is None):
            raise InvalidEntryError.at("entry", "its kind when payload, refs, id or at are given", entry)
        if not isinstance(entry, Entry | Mapping):
            raise InvalidEntryError.at("entry", "a kind, an Entry or a mapping (`extend` takes a list)", entry)
        return self._take(normalise_entries(entry, path="entry"), foreign=True)[0]

    def extend(self, entries: EntryLike | Sequence[EntryLike]) -> list[Entry]:
        """Append all the entries or, when one is none, nothing; without entries only `updated_at` moves."""
        return self._take(normalise_entries(entries), foreign=True)

    def _take(self, entries: list[Entry], *, foreign: bool) -> list[Entry]:
        if foreign:
            self._refuse_known(entries)
        taken = numbered(entries, self._rev)
        self._entries += taken
        self._rev += len(taken)
        self._updated_ms = max(self._updated_ms, seams.now_ms())
        return taken

    def _refuse_known(self, entries: list[Entry]) -> None:
        # Ids of our own making are not looked for: the index catches up here, so that appending stays O(appended).
        known = self._ids
        for entry in self._entries[len(known) :]:
            known[entry.id] = entry.seq
        new: set[str] = set()
        for index, entry in enumerate(entries):
            if entry.id in known or entry.id in new:
                raise DuplicateEntryError(
                    f"entries[{index}].id: thread {self._id!r} has an entry {entry.id!r} already",
                    thread_id=self._id,
                    entry_id=entry.id,
                )
            new.add(entry.id)

    # -- reading ------------------------------------------------------------------------------------------------------

    def entry_count(self) -> int:
        """Count the entries that it holds."""
        return len(self._entries)

    def last(self) -> Entry | None:
        """Answer the newest entry; None when there is none."""
        return self._entries[-1] if self._entries else None

    def get_entry(self, seq: int) -> Entry | None:
        """Answer the entry with this number; None when the thread does not hold it."""
        at = bisect_left(self._entries, seq, key=_seq_of)
        return self._entries[at] if at < len(self._entries) and self._entries[at].seq == seq else None

    def to_list(self) -> list[Entry]:
        """Answer a new list of the entries, oldest first."""
        return list(self._entries)

    def filter_by_kind(self, kinds: str | Iterable[str]) -> list[Entry]:
        """Answer the entries of this kind, or of one of these kinds."""
        if isinstance(kinds, str):
            return [entry for entry in self._entries if entry.kind == kinds]
        if not isinstance(kinds, Iterable):
            raise InvalidInputError.at("kinds", "a kind, or several", kinds)
        wished = frozenset(kinds)
        return [entry for entry in self._entries if entry.kind in wished]

    def slice(self, first: int, last: int) -> list[Entry]:
        """Answer the entries with the numbers from `first` to `last`, both included."""
        low = bisect_left(self._entries, first, key=_seq_of)
        return self._entries[low : bisect_right(self._entries, last, key=_seq_of)]

    def _since(self, first: int) -> list[Entry]:
        """Answer the entries from this number on; in a thread of any length at once, where nothing is left out."""
        count, held = self._rev - first, self._entries
        if 0 < count <= len(held) and held[-count].seq == first:
            return held[-count:]
        return self.slice(first, self._rev - 1)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __bool__(self) -> bool:
        # `if agent.thread:` asks whether there is a thread, and an empty one is one.
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Thread):
            return NotImplemented
        return _facts(self) == _facts(other)

    def __copy__(self) -> Thread:
        """Answer a thread with the same entries that can be appended to on its own."""
        copied = self._loaded(*_facts(self))
        copied.metadata, copied._entries = dict(self.metadata), list(self._entries)
        return copied

    def __repr__(self) -> str:
        return f"Thread({self._id!r}, rev={self._rev}, {len(self._entries)} entries)"


_facts = attrgetter("_id", "_rev", "_first_seq", "metadata", "_created_ms", "_updated_ms", "_entries")
