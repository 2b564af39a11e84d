"""Values as rows and back, column by column; and whether a value may be written over what is stored.

A row is a dict by column. Its JSON is text, and its times are what the driver takes, so that a row that is to be
written can be compared with one that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from jido_tortoise import checks, codec, times
from jido_tortoise.database import Dialect
from jido_tortoise.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptRowError,
    DuplicateEntryError,
    InvalidRecordError,
    NotFoundError,
)
from jido_tortoise.journal import Column
from jido_tortoise.recording.entities import Event, Run, Session, restored
from jido_tortoise.recording.port import OnCorrupt
from jido_tortoise.recording.statements import EVENT_COLUMNS, EVENTS, Kind
from jido_tortoise.recording.statuses import EVENT_TYPES, RUN_STATUSES, SESSION_STATUSES, befores, check_transition

V = TypeVar("V")
Row = dict[str, Any]
#: Of the codec: `loads`, or `loads_raw` for what is to be shown without the classes of the host.
Loads = Callable[..., Any]

_STATUSES = {"session": SESSION_STATUSES, "run": RUN_STATUSES}
#: What a malformed row leads to, whatever is wrong with it.
_MALFORMED = (CorruptRowError, AttributeError, LookupError, TypeError, ValueError)


# -- encoding -----------------------------------------------------------------------------------------------------


def encode(value: Any, columns: Iterable[Column], of: str, dialect: Dialect) -> Row:
    """Answer the row of a value.

    Raises:
        UnstorableError: It holds what cannot be stored; `path` says where.
    """
    row = {}
    for column in columns:
        field = getattr(value, column.name)
        if field is not None and column.type in _ENCODED:
            field = _stored(field, column, of, dialect)
        row[column.name] = field
    return row


_ENCODED = frozenset({"jsonb", "timestamptz"})


def _stored(value: Any, column: Column, of: str, dialect: Dialect) -> Any:
    if column.type == "timestamptz":
        return times.stored_time(value, dialect)
    if type(value) is dict and not value:
        return "{}"
    path = f"{of}.{column.name}"
    if type(value) is dict:
        return codec.dump_map(value, path=path)
    if isinstance(value, Mapping):
        return codec.dump_map(checks.string_map(value, path, InvalidRecordError), path=path)
    return codec.dumps(list(value), path=path)


def encode_value(kind: Kind, value: Session | Run, dialect: Dialect) -> Row:
    """Answer a session or run as its row, with what guards its write."""
    row = encode(value, kind.columns, kind.name, dialect)
    return row | {"revision": value.revision, "befores": befores(value.status, _STATUSES[kind.name])}


# -- decoding -----------------------------------------------------------------------------------------------------


def decode(
    cls: type[V], columns: Iterable[Column], row: Mapping[str, Any], table: str, loads: Loads = codec.loads
) -> V:
    """Make the value of a row, whatever status or type it has; `loads` reads its JSON.

    Raises:
        CorruptRowError: The row is malformed; `key` is its id.
    """
    try:
        fields = {c.name: _read(row[c.name], c.type, c.name, loads) for c in columns}
        if "revision" in row:
            fields["revision"] = row["revision"]
        return restored(cls, fields)
    except _MALFORMED as error:
        key = row.get("id")
        raise CorruptRowError(f"{table} {key!r} is malformed: {error}", table=table, key=key) from error


def decode_deleted(cls: type[V], columns: Iterable[Column], row: Mapping[str, Any], table: str) -> V:
    """Make the value of a row that is being deleted: what is missing is no class of the host's that keeps it there.

    Its JSON is read as it stands, tags left as objects, when it cannot be read otherwise.

    Raises:
        CorruptRowError: It is no JSON.
    """
    try:
        return decode(cls, columns, row, table)
    except CorruptRowError:
        return decode(cls, columns, row, table, codec.loads_raw)


class Rows(Protocol):
    """What rows are of."""

    @property
    def table(self) -> str:
        """The table."""
        ...

    @property
    def columns(self) -> tuple[Column, ...]:
        """Its columns that make a value."""
        ...


def readable(
    cls: type[V], of: Rows, found: Iterable[Row], on_corrupt: OnCorrupt | None, loads: Loads = codec.loads
) -> Iterator[V]:
    """Make the values of rows, without those that are malformed, of which `on_corrupt` is told.

    Raises:
        CorruptRowError: A row is malformed, and there is no `on_corrupt`.
    """
    for row in found:
        try:
            yield decode(cls, of.columns, row, of.table, loads)
        except CorruptRowError as error:
            if on_corrupt is None:
                raise
            on_corrupt(error)


def _read(stored: Any, kind: str, name: str, loads: Loads) -> Any:
    if stored is None:
        return None
    if kind == "jsonb":
        value = loads(stored, path=name)
        return tuple(value) if type(value) is list else dict(value)
    return times.read_time(stored) if kind == "timestamptz" else stored


def named(kind: Kind, row: Sequence[Any]) -> Row:
    """Answer a row that was read, by column; the revision is the last one where there is one."""
    return dict(zip([*(c.name for c in kind.columns), "revision"], row, strict=False))


def named_event(session_id: str, row: Sequence[Any]) -> Row:
    """Answer an event's row that the journal has read, by column."""
    return dict(zip((c.name for c in EVENT_COLUMNS), (session_id, *row), strict=True))


_EVENT_FIELDS = tuple(c.name for c in EVENT_COLUMNS)


def numbered(event: Event, number: int) -> Event:
    """Answer an event with its number."""
    copy = Event.__new__(Event)
    for name in _EVENT_FIELDS:
        object.__setattr__(copy, name, getattr(event, name))
    object.__setattr__(copy, EVENTS.number, number)
    return copy


def settled(kind: Kind, row: Row, dialect: Dialect) -> Row:
    """Answer a row with its times as we write them: the host may have written them otherwise."""
    moments = [c.name for c in kind.columns if c.type == "timestamptz" and row[c.name] is not None]
    return row | {name: times.stored_time(times.read_time(row[name]), dialect) for name in moments}


def events_of(rows: Iterable[Sequence[Any]]) -> list[Event]:
    """Make the events of rows that were read."""
    names = [c.name for c in EVENT_COLUMNS]
    return [decode(Event, EVENT_COLUMNS, dict(zip(names, row, strict=True)), EVENTS.rows) for row in rows]


# -- may it be written? -------------------------------------------------------------------------------------------


def may_write(kind: Kind, row: Row, stored: Row | None, *, once: bool = False) -> bool:
    """Tell whether a row may be written over what is stored; False when that is what it says already.

    Who repeats a write and who makes the same change as somebody else cannot be told apart by what is stored. The
    second is taken for the first, unless `once` says that nothing is repeated.

    Raises:
        NotFoundError: It was read from a store, and is not there any more.
        AlreadyExistsError: It is new, and another one has its id.
        ConflictError: Others have written it since it was read.
        InvalidTransitionError: Its status cannot follow the one that is stored.
    """
    name, key = kind.name, row["id"]
    if stored is None:
        if row["revision"]:
            raise missing(name, key)
        return True
    if (row["revision"] == stored["revision"] or not once) and same(kind.columns, row, stored):
        return False
    for fixed in kind.fixed:
        if row[fixed] != stored[fixed]:
            message = f"there is another {name} {key!r} already, with another {fixed}, which never changes"
            raise AlreadyExistsError(message, field=fixed, **{f"{name}_id": key})
    expected = row["revision"] or 1
    if stored["revision"] != expected or (once and not row["revision"] and same(kind.columns, row, stored)):
        raise ConflictError(
            f"{name} {key!r} was changed by others: it is at revision {stored['revision']}, expected was {expected};"
            " get it again, or go on with what the save answered, and repeat",
            reason=f"stale_{name}",
            expected=expected,
            actual=stored["revision"],
            **{f"{name}_id": key},
        )
    check_transition(stored["status"], row["status"], _STATUSES[name], f"{name}.status")
    return True


def same(columns: Iterable[Column], row: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Tell whether two rows say the same, with the same types."""
    return all(
        codec.same(row[c.name], stored[c.name]) if c.type == "jsonb" else row[c.name] == stored[c.name] for c in columns
    )


def missing(name: str, key: object) -> NotFoundError:
    """Say that there is no such session or run."""
    return NotFoundError(f"there is no {name} {key!r}", reason=f"{name}_not_found", **{f"{name}_id": key})


def may_run(run: Run, running: Sequence[str]) -> None:
    """Refuse a run that would be the second one of its session to run.

    Raises:
        ConflictError: `already_running`.
    """
    if running and run.id not in running:
        raise ConflictError(
            f"session {run.session_id!r} has a running run already: {', '.join(running)};"
            " end it first (recover_runs() does, when its process is gone); save_run(concurrent=True) allows several",
            reason="already_running",
            session_id=run.session_id,
            run_id=run.id,
            running=list(running),
        )


# -- events -------------------------------------------------------------------------------------------------------


def encode_events(events: Iterable[Event], dialect: Dialect) -> dict[str, Row]:
    """Answer the rows of events by their ids, each once, in order.

    Raises:
        UnstorableError: One holds what cannot be stored.
        DuplicateEntryError: Two of them have one id, and are not the same.
    """
    rows: dict[str, Row] = {}
    for at, event in enumerate(events):
        row = encode(event, (*EVENTS.key, *EVENTS.row), f"events[{at}]", dialect)
        refuse_other(row, rows.setdefault(row["id"], row))
    return rows


def refuse_unknown(row: Mapping[str, Any]) -> None:
    """Refuse an event that is to be stored for the first time and has a type that there is not.

    Raises:
        InvalidRecordError: `invalid_event_type`.
    """
    if row["type"] not in EVENT_TYPES:
        raise InvalidRecordError.at("event.type", "one of EVENT_TYPES", row["type"], reason="invalid_event_type")


#: What makes an event what it is. Its time does not: who makes it once more, to repeat an append, has a later one.
_CONTENT = tuple(c for c in (*EVENTS.key, *EVENTS.row) if c.name != "timestamp")


def refuse_other(row: Row, stored: Mapping[str, Any]) -> None:
    """Refuse an event whose id is taken by one that says something else.

    Raises:
        DuplicateEntryError: It is of another session, or has another content.
    """
    if row is stored or same(_CONTENT, row, stored):
        return
    elsewhere = row["session_id"] != stored["session_id"]
    what = f"session {stored['session_id']!r} has" if elsewhere else "there is"
    raise DuplicateEntryError(
        f"{what} another event with the id {row['id']!r}: an id stands for one event, with one content",
        event_id=row["id"],
        session_id=stored["session_id"],
    )
