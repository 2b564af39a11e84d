"""Many at once: every event is stored once, every number given once, nobody's change is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

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


class CrowdChecks(StoreChecks):
    """Tasks of two handles that write at the same time."""

    async def test_many_appends(self, store: SessionStoreLike, second: SessionStoreLike) -> None:
        """Fifty at once get the numbers 1 to 50, and a batch's follow one another (the concurrency cases)."""
        await begun(store)
        singles = [(store, second)[n % 2].append_event(event(f"e{n}")) for n in range(50)]
        batches = [(store, second)[n % 2].append_events([event(f"b{n}-{m}") for m in range(5)]) for n in range(10)]
        answers = await self._all([*singles, *batches])
        stored = await store.get_events("s")
        assert numbers(stored) == list(range(1, 101))
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
        """Each is stored, and what is read meanwhile is whole (the concurrency cases)."""
        calls = [begun((store, second)[n % 2], f"s{n}", metadata={"n": n}) for n in range(20)]
        await self._all([*calls, *(store.list_sessions() for _ in range(5))])
        assert sorted(session.metadata["n"] for session in await store.list_sessions()) == list(range(20))

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
        """A read sees a beginning of what is appended, without a gap (the concurrency cases)."""
        await begun(store)

        async def read() -> list[list[int | None]]:
            return [numbers(await second.get_events("s")) for _ in range(10)]

        made = events(40)
        answers = await self._all([read(), *(store.append_event(one) for one in made)])
        for seen in answers[0]:
            assert seen == list(range(1, len(seen) + 1))
        assert sorted(ids(await store.get_events("s"))) == sorted(ids(made))

    async def _all(self, calls: Iterable[Awaitable[Any]]) -> list[Any]:
        async with asyncio.timeout(self.patience):
            return await asyncio.gather(*calls)

    async def _settled(self, calls: Iterable[Awaitable[Any]]) -> list[Any]:
        async with asyncio.timeout(self.patience):
            return await asyncio.gather(*calls, return_exceptions=True)
