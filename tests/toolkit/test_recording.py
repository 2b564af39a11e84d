"""Recorded sessions on a sandbox: the fixture, the factories, and what is cleaned."""

from __future__ import annotations

import pytest

from jido_tortoise import codec
from jido_tortoise.recording import SessionStore
from jido_tortoise_testing.recording_factories import RecordingFactories
from jido_tortoise_testing.sandboxes import Sandbox
from tests.toolkit.conftest import Host

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("pg_server")
on_both = pytest.mark.jido_db(backend="both")


@on_both
async def test_what_is_made_is_what_is_stored(
    jido_db: Sandbox, jido_recording: SessionStore, jido_recording_factories: RecordingFactories
) -> None:
    """A whole recorded session equals what is read; the database is empty at first, and `clean` empties it."""
    assert await jido_recording.list_sessions() == []
    made = await jido_recording_factories.recorded.create(runs=2, tools=1, tags=["vip"])
    (session,) = await jido_recording.list_sessions()
    assert (session.tags, session.metadata, session.status) == (("vip",), made.session.metadata, "completed")
    assert await jido_recording.get_events(session.id) == list(made.events)
    runs = await jido_recording.list_runs(session.id)
    assert [(run.id, run.token_usage, run.output) for run in runs] == [
        (run.id, run.token_usage, run.output) for run in made.runs
    ]
    await jido_db.clean("recording")
    assert not any(rows for table, rows in (await jido_db.dump()).items() if table.startswith("asm_"))


async def test_single_values(jido_recording: SessionStore, jido_recording_factories: RecordingFactories) -> None:
    """A session, a run of it and an event of it, one by one."""
    make = jido_recording_factories
    session = await make.session.create(agent_id="shopper")
    run = await make.run.create(session.id, status="running")
    event = await make.event.create(session.id, run_id=run.id)
    assert (await jido_recording.get_active_run(session.id)) is not None
    assert [one.id for one in await jido_recording.get_events(session.id, run_id=run.id)] == [event.id]


async def test_the_same_seed_makes_the_same() -> None:
    """Names, ids, times and words; without a store nothing can be created."""
    params = [RecordingFactories(seed).recorded.params(runs=2, tools=2) for seed in (7, 7, 8)]
    plain = [codec.dumps([repr(one) for one in some.items()]) for some in params]
    assert plain[0] == plain[1] != plain[2]
    with pytest.raises(ValueError, match="recording="):
        await RecordingFactories().session.create()


def test_a_config_without_the_family_is_told(host: Host) -> None:
    """Which line its config lacks."""
    ran = host("async def test_it(jido_recording): pass")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*jido_recording needs the tables of recording: add*"])
