"""The journal with another family's shape than the agents': two key columns, numbers from 1, a head column that every
append changes, a sibling row, other names. What the agents' own shape does is the contract suite's."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest
from tortoise.transactions import in_transaction

from jido_tortoise import journal
from jido_tortoise.agents.models import JidoThread
from jido_tortoise.database import Db, resolve
from jido_tortoise.driver_errors import ConstraintError
from jido_tortoise.errors import CorruptRowError, StorageError
from jido_tortoise.journal import Append, Column, JournalTable, Refused, Sibling, Touch, Written, postgres, sqlite
from tests.conftest import Database

CHANNELS = JournalTable(
    head="channels",
    rows="posts",
    key=(Column("app", "varchar"), Column("name", "varchar")),
    row=(Column("post_id", "varchar"), Column("body", "jsonb")),
    kept=(Column("topic", "varchar"),),
    touched=(Touch(Column("hits", "bigint"), {"postgres": "t.hits + :hits", "sqlite": "t.hits + :hits"}),),
    counter="posted",
    number="num",
    oldest="first_num",
    created_at=Column("born", "bigint"),
    updated_at=Column("changed", "bigint"),
    first=1,
)
_UPSERT = (
    "INSERT INTO {schema}totals AS c (app, version) SELECT :app, 1 FROM h WHERE true"
    " ON CONFLICT (app) DO UPDATE SET version = c.version + 1 RETURNING version"
)
TOTALS = Sibling(
    name="totals",
    params=(Column("app", "varchar"), Column("expected_version", "bigint")),
    lock="SELECT version FROM {schema}totals WHERE app = :app",
    guard="(SELECT coalesce(max(version), 0) FROM lc) = :expected_version",
    write={"postgres": _UPSERT, "sqlite": _UPSERT},
)
KEY = ("shop", "news")


@pytest.fixture
async def made(db: Database) -> Database:
    json = "jsonb" if db.dialect == "postgres" else "text"
    await db.client.execute_script(
        f"""CREATE TABLE channels (app varchar(20), name varchar(20), posted bigint NOT NULL, first_num bigint NOT NULL,
            topic varchar(20), hits bigint, born bigint, changed bigint, PRIMARY KEY (app, name));
        CREATE TABLE posts (app varchar(20), name varchar(20), num bigint, post_id varchar(20), body {json},
            UNIQUE (app, name, num), UNIQUE (app, name, post_id));
        CREATE TABLE totals (app varchar(20) PRIMARY KEY, version bigint NOT NULL)"""
    )
    return db


def here() -> Db:
    return resolve(None, JidoThread)


async def post(
    *ids: str, key: tuple[str, str] = KEY, expected: int | None = None, now: int = 5, **more: Any
) -> Written:
    sibling = TOTALS if "expected_version" in more else None
    values = {"topic": "first", "hits": len(ids), "expected_version": more.pop("expected_version", None)}
    columns = (ids, ['{"n": 1}'] * len(ids))
    request = Append(key=key, columns=columns, now=now, expected=expected, values=values, **more)
    return await journal.append(here(), CHANNELS, request, sibling)


async def numbers(key: tuple[str, str] = KEY) -> list[tuple[int, str]]:
    found = await journal.load(here(), CHANNELS, key)
    return [] if found is None else [(row[0], row[1]) for row in found[1]]


async def test_numbers_from_one(made: Database) -> None:
    """The first number is the table's, and the counter counts rows."""
    assert (await post("a", "b")).counter == 2
    assert (await post("c")).counter == 3
    assert await numbers() == [(1, "a"), (2, "b"), (3, "c")]


async def test_journals_of_one_app_are_apart(made: Database) -> None:
    """Both key columns name the journal: the same row id may stand in another one."""
    await post("a")
    await post("a", key=("shop", "other"))
    await post("a", key=("else", "news"))
    assert await numbers(("shop", "other")) == [(1, "a")]


async def test_head_columns(made: Database) -> None:
    """A kept column stays as the first append made it; a touched one changes with each; the time never goes back."""
    await post("a", "b", now=50)
    await post("c", now=40)
    head = await journal.read_head(here(), CHANNELS, KEY)
    assert head is not None
    assert head.values == ("first", 3)
    assert (head.created_at, head.updated_at) == (50, 50)


async def test_must_exist(made: Database) -> None:
    """An append that is not to make the journal leaves nothing where there is none."""
    with pytest.raises(Refused) as caught:
        await post("a", must_exist=True)
    assert caught.value.head is None
    await post("a")
    assert (await post("b", must_exist=True)).counter == 2
    assert (await post("c", must_exist=True, expected=2)).counter == 3


async def test_refused_says_what_is_there(made: Database) -> None:
    """The head as it is now, and those of the rows that are stored already."""
    await post("a", "b")
    with pytest.raises(Refused) as caught:
        await post("b", "c", expected=1)
    assert caught.value.head is not None
    assert caught.value.head.counter == 2
    assert [row[:2] for row in caught.value.found] == [(2, "b")]
    await post("z", "y", "x")  # in the order of their numbers, whatever index they are found by
    with pytest.raises(Refused) as caught:
        await post("x", "y", "z")
    assert [row[:2] for row in caught.value.found] == [(3, "z"), (4, "y"), (5, "x")]


async def test_sibling_and_rows_together(made: Database) -> None:
    """A guard that fails leaves the rows unwritten, a head that fails leaves the sibling: 20 racers, one wins."""
    assert (await post("a", expected_version=0)).sibling == (1,)
    for wrong in ({"expected_version": 0}, {"expected_version": 1, "expected": 7}):
        with pytest.raises(Refused) as caught:
            await post("x", **wrong)
        assert caught.value.lock == (1,)
    answers = await asyncio.gather(*(post(f"r{n}", expected_version=1) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(answer, Written) for answer in answers) == 1
    assert all(isinstance(answer, Written | Refused) for answer in answers)
    assert len(await numbers()) == 2
    assert await made.client.execute_query_dict("SELECT version FROM totals") == [{"version": 2}]


@pytest.mark.parametrize("backend", ["postgres"])
async def test_one_statement_on_postgres(made: Database) -> None:
    """An append is one statement without BEGIN, the sibling included."""
    await post("warm")
    seen: list[str] = []
    async with made.client._pool.acquire() as raw:
        raw._con.add_query_logger(lambda record: seen.append(record.query))
    await post("a", expected_version=0)
    sent = [sql for sql in seen if "pg_advisory_unlock_all" not in sql]  # asyncpg's reset, when a pool takes it back
    assert len(sent) == 1
    assert sent[0].startswith("WITH lc AS")


async def test_trim_keeps_counter_and_numbers(made: Database) -> None:
    """Rows below the bound go, numbers go on, and the bound never passes the next number nor goes back."""
    await post("a", "b", "c", "d")
    assert await journal.trim(here(), CHANNELS, KEY, stop=3) == 2
    assert await journal.trim(here(), CHANNELS, KEY, stop=2) == 0
    assert await numbers() == [(3, "c"), (4, "d")]
    assert await journal.trim(here(), CHANNELS, KEY, stop=99) == 2
    await post("e")
    assert await numbers() == [(5, "e")]


async def test_copy(made: Database) -> None:
    """A copy has the same numbers below the bound, goes on by itself, and refuses a target that is there."""
    await post("a", "b", "c")
    to = ("shop", "copy")
    assert await journal.copy(here(), CHANNELS, KEY, to, stop=3, now=9)
    assert await numbers(to) == [(1, "a"), (2, "b")]
    assert (await post("z", key=to)).counter == 3
    with pytest.raises(ConstraintError):
        await journal.copy(here(), CHANNELS, KEY, to, stop=None, now=9)
    assert not await journal.copy(here(), CHANNELS, ("no", "no"), ("x", "y"), stop=None, now=9)


async def test_walk_in_pages(made: Database) -> None:
    """Every row once, in order, whatever the page; what comes after the start is not part of it."""
    await post(*(f"p{n}" for n in range(25)))
    walked = []
    async for row in journal.walk(here(), CHANNELS, KEY, start=3, page=7):
        if len(walked) == 2:
            await post("late")
        walked.append(row[0])
    assert walked == list(range(3, 26))


async def test_repair(made: Database) -> None:
    """The head is made to say what the rows say; rows with a gap cannot be repaired."""
    await post("a", "b", "c")
    assert await _repair() is None
    await made.client.execute_query("DELETE FROM channels")
    with pytest.raises(CorruptRowError, match="without a head"):
        await numbers()
    assert "was missing" in str(await _repair())
    await made.client.execute_query("UPDATE channels SET posted = 9")
    with pytest.raises(CorruptRowError, match="head says"):
        await numbers()
    assert await _repair() is not None
    assert (await post("d")).counter == 4
    await made.client.execute_query("DELETE FROM posts WHERE num = 2")
    with pytest.raises(CorruptRowError, match="gap"):
        await _repair()


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)  # to SQLite a trigger's refusal is a constraint's
async def test_a_row_that_the_host_refuses(made: Database) -> None:
    """By a trigger of its own, say: its error is told, and nobody is sent to repair the journal."""
    await made.client.execute_script(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'closed'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION refuse()"""
    )
    with pytest.raises(StorageError, match="closed"):
        await post("a")


async def test_repair_beside_appends(made: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append that comes while the rows are counted waits for the repair, and is not lost behind its head."""
    await post("a", "b", "c")
    await made.client.execute_query("DELETE FROM posts WHERE num = 1")  # as by hand: the head does not know of it
    backend, tasks = (postgres if made.dialect == "postgres" else sqlite), []
    count = backend.span_of_rows

    async def counting(*args: Any) -> Any:
        span = await count(*args)
        tasks.append(asyncio.create_task(post("d"), context=outside))
        await asyncio.sleep(0.05)
        return span

    outside = contextvars.copy_context()
    monkeypatch.setattr(backend, "span_of_rows", counting)
    assert "oldest 2" in str(await _repair())
    assert (await tasks[0]).counter == 4
    assert [number for number, _ in await numbers()] == [2, 3, 4]


async def _repair() -> str | None:
    return await journal.repair(here(), CHANNELS, KEY, now=1, values={"topic": "", "hits": 0})


async def test_refusal_leaves_the_hosts_transaction_usable(made: Database) -> None:
    """A conflict, also by a unique row id, does not poison the transaction around it; all goes with its rollback."""
    with pytest.raises(ZeroDivisionError):
        async with in_transaction("default"):
            await post("a")
            for wrong in ({"expected": 7}, {}):
                with pytest.raises(Refused):
                    await post("a", **wrong)  # type: ignore[arg-type]
            await post("b")
            assert await numbers() == [(1, "a"), (2, "b")]
            raise ZeroDivisionError
    assert await numbers() == []


async def test_delete_beside_appends(made: Database) -> None:
    """Deletes beside appends leave no orphan: afterwards the journal is absent, or whole from its first number."""
    for _ in range(15):
        jobs = [
            journal.delete(here(), CHANNELS, KEY),
            *(post(f"d{n}") for n in range(6)),
            journal.delete(here(), CHANNELS, KEY),
        ]
        await asyncio.gather(*jobs)
        found = await numbers()
        assert [number for number, _ in found] == list(range(1, len(found) + 1))
        await journal.delete(here(), CHANNELS, KEY)
