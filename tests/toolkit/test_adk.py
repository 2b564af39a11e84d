"""ADK sessions on a sandbox: the fixture, the factories, and what is cleaned."""

from __future__ import annotations

import pytest

from jido_tortoise import codec
from jido_tortoise.adk import AdkSessionStore
from jido_tortoise.adk.models import AdkEvent, AdkSession
from jido_tortoise_testing.adk_factories import AdkFactories
from jido_tortoise_testing.sandboxes import Sandbox
from tests.toolkit.conftest import Host

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("pg_server")
on_both = pytest.mark.jido_db(backend="both")


@on_both
async def test_a_store_on_the_tests_own_database(jido_db: Sandbox, jido_adk: AdkSessionStore) -> None:
    """It is empty at first; `clean` takes the family's rows, and those alone."""
    assert await jido_adk.list(app_name="app") == []
    await jido_adk.create(app_name="app", user_id="u", session_id="s", state={"app:a": 1})
    await jido_db.storage.append_thread("t", {"kind": "note"})
    await jido_db.clean("adk")
    assert not any(rows for table, rows in (await jido_db.dump()).items() if table.startswith("adk_"))
    assert await jido_db.storage.load_thread("t") is not None


@on_both
async def test_what_is_made_is_what_is_stored(jido_adk: AdkSessionStore, jido_adk_factories: AdkFactories) -> None:
    """A session of turns and tool calls equals the one that is read."""
    made = await jido_adk_factories.session.create(app_name="shop", turns=2, tools=3, state={"plan": "free"})
    found = await jido_adk.get(app_name="shop", user_id=made.user_id, session_id=made.id)
    assert found == made
    assert (found.state["turns"], found.state["plan"], len(found.events)) == (2, "free", 2 * 2 + 3 * 2)
    assert (await AdkSession.all().count(), await AdkEvent.all().count()) == (1, 10)


def test_the_same_seed_makes_the_same() -> None:
    """Names, ids, times and words."""
    params = [AdkFactories(seed).session.params(turns=3, tools=2) for seed in (7, 7, 8)]
    plain = [codec.dumps([repr(one) for one in some.items()]) for some in params]
    assert plain[0] == plain[1] != plain[2]


async def test_what_cannot_be_created() -> None:
    """An event alone, and a session without a store."""
    make = AdkFactories()
    assert make.event.build(author="user").author == "user"
    with pytest.raises(ValueError, match=r"session\.create"):
        await make.event.create()
    with pytest.raises(ValueError, match="adk="):
        await make.session.create()


def test_a_config_without_the_family_is_told(host: Host) -> None:
    """Which line its config lacks."""
    ran = host("async def test_it(jido_adk): pass")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*jido_adk needs the tables of ADK sessions: add*"])
