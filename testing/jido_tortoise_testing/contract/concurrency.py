"""Concurrency: many writers at once, through two handles; nobody's write is lost, torn or taken for another's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar

from jido_tortoise.agents.storage import ThreadWrite
from jido_tortoise.agents.thread import Entry
from jido_tortoise.errors import AlreadyExistsError, ConflictError
from jido_tortoise_testing.contract.base import (
    Checks,
    FullStorage,
    entries_of,
    loaded,
    needs,
    note,
    notes,
    numbers,
    seqs,
)
from jido_tortoise_testing.contract.checkpoints import data_of
from jido_tortoise_testing.levels import Level


class Crowd(Checks):
    """Runs many calls at once."""

    level: ClassVar[Level] = "CONCURRENT"

    async def all_done(self, calls: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
        """Run the calls at once and answer their answers; an error of one is the check's, and so is a hang."""
        async with asyncio.timeout(self.patience):
            return await asyncio.gather(*calls)

    async def outcomes(self, calls: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
        """Run the calls at once and answer what each answered or raised: a conflict may, another error may not."""
        async with asyncio.timeout(self.patience):
            found = await asyncio.gather(*calls, return_exceptions=True)
        for outcome in found:
            if isinstance(outcome, BaseException) and not isinstance(outcome, ConflictError):
                raise outcome
        return found

    async def only_winner(self, calls: Sequence[Coroutine[Any, Any, Any]]) -> int:
        """Run the calls at once and answer which of them was done; all others must be told of a conflict."""
        found = await self.outcomes(calls)
        winners = [index for index, outcome in enumerate(found) if not isinstance(outcome, ConflictError)]
        assert len(winners) == 1, f"{len(winners)} of {len(found)} writers were told that they won"
        return winners[0]


class ConcurrentAppendChecks(Crowd):
    """Appends at once, without and with an expected revision."""

    async def test_appends_at_once_all_succeed(self, storage: FullStorage) -> None:
        """Without an expected revision every append is done, and the numbers have no gap (E25, Redis 24)."""
        await storage.append_thread("t", note("first"))
        answers = await self.all_done([storage.append_thread("t", note(n)) for n in range(self.crowd)])
        thread = await loaded(storage, "t")
        assert thread.rev == self.crowd + 1
        assert seqs(thread) == list(range(self.crowd + 1))
        assert Counter(numbers(thread)) == Counter(["first", *range(self.crowd)])
        assert sorted(answer.rev for answer in answers) == list(range(2, self.crowd + 2))

    async def test_appends_at_once_by_two_handles(self, storage: FullStorage, second: FullStorage) -> None:
        """Two handles append at once to a journal that neither has seen: all are done, in one journal (H8)."""
        calls = [
            handle.append_thread("t", note((name, n)))
            for n in range(self.crowd // 2)
            for name, handle in (("one", storage), ("two", second))
        ]
        await self.all_done(calls)
        thread = await loaded(storage, "t")
        assert seqs(thread) == list(range(len(calls)))
        assert set(numbers(thread)) == {(name, n) for n in range(self.crowd // 2) for name in ("one", "two")}

    async def test_appends_of_many_stay_together(self, storage: FullStorage, second: FullStorage) -> None:
        """The entries of one append stand one after another, in their order, whoever else appends."""
        handles = [storage, second] * 5
        answers = await self.all_done(
            [handle.append_thread("t", [note((writer, n)) for n in range(4)]) for writer, handle in enumerate(handles)]
        )
        found = numbers(await storage.load_thread("t"))
        batches = [found[start : start + 4] for start in range(0, len(found), 4)]
        assert sorted(batches) == [[(writer, n) for n in range(4)] for writer in range(len(handles))]
        for writer, answer in enumerate(answers):
            assert found[answer.rev - 4 : answer.rev] == [(writer, n) for n in range(4)]

    async def test_one_winner_at_one_revision(self, storage: FullStorage, second: FullStorage) -> None:
        """Of many appends that expect one revision exactly one is done; the others are conflicts (E26, H8)."""
        await storage.append_thread("t", note("first"))
        handles = [storage, second] * 6
        winner = await self.only_winner(
            [handle.append_thread("t", note(n), expected_rev=1) for n, handle in enumerate(handles)]
        )
        thread = await loaded(storage, "t")
        assert (thread.rev, numbers(thread)) == (2, ["first", winner])

    async def test_one_winner_makes_the_journal(self, storage: FullStorage, second: FullStorage) -> None:
        """Of many appends that expect no journal exactly one makes it, with its own metadata (H8)."""
        calls = [
            handle.append_thread("t", notes(2, start=10 * n), expected_rev=0, metadata={"by": n})
            for n, handle in enumerate([storage, second] * 6)
        ]
        winner = await self.only_winner(calls)
        thread = await loaded(second, "t")
        assert (numbers(thread), thread.metadata) == ([10 * winner, 10 * winner + 1], {"by": winner})

    async def test_losers_may_try_again(self, storage: FullStorage, second: FullStorage) -> None:
        """Writers that load again after a conflict get all their entries in, without one lost or doubled (H8)."""

        async def persist(handle: FullStorage, n: int) -> None:
            for _ in range(200):
                thread = await handle.load_thread("t")
                try:
                    await handle.append_thread("t", note(n), expected_rev=thread.rev if thread else 0)
                except ConflictError:
                    await asyncio.sleep(0)
                else:
                    return
            raise AssertionError("200 conflicts in a row")

        await self.all_done([persist(handle, n) for n, handle in enumerate([storage, second] * 4)])
        thread = await loaded(storage, "t")
        assert seqs(thread) == sorted(numbers(thread)) == list(range(8))

    async def test_appends_to_other_threads(self, storage: FullStorage, second: FullStorage) -> None:
        """Appends at once to five journals do not meet (F26)."""
        names = [f"t{n}" for n in range(5)]
        calls = [
            handle.append_thread(name, note((name, n)))
            for n in range(4)
            for name in names
            for handle in (storage, second)
        ]
        await self.all_done(calls)
        for name in names:
            thread = await loaded(storage, name)
            assert seqs(thread) == list(range(8))
            assert {entry[0] for entry in numbers(thread)} == {name}

    async def test_reader_sees_whole_appends(self, storage: FullStorage, second: FullStorage) -> None:
        """Whoever reads beside a writer sees the beginning of the journal, without gaps and in whole appends."""
        done = asyncio.Event()

        async def write() -> None:
            for start in range(0, 60, 3):
                await storage.append_thread("t", notes(3, start=start))
                await asyncio.sleep(0)
            done.set()

        async def read() -> int:
            before, loads = 0, 0
            while not done.is_set():
                thread = await second.load_thread("t")
                found = entries_of(thread)
                assert numbers(found) == seqs(found) == list(range(len(found)))
                assert len(found) % 3 == 0, "a part of an append was seen"
                assert thread is None or thread.rev == len(found)
                assert len(found) >= before, "what was there has gone"
                before, loads = len(found), loads + 1
                await asyncio.sleep(0)
            return loads

        _, loads = await self.all_done([write(), read()])
        assert loads > 0


class ConcurrentCheckpointChecks(Crowd):
    """Puts, saves and deletes at once."""

    async def test_puts_at_once_leave_one_whole(self, storage: FullStorage, second: FullStorage) -> None:
        """Of many puts at once each is counted, and what is left is one of them, whole."""
        calls = [
            handle.put_checkpoint("k", {"by": n, "again": [n] * 50}) for n, handle in enumerate([storage, second] * 8)
        ]
        answers = await self.all_done(calls)
        assert sorted(answer.version for answer in answers) == list(range(1, len(calls) + 1))
        checkpoint = await storage.get_checkpoint("k")
        assert checkpoint is not None
        last = next(answer for answer in answers if answer.version == len(calls))
        assert (checkpoint.version, checkpoint.data) == (last.version, last.data)
        assert checkpoint.data["again"] == [checkpoint.data["by"]] * 50

    @needs("compare_and_set")
    async def test_one_winner_at_one_version(self, storage: FullStorage, second: FullStorage) -> None:
        """Of many puts that expect one version exactly one is done; the others are conflicts."""
        for expected in (0, 1):
            calls = [
                handle.put_checkpoint("k", {"by": n}, expected_version=expected)
                for n, handle in enumerate([storage, second] * 6)
            ]
            winner = await self.only_winner(calls)
            checkpoint = await storage.get_checkpoint("k")
            assert checkpoint is not None
            assert (checkpoint.version, checkpoint.data) == (expected + 1, {"by": winner})

    @needs("compare_and_set")
    async def test_counting_by_compare_and_set(self, storage: FullStorage, second: FullStorage) -> None:
        """Counters that read, add one and put over the version that they read lose no count."""
        await storage.put_checkpoint("k", 0)

        async def add_one(handle: FullStorage) -> None:
            for _ in range(500):
                checkpoint = await handle.get_checkpoint("k")
                assert checkpoint is not None
                try:
                    await handle.put_checkpoint("k", checkpoint.data + 1, expected_version=checkpoint.version)
                except ConflictError:
                    await asyncio.sleep(0)
                else:
                    return
            raise AssertionError("500 conflicts in a row")

        await self.all_done([add_one(handle) for handle in [storage, second] * 5])
        assert await data_of(storage, "k") == 10

    @needs("atomic_save")
    async def test_one_winner_of_saves(self, storage: FullStorage, second: FullStorage) -> None:
        """Of many first saves at once exactly one is done, and checkpoint and journal are both its own (H4)."""
        for name, version, rev in (("both", 0, 0), ("version", 0, None), ("journal", None, 0)):
            calls = [
                handle.save(
                    name,
                    {"by": n},
                    expected_version=version,
                    thread=ThreadWrite(id=name, entries=[note(n)], expected_rev=rev, metadata={"by": n}),
                )
                for n, handle in enumerate([storage, second] * 6)
            ]
            winner = await self.only_winner(calls)
            thread = await loaded(storage, name)
            assert await data_of(storage, name) == {"by": winner, "thread": {"id": name, "rev": 1}}
            assert (numbers(thread), thread.metadata) == ([winner], {"by": winner})

    @needs("atomic_save")
    async def test_unguarded_saves_at_once(self, storage: FullStorage, second: FullStorage) -> None:
        """Without guards every save is done: all entries are there, and the checkpoint points at the end."""
        calls = [
            handle.save("k", {"by": n}, thread=ThreadWrite(id="t", entries=[note(n)]))
            for n, handle in enumerate([storage, second] * 8)
        ]
        answers = await self.all_done(calls)
        thread = await loaded(storage, "t")
        assert seqs(thread) == sorted(numbers(thread)) == list(range(16))
        assert (
            sorted(answer.version for answer in answers)
            == sorted(answer.rev for answer in answers)
            == list(range(1, 17))
        )
        assert (await data_of(storage, "k"))["thread"] == {"id": "t", "rev": 16}

    @needs("atomic_save")
    async def test_reader_sees_whole_saves(self, storage: FullStorage, second: FullStorage) -> None:
        """Whoever fetches beside a saving writer sees a checkpoint and a head that belong together (H2)."""
        done = asyncio.Event()

        async def write() -> None:
            for n in range(20):
                await storage.save("k", {"n": 2 * (n + 1)}, thread=ThreadWrite(id="t", entries=[note(n), note(n)]))
                await asyncio.sleep(0)
            done.set()

        async def read() -> int:
            fetches = 0
            while not done.is_set():
                fetched = await second.fetch("k")
                if fetched is not None:
                    checkpoint, head = fetched
                    assert head is not None
                    assert checkpoint.data == {"n": head.rev, "thread": {"id": "t", "rev": head.rev}}
                    fetches += 1
                await asyncio.sleep(0)
            return fetches

        _, fetches = await self.all_done([write(), read()])
        assert fetches > 0

    @needs("atomic_save")
    async def test_saves_beside_appends(self, storage: FullStorage, second: FullStorage) -> None:
        """Saves and plain appends to one journal at once are all done, without a deadlock between them."""
        saves = [storage.save("k", {}, thread=ThreadWrite(id="t", entries=[note(("save", n))])) for n in range(12)]
        appends = [second.append_thread("t", note(("append", n))) for n in range(12)]
        await self.all_done([call for pair in zip(saves, appends, strict=True) for call in pair])
        thread = await loaded(storage, "t")
        assert seqs(thread) == list(range(24))
        assert len(set(numbers(thread))) == 24

    async def test_deletes_beside_appends(self, storage: FullStorage, second: FullStorage) -> None:
        """A journal that is deleted and appended to at once is whole or gone, and never has a gap."""
        found: Sequence[Entry] = ()
        for _ in range(5):
            calls: list[Coroutine[Any, Any, Any]] = [storage.append_thread("t", notes(2)) for _ in range(6)]
            calls[2:2] = [second.delete_thread("t")]
            calls[5:5] = [second.delete_thread("t")]
            await self.all_done(calls)
            thread = await storage.load_thread("t")
            found = entries_of(thread)
            assert seqs(found) == list(range(len(found)))
            assert numbers(found) == [0, 1] * (len(found) // 2)
            assert thread is None or thread.rev == len(found)
        assert (await storage.append_thread("t", note("last"))).rev == len(found) + 1

    @needs("copy")
    async def test_one_winner_of_copies(self, storage: FullStorage, second: FullStorage) -> None:
        """Of many copies to one target at once exactly one is done, and the others are AlreadyExistsError."""
        for n in range(6):
            await storage.append_thread(f"t{n}", notes(3, start=10 * n))
        calls = [handle.copy_thread(f"t{n}", "copy") for n, handle in enumerate([storage, second] * 3)]
        found = await self.outcomes(calls)
        losers = [outcome for outcome in found if isinstance(outcome, AlreadyExistsError)]
        assert len(losers) == 5
        (winner,) = [n for n, outcome in enumerate(found) if outcome not in losers]
        assert numbers(await storage.load_thread("copy")) == [10 * winner, 10 * winner + 1, 10 * winner + 2]

    @needs("trim")
    async def test_trims_beside_appends(self, storage: FullStorage, second: FullStorage) -> None:
        """Trims and appends at once leave the newest entries, numbered as if there had been no trim."""
        await storage.append_thread("t", notes(10))
        calls: list[Coroutine[Any, Any, Any]] = [storage.append_thread("t", note(n)) for n in range(10)]
        calls += [second.trim_thread("t", before=before) for before in (3, 8, 5)]
        await self.all_done(calls)
        thread = await loaded(storage, "t")
        assert (thread.rev, thread.first_seq, seqs(thread)) == (20, 8, list(range(8, 20)))
