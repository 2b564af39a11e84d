"""Cancelling: a call that is cancelled at whichever of its awaits has happened or has not, and blocks nobody after."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from jido_tortoise.agents.storage import ThreadWrite
from jido_tortoise_testing.contract.base import FullStorage, loaded, needs, note, notes, numbers, seqs
from jido_tortoise_testing.contract.repeats import made
from jido_tortoise_testing.contract.sweeping import Prepare, SweepingChecks
from jido_tortoise_testing.faults.awaits import Cancelled


def agent_of(storage: FullStorage) -> Prepare:
    """Answer what stores a journal of three entries, and a checkpoint that points at it, under a name."""

    async def prepare(name: str) -> None:
        await storage.append_thread(name, notes(3))
        await storage.put_checkpoint(name, {"thread": {"id": name, "rev": 3}})

    return prepare


class CancellingChecks(SweepingChecks):
    """Each check cancels one call at each of its awaits in turn, at two moments, and looks at what is left."""

    async def test_cancelled_append(self, storage: FullStorage, second: FullStorage) -> None:
        """An append that is cancelled is there whole or not at all; a repeat of it is done once, and others go on."""
        entries = made(3)

        async def look(name: str, ended: Cancelled) -> None:
            assert numbers(await second.load_thread(name)) in ([], [0, 1, 2]), ended
            assert (await storage.append_thread(name, entries)).rev == 3, ended
            assert (await second.append_thread(name, note(3))).rev == 4, ended
            assert numbers(await storage.load_thread(name)) == [0, 1, 2, 3], ended

        await self.sweep(lambda name: lambda: storage.append_thread(name, entries), look)

    async def test_cancelled_guarded_append(self, storage: FullStorage, second: FullStorage) -> None:
        """The repeat of a cancelled append with an expected revision is no conflict, whatever came of the first."""
        entries = made(2)

        async def look(name: str, ended: Cancelled) -> None:
            assert (await second.append_thread(name, entries, expected_rev=0)).rev == 2, ended
            assert numbers(await storage.load_thread(name)) == [0, 1], ended

        await self.sweep(lambda name: lambda: storage.append_thread(name, entries, expected_rev=0), look)

    async def test_cancelled_put(self, storage: FullStorage, second: FullStorage) -> None:
        """A put that is cancelled has replaced what was there, or has not; the next put is done."""

        async def put(name: str) -> None:
            await storage.put_checkpoint(name, {"n": 1})

        async def look(name: str, ended: Cancelled) -> None:
            found = await second.get_checkpoint(name)
            assert found is None or (found.data, found.version) == ({"n": 1}, 1), ended
            version = found.version if found else 0
            assert (await storage.put_checkpoint(name, {"n": 2})).version == version + 1, ended

        await self.sweep(lambda name: lambda: put(name), look)

    @needs("atomic_save")
    async def test_cancelled_save(self, storage: FullStorage, second: FullStorage) -> None:
        """A save that is cancelled has written checkpoint and journal, or neither."""

        def save(name: str, handle: FullStorage = storage) -> Coroutine[Any, Any, object]:
            thread = ThreadWrite(id=name, entries=made(2), expected_rev=0)
            return handle.save(name, {"n": 1}, thread=thread)

        async def look(name: str, ended: Cancelled) -> None:
            found = await second.fetch(name)
            entries = numbers(await second.load_thread(name))
            assert (found is not None, entries) in ((True, [0, 1]), (False, [])), ended
            if found is None:
                await save(name, second)
            fetched = await storage.fetch(name)
            assert fetched is not None
            assert fetched[0].data == {"n": 1, "thread": {"id": name, "rev": 2}}, ended
            assert numbers(await storage.load_thread(name)) == [0, 1], ended

        await self.sweep(lambda name: lambda: save(name), look)

    async def test_cancelled_delete(self, storage: FullStorage, second: FullStorage) -> None:
        """A delete of a journal that is cancelled has taken all of it, or nothing."""

        async def look(name: str, ended: Cancelled) -> None:
            assert numbers(await second.load_thread(name)) in ([], [0, 1, 2]), ended
            await storage.delete_thread(name)
            assert (await second.append_thread(name, notes(2), expected_rev=0)).rev == 2, ended

        await self.sweep(lambda name: lambda: storage.delete_thread(name), look, prepare=agent_of(storage))

    @needs("atomic_save")
    async def test_cancelled_delete_of_an_agent(self, storage: FullStorage, second: FullStorage) -> None:
        """A delete of an agent that is cancelled has taken checkpoint and journal, or neither."""

        async def look(name: str, ended: Cancelled) -> None:
            there = await second.get_checkpoint(name) is not None
            assert (there, numbers(await second.load_thread(name))) in ((True, [0, 1, 2]), (False, [])), ended
            await storage.delete_agent(name)
            assert await second.fetch(name) is None, ended

        await self.sweep(lambda name: lambda: storage.delete_agent(name), look, prepare=agent_of(storage))

    @needs("trim")
    async def test_cancelled_trim(self, storage: FullStorage, second: FullStorage) -> None:
        """A trim that is cancelled has moved the first number and dropped what is below, or neither."""

        async def look(name: str, ended: Cancelled) -> None:
            thread = await second.load_thread(name)
            assert thread is not None
            assert (thread.first_seq, numbers(thread)) in ((0, [0, 1, 2]), (2, [2])), ended
            await storage.trim_thread(name, before=2)
            assert numbers(await second.load_thread(name)) == [2], ended

        await self.sweep(lambda name: lambda: storage.trim_thread(name, before=2), look, prepare=agent_of(storage))

    @needs("copy")
    async def test_cancelled_copy(self, storage: FullStorage, second: FullStorage) -> None:
        """A copy that is cancelled is there whole, or not at all."""
        await storage.append_thread("t", notes(3))

        async def look(name: str, ended: Cancelled) -> None:
            assert numbers(await second.load_thread(name)) in ([], [0, 1, 2]), ended
            await storage.delete_thread(name)
            await second.copy_thread("t", name)
            assert numbers(await storage.load_thread(name)) == [0, 1, 2], ended

        await self.sweep(lambda name: lambda: storage.copy_thread("t", name), look)

    async def test_cancelled_reads(self, storage: FullStorage, second: FullStorage) -> None:
        """A read that is cancelled changes nothing, and the next read is done."""
        await storage.append_thread("t", notes(3))
        await storage.put_checkpoint("k", {"n": 1})

        async def look(_: str, ended: Cancelled) -> None:
            assert numbers(await storage.load_thread("t")) == numbers(await second.load_thread("t")) == [0, 1, 2], ended
            checkpoint = await storage.get_checkpoint("k")
            assert checkpoint is not None
            assert checkpoint.data == {"n": 1}, ended

        await self.sweep(lambda _: lambda: storage.load_thread("t"), look)
        await self.sweep(lambda _: lambda: storage.get_checkpoint("k"), look)

    async def test_cancelled_call_is_told(self, storage: FullStorage) -> None:
        """A call that is cancelled ends as cancelled: a timeout or a task group around it relies on that."""

        async def look(name: str, ended: Cancelled) -> None:
            assert ended.told == ended.reached, f"{ended}: the cancellation was swallowed"

        await self.sweep(lambda name: lambda: storage.append_thread(name, note(1)), look)
        await self.sweep(lambda name: lambda: storage.load_thread(name), look)

    async def test_cancelled_calls_at_once(self, storage: FullStorage, second: FullStorage) -> None:
        """Calls that are cancelled while others wait behind them leave nobody waiting, and no gap."""
        for steps in range(12):
            name = f"t{steps}"
            tasks = [
                asyncio.create_task(handle.append_thread(name, note(n)))
                for n, handle in enumerate([storage, second] * 3)
            ]
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in tasks[1::2]:
                task.cancel()
            _, hung = await asyncio.wait(tasks, timeout=self.patience)
            for task in hung:
                task.cancel()
            await asyncio.gather(*hung, return_exceptions=True)
            assert not hung, f"{len(hung)} calls still wait after a cancellation at step {steps}"
            assert [task.exception() for task in tasks[::2]] == [None] * 3
            thread = await loaded(storage, name)
            assert seqs(thread) == list(range(len(thread)))
            assert {0, 2, 4} <= set(numbers(thread))
