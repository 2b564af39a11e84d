"""Many at once: every event is stored once, every number given once, nobody's change is lost.

C1 to C11 are the concurrency cases of agent_session_manager's store in memory, C12 and C13 those of its Ecto store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, ClassVar

from jido_tortoise.errors import ConflictError, DuplicateEntryError, JidoError, NotFoundError
from jido_tortoise.recording import SessionStoreLike
from jido_tortoise_testing.contract.recording.base import (
    StoreChecks,
    begun,
    event,
    events,
    ids,
    numbers,
    refused,
    run_of,
)
from jido_tortoise_testing.levels import Level


class CrowdChecks(StoreChecks):
    """Tasks of two handles that write at the same time."""

    level: ClassVar[Level] = "CONCURRENT"

    async def test_many_appends(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """All get the next numbers, whatever their callers say, and a batch's follow one another (C7, C12, C13)."""
        await begun(store)
        singles = [(store, second)[n % 2].append_event(event(f"e{n}", sequence_number=900 - n)) for n in range(50)]
        batches = [(store, second)[n % 2].append_events([event(f"b{n}-{m}") for m in range(5)]) for n in range(10)]
        answers = await self._all([*singles, *batches])
        stored = await store.get_events("s")
        assert numbers(stored) == list(range(1, 101))
        told = [*answers[:50], *(one for batch in answers[50:] for one in batch)]
        assert {one.id: one for one in told} == {one.id: one for one in stored}
        for batch in answers[50:]:
            assert numbers(batch) == list(range(batch[0].sequence_number, batch[0].sequence_number + 5))
        assert await store.get_latest_sequence("s") == 100

    async def test_w2_one_event_at_once(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Twenty appends of one event, alone and in batches, store it once and all answer the same (W2)."""
        await begun(store)
        mine = event("same", data={"n": 1})
        alone = [(store, second)[n % 2].append_event(mine) for n in range(10)]
        batches = [(store, second)[n % 2].append_events([event(f"x{n}"), mine]) for n in range(10)]
        answers = await self._all([*alone, *batches])
        same = [*answers[:10], *(batch[1] for batch in answers[10:])]
        assert len({(stored.id, stored.sequence_number) for stored in same}) == 1
        assert numbers(await store.get_events("s")) == list(range(1, 12))

    async def test_w3_one_id_at_once(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Of several contents under one id, at once, one is stored and the others are told (W3)."""
        await begun(store)
        calls = [(store, second)[n % 2].append_event(event("same", data={"n": n})) for n in range(8)]
        answers = await self._settled(calls)
        assert sum(isinstance(answer, DuplicateEntryError) for answer in answers) == 7
        assert len(await store.get_events("s")) == 1

    async def test_w4_saves_at_once(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Of several changes of one copy, at once, one is stored and the others are told (W4)."""
        session = await begun(store)
        calls = [(store, second)[n % 2].save_session(session.changed(tags=[str(n)])) for n in range(10)]
        answers = await self._settled(calls)
        assert sum(isinstance(answer, ConflictError) for answer in answers) == 9
        (saved,) = [answer for answer in answers if not isinstance(answer, JidoError)]
        assert await store.get_session("s") == saved

    async def test_w5_runs_that_begin_at_once(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Of several runs that begin at once, one runs (W5)."""
        await begun(store)
        calls = [(store, second)[n % 2].save_run(run_of(run_id=f"r{n}", status="running")) for n in range(8)]
        answers = await self._settled(calls)
        assert sum(isinstance(answer, ConflictError) for answer in answers) == 7
        assert len(await store.list_runs("s")) == 1

    async def test_new_sessions_at_once(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Each is stored, with a run of its own, and each is deleted (C1, C3, C4)."""
        calls = [begun((store, second)[n % 2], f"s{n}", metadata={"n": n}) for n in range(20)]
        await self._all([*calls, *(store.list_sessions() for _ in range(5))])
        assert sorted(session.metadata["n"] for session in await store.list_sessions()) == list(range(20))
        running = [run_of(f"s{n}", f"r{n}", status="running") for n in range(20)]
        await self._all((second, store)[n % 2].save_run(run) for n, run in enumerate(running))
        assert [ids(await store.list_runs(f"s{n}")) for n in range(20)] == [[f"r{n}"] for n in range(20)]
        await self._all(handle.delete_session(f"s{n}") for n in range(19) for handle in (store, second))
        assert ids(await second.list_sessions()) == ["s19"]
        assert [len(await second.list_runs(f"s{n}")) for n in range(20)] == [*[0] * 19, 1]

    async def test_w8_w9_deletes_amid_writes(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Deletes, flushes and appends at once neither wait for one another for ever nor leave anything behind (W9)."""
        for turn in range(4):
            session = await begun(store, f"s{turn}")
            name, run = session.id, run_of(session.id, f"r{turn}", status="running")
            calls: list[Awaitable[Any]] = [
                (store, second)[n % 2].flush(session=session, run=run, events=[event(f"f{turn}-{n}", session_id=name)])
                for n in range(4)
            ]
            calls += [second.append_event(event(f"a{turn}-{n}", session_id=name)) for n in range(4)]
            calls.insert(turn * 2, store.delete_session(name))
            for answer in await self._settled(calls):
                assert not isinstance(answer, BaseException) or isinstance(answer, NotFoundError | ConflictError)
            await store.delete_session(name)
            with refused(NotFoundError, "run_not_found"):
                await store.get_run(f"r{turn}")
            assert await store.get_events(name) == []

    async def test_reads_amid_appends(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """A read sees a beginning of what is appended, without a gap; at once all see the same (C8, C9)."""
        await begun(store)

        async def read() -> list[list[int | None]]:
            return [numbers(await second.get_events("s")) for _ in range(10)]

        made = events(40)
        answers = await self._all([read(), *(store.append_event(one) for one in made)])
        for seen in answers[0]:
            assert seen == list(range(1, len(seen) + 1))
        stored = await store.get_events("s")
        assert sorted(ids(stored)) == sorted(ids(made))
        assert await self._all((store, second)[n % 2].get_events("s") for n in range(10)) == [stored] * 10

    async def test_changes_of_one_run(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Every change that was answered is there, and while it runs it is the active one (C5, C6)."""
        await begun(store)
        await store.save_run(run_of(status="running"))

        async def add(handle: SessionStoreLike, name: str) -> None:
            for _ in range(3):
                while True:
                    run = await handle.get_run("r")
                    await asyncio.sleep(0)  # so that others come between, also where nothing is waited for
                    try:
                        await handle.save_run(run.with_usage({name: 1}))
                        break
                    except ConflictError:
                        continue

        async def look() -> list[int]:
            seen = [await second.get_active_run("s") for _ in range(10)]
            return [sum(run.token_usage.values()) for run in seen if run is not None]

        adding = [add((store, second)[n % 2], f"tokens_{n}") for n in range(4)]
        sums, *_ = await self._all([look(), *adding])
        assert (len(sums), sums) == (10, sorted(sums))
        assert (await store.get_run("r")).token_usage == {f"tokens_{n}": 3 for n in range(4)}
        await second.save_run((await second.get_run("r")).with_output({}))
        assert await self._all(handle.get_active_run("s") for handle in (store, second)) == [None, None]

    async def test_sessions_read_amid_saves(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """What is read is always one whole version, and never an older one than before (C2)."""
        session = await begun(store, metadata={"n": 1}, tags=["1"])

        async def save() -> None:
            last = session
            for n in range(2, 12):
                last = await store.save_session(last.changed(metadata={"n": n}, tags=[str(n)]))

        async def read() -> list[int]:
            seen = [await second.get_session("s") for _ in range(15)]
            assert all([str(one.metadata["n"])] == [*one.tags] and one.metadata["n"] == one.revision for one in seen)
            return [one.revision for one in seen]

        _, seen, more = await self._all([save(), read(), read()])
        assert (seen, more) == (sorted(seen), sorted(more))
        assert (await second.get_session("s")).revision == 11

    async def test_everything_for_a_while(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Sessions that are written to in all ways at once end with all that was answered, and no more (C10, C11)."""

        async def live(handle: SessionStoreLike, name: str) -> None:
            session = await begun(handle, name)
            for turn in range(5):
                run = run_of(name, f"{name}-{turn}", status="running")
                flushed = await handle.flush(session=session, run=run, events=[event(f"{run.id}-0", session_id=name)])
                await handle.append_events([event(f"{run.id}-{n}", session_id=name) for n in (1, 2)])
                assert await handle.get_active_run(name) == flushed.run
                done = await handle.save_run((flushed.run or run).with_output({"turn": turn}))
                session = await handle.save_session(flushed.session.changed(context={"last": done.id}))

        names = [f"s{n}" for n in range(6)]
        await self._all(live((store, second)[n % 2], name) for n, name in enumerate(names))
        for name in names:
            stored = await store.get_events(name)
            assert ids(stored) == [f"{name}-{turn}-{n}" for turn in range(5) for n in range(3)]
            assert numbers(stored) == list(range(1, 16))
            assert [run.output for run in await second.list_runs(name)] == [{"turn": turn} for turn in range(5)]
            assert (await second.get_session(name)).context == {"last": f"{name}-4"}

    async def _all(self, calls: Iterable[Awaitable[Any]]) -> list[Any]:
        async with asyncio.timeout(self.patience):
            return await asyncio.gather(*calls)

    async def _settled(self, calls: Iterable[Awaitable[Any]]) -> list[Any]:
        async with asyncio.timeout(self.patience):
            return await asyncio.gather(*calls, return_exceptions=True)
