"""Recorded sessions for the tests of retention, made as old as they are wanted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from jido_tortoise import times
from jido_tortoise.recording import Event, Session, SessionStore
from tests.conftest import Database


def ago(days: float) -> Any:
    """Give the time so many days ago."""
    return times.now() - timedelta(days=days)


async def kept(id: str, *, created: float = 100, updated: float | None = None, **fields: Any) -> Session:
    """Store a session that was made and changed so many days ago, `completed` when nothing else is said."""
    updated = created if updated is None else updated
    made = Session(id=id, agent_id="clerk", created_at=ago(created), updated_at=ago(updated), **fields)
    return await SessionStore().save_session(made)


async def told(session_id: str, *types: str, first: float = 50) -> None:
    """Append events of these types to a session, each a minute after the one before, from so many days ago on."""
    made = [
        Event(id=f"{session_id}-{n}", type=kind, session_id=session_id, timestamp=ago(first) + timedelta(minutes=n))
        for n, kind in enumerate(types, 1)
    ]
    await SessionStore().append_events(made)


async def numbers(session_id: str) -> list[int | None]:
    """Give the numbers of a session's events."""
    return [event.sequence_number for event in await SessionStore().get_events(session_id)]


async def ids() -> set[str]:
    """Give the ids of all sessions that are not deleted softly."""
    return {one.id for one in await SessionStore().list_sessions() if one.deleted_at is None}


async def refuse_deletes(database: Database, table: str, where: str = "true") -> None:
    """Have the database refuse to delete rows of a table."""
    if database.dialect == "sqlite":
        sql = f"CREATE TRIGGER no_deletes BEFORE DELETE ON {table} WHEN {where} BEGIN SELECT RAISE(ABORT, 'no'); END"
    else:
        sql = (
            "CREATE FUNCTION no_deletes() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
            f" CREATE TRIGGER no_deletes BEFORE DELETE ON {table} FOR EACH ROW WHEN ({where})"
            " EXECUTE FUNCTION no_deletes()"
        )
    await database.client.execute_script(sql)
