"""Did concurrent writers keep the journal's law? Record what they called and were told, and let it be checked.

    history = History()
    await asyncio.gather(*(work(history.wrap(storage, f"p{n}")) for n in range(5)))
    await history.check(storage)

A journal shows the order of its writes itself, so that the check takes n log n where a database in general needs more.
An outcome may be unknown: after a cancellation or a lost connection the append may be there, whole, or not.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import Any, Literal, cast

from jido_tortoise.agents.storage import Appended, AtomicSave, EntryLike, Saved, Storage, ThreadWrite
from jido_tortoise.agents.thread import Entry, Thread, normalise_entries
from jido_tortoise.errors import ConflictError, InvalidInputError

Outcome = Literal["ok", "failed", "unknown"]
AnomalyKind = Literal[
    "lost append",
    "torn append",
    "duplicated entry",
    "entry from nowhere",
    "wrong revision answered",
    "lost update",
    "expected revision ignored",
    "refused but written",
    "refused without reason",
    "reordered appends",
    "reordered read",
    "stale read",
    "read from the future",
]

_SHOWN = 5
_IDS_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call, as its caller saw it."""

    process: str
    action: Literal["append", "read"]
    key: str
    #: When it was called and when it answered, on one clock for all processes; None when nobody knows.
    invoked: int
    returned: int | None
    outcome: Outcome
    #: The ids that were appended, or that were read.
    ids: tuple[str, ...] = ()
    #: The revision that an append demanded.
    expected: int | None = None
    #: The revision that an append was answered.
    rev: int | None = None

    def __str__(self) -> str:
        expected = "" if self.expected is None else f" expected={self.expected}"
        rev = "" if self.rev is None else f" rev={self.rev}"
        when = f"{self.invoked}..{'' if self.returned is None else self.returned}"
        return f"{self.process} {self.action} {_shown(self.ids)}{expected} -> {self.outcome}{rev} ({when})"


def _shown(ids: Sequence[str]) -> str:
    more = f", +{len(ids) - _IDS_SHOWN}" if len(ids) > _IDS_SHOWN else ""
    return f"[{', '.join(ids[:_IDS_SHOWN])}{more}]"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """What no sound journal does, with the operations that show it."""

    kind: AnomalyKind
    key: str
    operations: tuple[Operation, ...]
    contradiction: str

    def __str__(self) -> str:
        names = "ABCDEFGH"
        lets = [f"  Let {name} = {one}" for name, one in zip(names, self.operations, strict=False)]
        return "\n".join(
            [f"{self.kind} in thread {self.key!r}", *lets, f"  Then: {self.contradiction}: a contradiction!"]
        )


class HistoryError(AssertionError):
    """The history has anomalies."""

    def __init__(self, anomalies: Sequence[Anomaly], operations: int) -> None:
        more = f"\n+{len(anomalies) - _SHOWN} more in `anomalies`" if len(anomalies) > _SHOWN else ""
        text = "\n".join(map(str, anomalies[:_SHOWN]))
        super().__init__(f"{len(anomalies)} anomalies in {operations} operations\n{text}{more}")
        self.anomalies = tuple(anomalies)


def _now() -> int:
    """Answer nanoseconds of a clock that all processes of a machine share, and that no tool freezes for a test."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) if hasattr(time, "CLOCK_MONOTONIC") else time.monotonic_ns()


# -- recording ----------------------------------------------------------------------------------------------------


@dataclass
class History:
    """What several processes called and were told."""

    operations: list[Operation] = field(default_factory=list)

    def wrap(self, storage: Storage, process: str) -> RecordedStorage:
        """Answer the storage, with its appends, whole reads and saves recorded as this process's."""
        return RecordedStorage(storage, self, process)

    def dumps(self) -> str:
        """Answer it as JSON lines, to come from another process of the same machine."""
        return "\n".join(json.dumps(asdict(operation)) for operation in self.operations)

    def load(self, text: str) -> None:
        """Add what another process recorded."""
        for line in text.splitlines():
            found = json.loads(line)
            self.operations.append(Operation(**found | {"ids": tuple(found["ids"])}))

    async def check(self, storage: Storage) -> None:
        """Compare it with what the journals hold in the end.

        Raises:
            HistoryError: With a witness for each anomaly.
        """
        __tracebackhide__ = True
        final = {}
        for key in sorted({operation.key for operation in self.operations}):
            final[key] = _ids(await storage.load_thread(key))
        anomalies = find_anomalies(self.operations, final)
        if anomalies:
            raise HistoryError(anomalies, len(self.operations))


class RecordedStorage:
    """A storage whose appends, whole reads and saves of journals are recorded."""

    def __init__(self, inner: Storage, history: History, process: str) -> None:
        self._inner = inner
        self._history = history
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append_thread(
        self,
        thread_id: str,
        entries: EntryLike | Sequence[EntryLike],
        *,
        expected_rev: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Appended:
        """Append, and record what came of it."""
        made = normalise_entries(entries)  # ids are needed also when no answer comes
        facts = {
            "action": "append",
            "key": thread_id,
            "ids": tuple(entry.id for entry in made),
            "expected": expected_rev,
        }
        invoked = _now()
        try:
            answer = await self._inner.append_thread(thread_id, made, expected_rev=expected_rev, metadata=metadata)
        except BaseException as error:
            self._record(facts, invoked, _outcome_of(error))
            raise
        self._record(facts | {"rev": answer.rev}, invoked, "ok")
        return answer

    async def save(
        self,
        key: Any,
        data: Mapping[str, Any],
        *,
        expected_version: int | None = None,
        thread: ThreadWrite | None = None,
    ) -> Saved:
        """Save, and record what came of the journal's part."""
        inner = cast(AtomicSave, self._inner)
        if thread is None or not thread.entries:
            return await inner.save(key, data, expected_version=expected_version, thread=thread)
        entries = normalise_entries(thread.entries)
        facts = {"action": "append", "key": thread.id, "ids": tuple(entry.id for entry in entries)}
        made = replace(thread, entries=entries)
        invoked = _now()
        try:
            answer = await inner.save(key, data, expected_version=expected_version, thread=made)
        except BaseException as error:
            # It may have been refused for the checkpoint's sake, whatever the journal's revision was.
            self._record(facts, invoked, _outcome_of(error))
            raise
        # What the host's own transaction may still undo is not known to be there.
        told = facts | {"expected": thread.expected_rev, "rev": answer.rev}
        self._record(told, invoked, "unknown" if answer.provisional else "ok")
        return answer

    async def load_thread(self, thread_id: str, **range_: Any) -> Thread | None:
        """Read; a read of all is recorded."""
        invoked = _now()
        thread = await self._inner.load_thread(thread_id, **range_)
        if not range_:
            self._record({"action": "read", "key": thread_id, "ids": _ids(thread)}, invoked, "ok")
        return thread

    def _record(self, facts: dict[str, Any], invoked: int, outcome: Outcome) -> None:
        returned = None if outcome == "unknown" else _now()
        operation = Operation(process=self._process, invoked=invoked, returned=returned, outcome=outcome, **facts)
        self._history.operations.append(operation)


def _ids(entries: Iterable[Entry] | None) -> tuple[str, ...]:
    return () if entries is None else tuple(entry.id for entry in entries)


def _outcome_of(error: BaseException) -> Outcome:
    refused = isinstance(error, ConflictError | InvalidInputError)
    return "failed" if refused or getattr(error, "outcome", None) == "not_applied" else "unknown"


# -- checking -----------------------------------------------------------------------------------------------------


def find_anomalies(operations: Iterable[Operation], final: Mapping[str, Sequence[str]]) -> list[Anomaly]:
    """Find what no sound journal would have done.

    Args:
        operations: What was called; calls that were never answered have the outcome "unknown".
        final: For each key the ids that its journal holds in the end, from its first entry on.
    """
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_key[operation.key].append(operation)
    found: list[Anomaly] = []
    for key, ones in by_key.items():
        found += _Journal(key, ones, tuple(final.get(key, ()))).anomalies()
    return found


@dataclass(slots=True)
class _Write:
    """The appends of the same entries: a repeat of an append is not another one."""

    operations: list[Operation]
    invoked: int
    returned: int | None
    start: int = -1


class _Journal:
    """The operations on one journal, and what it holds in the end."""

    def __init__(self, key: str, operations: list[Operation], log: tuple[str, ...]) -> None:
        self.key = key
        self.log = log
        self.appends = [one for one in operations if one.action == "append"]
        self.reads = sorted((one for one in operations if one.action == "read"), key=lambda one: one.invoked)
        self.positions = {entry: position for position, entry in enumerate(log)}
        self.writes = self._grouped()
        self.owners = {entry: write for ids, write in self.writes.items() for entry in ids}

    def _grouped(self) -> dict[tuple[str, ...], _Write]:
        groups: dict[tuple[str, ...], list[Operation]] = defaultdict(list)
        for one in self.appends:
            groups[one.ids].append(one)
        return {ids: _write(ones) for ids, ones in groups.items() if ids}

    def anomalies(self) -> Iterator[Anomaly]:
        """Answer all of them."""
        yield from self._lost_updates()
        yield from self._of_entries()
        for one in self.appends:
            yield from self._of_append(one)
        yield from self._of_order()
        yield from self._of_reads()

    def _anomaly(self, kind: AnomalyKind, contradiction: str, *operations: Operation) -> Anomaly:
        return Anomaly(kind, self.key, operations, contradiction)

    # -- entries and appends ------------------------------------------------------------------------------------------

    def _of_entries(self) -> Iterator[Anomaly]:
        for position, entry in enumerate(self.log):
            owner = self.owners.get(entry)
            if self.positions[entry] != position:
                where = f"{entry} stands at {position} and at {self.positions[entry]}"
                yield self._anomaly("duplicated entry", where, *(owner.operations if owner else ()))
            if owner is None:
                yield self._anomaly("entry from nowhere", f"{entry} stands at {position}, and nobody appended it")

    def _of_append(self, one: Operation) -> Iterator[Anomaly]:
        at = [self.positions[entry] for entry in one.ids if entry in self.positions]
        whole = len(at) == len(one.ids) and at == list(range(at[0], at[0] + len(at))) if at else False
        if at and not whole:
            where = f"of its {len(one.ids)} entries {len(at)} are there, at {at}"
            yield self._anomaly("torn append", where, one)
        elif one.outcome == "ok":
            yield from self._of_acknowledged(one, at)
        elif one.outcome == "failed":
            yield from self._of_refused(one, at)

    def _of_acknowledged(self, one: Operation, at: list[int]) -> Iterator[Anomaly]:
        if not one.ids:
            return
        if not at:
            yield self._anomaly("lost append", "it was acknowledged, and none of its entries is there", one)
            return
        if one.rev is not None and one.rev != at[-1] + 1:
            where = f"its last entry stands at {at[-1]}, which makes revision {at[-1] + 1}"
            yield self._anomaly("wrong revision answered", where, one)
        if one.expected is not None and at[0] != one.expected:
            where = f"it was acknowledged at revision {one.expected}, and its entries begin at {at[0]}"
            yield self._anomaly("expected revision ignored", where, one)

    def _of_refused(self, one: Operation, at: list[int]) -> Iterator[Anomaly]:
        alone = len(self.writes[one.ids].operations) == 1 if one.ids else False
        if at and alone:
            yield self._anomaly("refused but written", f"it failed, and its entries stand at {at}", one)
        elif not at and one.expected is not None and self._surely_at(one.expected, one):
            where = f"the journal was at revision {one.expected} as long as it ran"
            yield self._anomaly("refused without reason", where, one)

    def _surely_at(self, rev: int, one: Operation) -> bool:
        """Whether the journal was at this revision during the whole call."""
        if rev > len(self.log) or one.returned is None:
            return False
        reached = rev == 0 or _was_done(self.owners.get(self.log[rev - 1]), one.invoked)
        next_one = self.owners.get(self.log[rev]) if rev < len(self.log) else None
        left = rev < len(self.log) and (next_one is None or next_one.invoked < one.returned)
        return reached and not left

    # -- order --------------------------------------------------------------------------------------------------------

    def _lost_updates(self) -> Iterator[Anomaly]:
        at: dict[int, Operation] = {}
        for one in self.appends:
            if one.outcome != "ok" or one.expected is None or not one.ids:
                continue
            other = at.setdefault(one.expected, one)
            if other.ids != one.ids:
                where = f"both were acknowledged at expected_rev={one.expected}, and both cannot start there"
                yield self._anomaly("lost update", where, other, one)

    def _of_order(self) -> Iterator[Anomaly]:
        placed = [write for ids, write in self.writes.items() if self._place(ids, write)]
        placed.sort(key=lambda write: write.start)
        latest: _Write | None = None
        for write in placed:
            if latest is not None and write.returned is not None and write.returned < latest.invoked:
                where = "B had ended before A began, and stands after it"
                yield self._anomaly("reordered appends", where, latest.operations[0], write.operations[0])
            if latest is None or write.invoked > latest.invoked:
                latest = write

    def _place(self, ids: tuple[str, ...], write: _Write) -> bool:
        write.start = self.positions.get(ids[0], -1)
        return write.start >= 0

    # -- reads --------------------------------------------------------------------------------------------------------

    def _of_reads(self) -> Iterator[Anomaly]:
        known = sorted(self._known(), key=lambda mark: mark[0])
        begun = list(accumulate((self._invoked(entry) for entry in self.log), max))
        highest, source, passed = 0, None, 0
        for read in self.reads:
            while passed < len(known) and known[passed][0] < read.invoked:
                _, length, one = known[passed]
                if length > highest:
                    highest, source = length, one
                passed += 1
            yield from self._of_read(read, highest, source, begun)

    def _known(self) -> Iterator[tuple[int, int, Operation]]:
        """When it was known to whom that the journal is how long."""
        for one in self.appends:
            if one.outcome == "ok" and one.returned is not None and one.ids and one.ids[-1] in self.positions:
                yield one.returned, self.positions[one.ids[-1]] + 1, one
        for one in self.reads:
            if one.returned is not None:
                yield one.returned, len(one.ids), one

    def _of_read(self, read: Operation, highest: int, source: Operation | None, begun: list[int]) -> Iterator[Anomaly]:
        length = len(read.ids)
        if read.ids != self.log[:length]:
            first = next(
                (n for n, pair in enumerate(zip(read.ids, self.log, strict=False)) if pair[0] != pair[1]), None
            )
            where = f"it is no beginning of the journal, from number {len(self.log) if first is None else first} on"
            yield self._anomaly("reordered read", where, read)
        elif length < highest and source is not None:
            where = f"A had ended before B began, and showed {highest} entries, where B saw {length}"
            yield self._anomaly("stale read", where, source, read)
        elif length and read.returned is not None and begun[length - 1] > read.returned:
            yield self._anomaly("read from the future", "it saw an entry that nobody had begun to append", read)

    def _invoked(self, entry: str) -> int:
        owner = self.owners.get(entry)
        return owner.invoked if owner is not None else 0


def _write(operations: list[Operation]) -> _Write:
    ends = [one.returned for one in operations if one.outcome == "ok" and one.returned is not None]
    return _Write(operations, min(one.invoked for one in operations), min(ends) if ends else None)


def _was_done(write: _Write | None, moment: int) -> bool:
    return write is not None and write.returned is not None and write.returned < moment
