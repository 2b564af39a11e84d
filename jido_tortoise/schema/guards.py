"""What several families have that their models cannot express; the SQL is frozen with the versions that use it."""

from __future__ import annotations

from jido_tortoise.schema.steps import Guard


def append_only(table: str, advice: str) -> Guard:
    """Refuse every update of a table whose rows are inserted and deleted, but never changed.

    Args:
        table: Its name.
        advice: What the refusal says after the table's name.
    """
    name, words = f"{table}_never_change", f"{table}: {advice}"
    return Guard(
        table=table,
        name=name,
        up={
            "sqlite": (sqlite_trigger(name, table, "BEFORE UPDATE", f"SELECT RAISE(ABORT, '{words}')"),),
            "postgres": postgres_trigger(name, table, "BEFORE UPDATE", f"RAISE EXCEPTION '{words}'"),
        },
        down={
            "sqlite": (without_sqlite_trigger(name),),
            "postgres": without_postgres_trigger(name, table),
        },
    )


def uncompressed(table: str, column: str) -> Guard:
    """Keep PostgreSQL from compressing a large value that is written anew each time (docs/decisions/0007)."""
    change = f'ALTER TABLE IF EXISTS {{schema}}"{table}" ALTER COLUMN "{column}" SET STORAGE'
    return Guard(
        table=table,
        name=None,
        up={"sqlite": (), "postgres": (f"{change} EXTERNAL",)},
        down={"sqlite": (), "postgres": (f"{change} EXTENDED",)},
    )


def sqlite_trigger(name: str, table: str, moment: str, body: str) -> str:
    """Give the statement that makes a trigger on SQLite."""
    return f'CREATE TRIGGER IF NOT EXISTS "{name}" {moment} ON "{table}"\nBEGIN\n    {body};\nEND'


def without_sqlite_trigger(name: str) -> str:
    """Give the statement that drops a trigger on SQLite."""
    return f'DROP TRIGGER IF EXISTS "{name}"'


def postgres_trigger(name: str, table: str, moment: str, body: str) -> tuple[str, ...]:
    """Give the statements that make a trigger on PostgreSQL, for each row."""
    function = f"""CREATE OR REPLACE FUNCTION {{schema}}"{name}"() RETURNS trigger
LANGUAGE plpgsql AS $jido$
BEGIN
    {body};
END
$jido$"""
    make = f'CREATE TRIGGER "{name}" {moment} ON {{schema}}"{table}" FOR EACH ROW EXECUTE FUNCTION'
    # CREATE OR REPLACE TRIGGER would need PostgreSQL 14.
    return function, without_postgres_trigger(name, table)[0], f'{make} {{schema}}"{name}"()'


def without_postgres_trigger(name: str, table: str) -> tuple[str, ...]:
    """Give the statements that drop a trigger on PostgreSQL, and its function."""
    return (
        f'DROP TRIGGER IF EXISTS "{name}" ON {{schema}}"{table}"',
        f'DROP FUNCTION IF EXISTS {{schema}}"{name}"()',
    )
