"""The fixtures. All are synchronous, so that they serve every kind of test: under pytest-asyncio, under anyio, without
either, and in unittest's IsolatedAsyncioTestCase. What is heavy is imported when a test asks for it.

They come with the plugin; without it, `pytest_plugins = ["jido_tortoise_testing.fixtures"]` brings them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from jido_tortoise_testing.failures import JidoSandboxError
from jido_tortoise_testing.settings import case_of, find, run_of, wish_of

if TYPE_CHECKING:
    from jido_tortoise import Jido, TortoiseStorage
    from jido_tortoise.adk import AdkSessionStore
    from jido_tortoise.recording import SessionStore
    from jido_tortoise_testing.adk_factories import AdkFactories
    from jido_tortoise_testing.clocks import Ids, VirtualClock
    from jido_tortoise_testing.factories import Factories
    from jido_tortoise_testing.faults import Faults
    from jido_tortoise_testing.golden import GoldenFile
    from jido_tortoise_testing.queries import Queries
    from jido_tortoise_testing.racing import Race
    from jido_tortoise_testing.recording_factories import RecordingFactories
    from jido_tortoise_testing.sandboxes import Sandbox, Workshop

_PATH = 'modules beside your tests need `pythonpath = ["."]` in the settings of pytest'


@pytest.fixture(scope="session")
def jido_models(pytestconfig: pytest.Config) -> list[str]:
    """The modules of the service's models, where no Tortoise config is named; override it, or set ini `jido_models`."""
    from importlib import import_module

    modules, source = run_of(pytestconfig).models()
    for name in modules:
        try:
            import_module(name)
        except ImportError as error:
            raise JidoSandboxError(f"jido_models (from {source}): cannot import {name!r}: {error}; {_PATH}") from error
    return modules


@pytest.fixture(scope="session")
def jido_db_config(pytestconfig: pytest.Config, jido_models: list[str]) -> dict[str, Any]:
    """The Tortoise config that the sandboxes are made for; override it to have the last word.

    Its databases are never opened, and our apps are added when it lacks them.
    """
    from jido_tortoise import apps
    from jido_tortoise.errors import ConfigError
    from jido_tortoise.host_config import read_config

    named = find(pytestconfig, "jido_tortoise_orm")
    if named is None:
        models = {"models": {"models": jido_models, "default_connection": "default"}} if jido_models else {}
        return {
            "connections": {"default": "sqlite://:memory:"},
            "apps": {**models, **apps("agents", "adk", "recording")},
        }
    try:
        return read_config(named.text)
    except ConfigError as error:
        raise JidoSandboxError(f"jido_tortoise_orm (from {named.source}): {error}; {_PATH}") from error


@pytest.fixture(scope="session")
def jido_db_setup(
    pytestconfig: pytest.Config, jido_db_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    """What makes the databases of a run; override it to fill them: `jido_db_setup.add(an_async_function)`."""
    from jido_tortoise_testing.sandboxes import Workshop
    from jido_tortoise_testing.servers import server_url

    run = run_of(pytestconfig)
    workshop = Workshop(
        jido_db_config,
        server=lambda: server_url(run),
        folder=tmp_path_factory.mktemp("jido"),
        worker=str(run.told.get("workerid", "main")),
        migrations=run.migrations,
    )
    yield workshop
    workshop.close()


@pytest.fixture
def jido_backend(request: pytest.FixtureRequest) -> str:
    """The database that the test runs on: "sqlite" or "postgres"."""
    if hasattr(request, "param"):
        return str(request.param)
    backend = wish_of(request.node).backend or run_of(request.config).backend.text
    # unittest's test cases take no parameters, so `both` cannot run them twice.
    return "sqlite" if backend == "both" else backend


@pytest.fixture
def jido_db(request: pytest.FixtureRequest, jido_db_setup: Workshop, jido_backend: str) -> Iterator[Sandbox]:
    """Databases of the test's own, with all tables; Tortoise is initialised on them, in every task and thread."""
    item = request.node
    _refuse_trio(item)
    item.user_properties += [("jido_case", case_of(item)), ("jido_backend", jido_backend)]
    with jido_db_setup.open(jido_backend, wish_of(item).storage) as sandbox:
        yield sandbox
        _keep(request.config, case_of(item), sandbox)


def _keep(config: pytest.Config, test: str, sandbox: Sandbox) -> None:
    if run_of(config).keep_failed:
        from jido_tortoise_testing.keeping import keep

        keep(config, test, sandbox)


def _refuse_trio(item: pytest.Item) -> None:
    spec = getattr(item, "callspec", None)
    backend = spec.params.get("anyio_backend") if spec else None
    if (backend[0] if isinstance(backend, tuple) else backend) == "trio":
        raise JidoSandboxError('jido_db needs asyncio: override the fixture anyio_backend to return "asyncio"')


@pytest.fixture
def jido_storage(jido_db: Sandbox) -> TortoiseStorage:
    """The storage on the test's own database."""
    return jido_db.storage


@pytest.fixture
def jido(jido_db: Sandbox) -> Jido:
    """Agents on the test's own database."""
    return jido_db.jido


@pytest.fixture
def jido_adk(jido_db: Sandbox) -> AdkSessionStore:
    """ADK sessions on the test's own database; a named config must have the family."""
    from jido_tortoise.adk import AdkSessionStore

    _require(jido_db, "adk", "jido_adk needs the tables of ADK sessions")
    return AdkSessionStore()


def _require(sandbox: Sandbox, family: str, what: str) -> None:
    from jido_tortoise.schema.apps import find_homes

    if family not in {home.family.name for home in find_homes(sandbox.config)}:
        raise JidoSandboxError(f'{what}: add `**jt.apps("{family}")` to the config\'s "apps"')


@pytest.fixture
def jido_adk_factories(jido_adk: AdkSessionStore, jido_seed: int) -> AdkFactories:
    """Makes ADK sessions and events, from the seed; `create` stores sessions in the test's database."""
    from jido_tortoise_testing.adk_factories import AdkFactories

    return AdkFactories(jido_seed, adk=jido_adk)


@pytest.fixture
def jido_recording(jido_db: Sandbox) -> SessionStore:
    """Recorded sessions on the test's own database; a named config must have the family."""
    from jido_tortoise.recording import SessionStore

    _require(jido_db, "recording", "jido_recording needs the tables of recording")
    return SessionStore()


@pytest.fixture
def jido_recording_factories(jido_recording: SessionStore, jido_seed: int) -> RecordingFactories:
    """Makes recorded sessions, runs and events, from the seed; `create` stores them in the test's database."""
    from jido_tortoise_testing.recording_factories import RecordingFactories

    return RecordingFactories(jido_seed, recording=jido_recording)


@pytest.fixture
def jido_queries(jido_db: Sandbox) -> Callable[..., AbstractContextManager[Queries]]:
    """Counts statements: `with jido_queries(max=4) as queries: ...`, then `queries.statements`."""
    from jido_tortoise_testing.queries import counting

    return counting(jido_db.statements)


@pytest.fixture(scope="session")
def jido_sandbox(
    pytestconfig: pytest.Config, jido_db_setup: Workshop
) -> Callable[..., AbstractAsyncContextManager[Sandbox]]:
    """Opens a sandbox in a test's body, for each example of Hypothesis say: `async with jido_sandbox() as db: ...`."""
    from jido_tortoise_testing.sandboxes import open_sandbox

    usual = run_of(pytestconfig).backend.text

    @asynccontextmanager
    async def jido_sandbox(
        backend: str = "sqlite" if usual == "both" else usual, storage: str | None = None
    ) -> AsyncIterator[Sandbox]:
        async with open_sandbox(jido_db_setup, backend, storage) as sandbox:
            try:
                yield sandbox
            except BaseException:
                _keep(pytestconfig, os.environ.get("PYTEST_CURRENT_TEST", "").removesuffix(" (call)"), sandbox)
                raise

    return jido_sandbox


@pytest.fixture
def jido_seed(request: pytest.FixtureRequest) -> int:
    """A number of the test's own; the same for the same `--jido-seed`, whatever else runs."""
    return run_of(request.config).seed_for(request.node)


@pytest.fixture
def jido_clock() -> Iterator[VirtualClock]:
    """The library's clock, in the test's hand; it begins on 2026-01-01."""
    from jido_tortoise_testing.clocks import VirtualClock

    with VirtualClock().installed() as clock:
        yield clock


@pytest.fixture
def jido_ids(jido_seed: int) -> Iterator[Ids]:
    """The library's new ids, the same for the same seed."""
    from jido_tortoise_testing.clocks import Ids

    with Ids(jido_seed).installed() as ids:
        yield ids


@pytest.fixture
def jido_factories(jido: Jido, jido_seed: int) -> Factories:
    """Makes agents, threads and conversations, from the seed; `create` stores them in the test's database."""
    from jido_tortoise_testing.factories import Factories

    return Factories(jido_seed, jido)


@pytest.fixture
def jido_faults(jido_db: Sandbox, jido_seed: int) -> Faults:
    """Fails, cancels and disconnects at a statement of the test's database, at each of them, or now and then."""
    from jido_tortoise_testing.faults import Faults

    return Faults(jido_db, jido_seed)


@pytest.fixture
def jido_history(jido_db: Sandbox, jido_db_setup: Workshop, jido_seed: int) -> Iterator[Race]:
    """Records what concurrent callers of the storage were told; checked when the test ends, or before."""
    from jido_tortoise_testing.racing import Race

    race = Race(jido_db, jido_seed)
    yield race
    race.finish(jido_db_setup.janitor.run)


@pytest.fixture
def jido_golden(request: pytest.FixtureRequest) -> GoldenFile:
    """A golden file of the mark `jido_golden`; in the test's own part its `agent` is thawed."""
    from jido_tortoise_testing.golden import GoldenFile

    if not hasattr(request, "param"):
        raise JidoSandboxError('jido_golden needs the folder: @pytest.mark.jido_golden("tests/golden")')
    path, classes = request.param
    return GoldenFile(path, classes)
