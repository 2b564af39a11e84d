"""Tortoise's own migrations in a scratch host: one command for the host's app and ours, also after other routes."""

from __future__ import annotations

from pathlib import Path

import pytest

from jido_tortoise.migrations import jido_agents
from tests.migration.catalog import snapshot
from tests.migration.hosts import Host

FOLDER = Path(jido_agents.__file__).parent
OURS = {"jido_checkpoints", "jido_threads", "jido_thread_entries"}
NATIVE_APPS = "{'shop': {'models': ['shop.models'], 'migrations': 'shop.migrations'}, **jt.apps()}"


@pytest.fixture
def host(host: Host) -> Host:
    """Give a project that uses Tortoise's own migrations."""
    host.settings(NATIVE_APPS)
    host.write("shop/migrations/__init__.py", "")
    host.tortoise("makemigrations", "shop")
    return host


def test_host_and_ours_in_one_command(host: Host) -> None:
    """Up; a second time nothing; our runner adopts; down drops ours and leaves the host's."""
    host.tortoise("migrate")
    assert host.place.tables() == OURS | {"tortoise_migrations", "shop_products"}
    host.verify()
    host.tortoise("migrate")
    assert "adopted 0_init" in host.upgrade()
    assert host.upgrade() == ""

    host.tortoise("downgrade", "jido_agents", "__first__")
    assert host.place.tables() == {"tortoise_migrations", "shop_products", "aerich"}
    assert not any(snapshot(host.place).values())


def test_after_our_own_runner(host: Host) -> None:
    """Tables that `upgrade` made are found, not made again; rows stay."""
    host.upgrade()
    host.place.rows("INSERT INTO jido_threads VALUES ('t', 0, 0, '{}', 1, 1)")
    before = snapshot(host.place)
    host.tortoise("migrate")
    assert snapshot(host.place) == before
    assert host.place.rows("SELECT thread_id FROM jido_threads") == [("t",)]
    assert "shop_products" in host.place.tables()


def test_a_foreign_table_is_refused(host: Host) -> None:
    """A `jido_threads` of somebody else is named, and left as it is."""
    host.place.rows("CREATE TABLE jido_threads (id INT, title TEXT)")
    assert "jido_threads is not ours" in host.tortoise("migrate", "jido_agents", check=False)
    assert not host.place.tables() & {"jido_thread_entries", "jido_checkpoints"}


def test_another_label(host: Host) -> None:
    """No label is baked in."""
    host.settings(NATIVE_APPS.replace("**jt.apps()", "'robots': jt.apps()['jido_agents']"))
    host.tortoise("migrate")
    host.verify()


def test_no_changes_are_seen_in_our_models(host: Host) -> None:
    """`makemigrations` would otherwise write into the installed package."""
    before = sorted(FOLDER.glob("*.py"))
    host.tortoise("makemigrations")
    added = set(FOLDER.glob("*.py")) - set(before)
    for file in added:
        file.unlink()  # or every later test would find it
    assert added == set()


def test_the_sql_can_be_looked_at(host: Host) -> None:
    """`sqlmigrate` shows the tables without touching a database, in a new interpreter as from a shell."""
    line = ("-m", "tortoise", "-c", "settings.TORTOISE_ORM", "sqlmigrate", "jido_agents", "0001_initial")
    said, _ = host.start(*line).communicate(timeout=60)
    assert said.count("CREATE TABLE") == 3
    assert not host.place.tables() & OURS


def test_a_migration_of_the_hosts_own(host: Host) -> None:
    """A host that reviews all SQL calls `statements` in an operation of its own."""
    host.settings(
        "{'shop': {'models': ['shop.models'], 'migrations': 'shop.migrations'}, 'jido': jt.apps()['jido_agents']}"
    )
    host.write(
        "shop/migrations/0002_agents.py",
        "from tortoise import migrations\n"
        "from tortoise.migrations import operations as ops\n"
        "from jido_tortoise import schema\n\n"
        "def step(down):\n"
        "    async def run(apps, editor):\n"
        "        for sql in schema.statements('agents', editor.DIALECT, version=1, down=down):\n"
        "            await editor.client.execute_query(sql)\n"
        "    return run\n\n"
        "class Migration(migrations.Migration):\n"
        "    dependencies = [('shop', '0001_initial')]\n"
        "    operations = [ops.RunPython(step(False), step(True))]\n",
    )
    host.tortoise("migrate", "shop")
    host.verify()
    host.tortoise("downgrade", "shop", "0001_initial")
    assert not host.place.tables() & OURS
