"""The hooks of the pytest plugin: options, header, marks, both databases, and what is said at the end."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any, Literal

import pytest

from jido_tortoise_testing.failures import CURE
from jido_tortoise_testing.levels import Levels
from jido_tortoise_testing.settings import SETTINGS, Run, find, golden_of, own_seed_of, run_of, wish_of

MARKS = (
    'jido_db(storage="memory"|"file"|"clone", backend="sqlite"|"postgres"|"both"): brings the fixture jido_db',
    "jido_golden(folder, classes=()): runs the test for each golden file there, once today's code has thawed it",
    "jido_seed(number): the seed of this test instead of the run's",
)

#: Whether a part of the test has failed: its fixtures, or the test itself.
_FAILED = pytest.StashKey[bool]()
_GUARDED = pytest.StashKey[bool]()
#: What Tortoise says when it was not initialised.
_LOST = (
    "No TortoiseContext is currently active",
    "default_connection for the model",
    "DB configuration not initialised",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("jido", "jido-tortoise")
    for setting in SETTINGS.values():
        how: dict[str, Any] = {"metavar": setting.metavar} if setting.metavar else {"action": "store_true"}
        told = f"{setting.help} (also {setting.variable}, and ini {setting.name})"
        group.addoption(setting.option, dest=setting.name, default=None, help=told, **how)
        kind: Literal["args", "string"] = "args" if setting.name == "jido_models" else "string"
        parser.addini(setting.name, setting.help, type=kind, default="")


def pytest_configure(config: pytest.Config) -> None:
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    config.pluginmanager.register(Summary(), "jido_summary")
    # A mistake in the settings must not keep anybody from reading the help.
    if not (config.getoption("help", False) or config.getoption("version", 0)):
        _check(run_of(config))


def _check(run: Run) -> None:
    run.remember_seed()
    _ = run.keep_failed, run.migrations
    if run.wants_postgres and run.url is None:
        _find_server(run)


def _find_server(run: Run) -> None:
    from jido_tortoise_testing.postgres import PostgresError, find_bin

    try:
        find_bin()
    except PostgresError as error:
        source = run.backend.source
        asked = source if source.startswith("--") else f"jido_db (from {source})"
        raise pytest.UsageError(f"{asked}={run.backend.text} needs a server: {error}") from error


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist the seed, and where to ask for the server that all of them share."""
    from jido_tortoise_testing.servers import offer

    run = run_of(node.config)
    node.workerinput["jido_seed"] = run.seed
    node.workerinput["jido_server"] = offer(run)


def pytest_report_header(config: pytest.Config) -> str:
    run = run_of(config)
    places = {"sqlite": "sqlite :memory: (fresh per test)", "postgres": "postgres (cleaned per test)"}
    places["both"] = f"{places['sqlite']} and {places['postgres']}"
    models, source = run.models()
    named = f", models {' '.join(models)} (from {source})" if models else ""
    seed = f", seed {run.seed} (--jido-seed={run.seed})"
    return f"jido: {places[run.backend.text]}{named}{seed}, Tortoise.init gives the sandbox"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    try:
        _bring_fixture(metafunc.definition)
    except pytest.UsageError as error:
        pytest.fail(str(error), pytrace=False)
    if metafunc.definition.get_closest_marker("jido_golden"):
        _parametrize_golden(metafunc)
    if "jido_db" in metafunc.fixturenames:
        wanted = wish_of(metafunc.definition).backend or run_of(metafunc.config).backend.text
        if wanted == "both":
            metafunc.fixturenames.append("jido_backend")
            metafunc.parametrize("jido_backend", ["sqlite", "postgres"], indirect=True)


def _parametrize_golden(metafunc: pytest.Metafunc) -> None:
    try:
        folder, classes = golden_of(metafunc.definition)
    except pytest.UsageError as error:
        pytest.fail(str(error), pytrace=False)
    paths = sorted(folder.glob("*.json"))
    values = [(path, classes) for path in paths]
    metafunc.parametrize("jido_golden", values, indirect=True, ids=[path.stem for path in paths])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Thaw a golden file as part of the test itself: what is wrong with it is the test's failure."""
    __tracebackhide__ = True
    golden = getattr(item, "funcargs", {}).get("jido_golden")
    if golden is not None:
        golden.check()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        _bring_fixture(item)
    # In whatever order others have put them; models point at one kind of database at a time.
    items.sort(key=_backend_of)


def _backend_of(item: pytest.Item) -> bool:
    spec = getattr(item, "callspec", None)
    return spec is not None and spec.params.get("jido_backend") == "postgres"


def _bring_fixture(item: pytest.Item) -> None:
    names: list[str] = getattr(item, "fixturenames", [])
    wish_of(item)
    own_seed_of(item)
    for name in ("jido_db", "jido_golden"):
        if item.get_closest_marker(name) and name not in names:
            names.append(name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keep all tests from the databases that the service's config names; costs nothing where nobody uses Tortoise."""
    if "tortoise.connection" in sys.modules and _GUARDED not in item.config.stash:
        item.config.stash[_GUARDED] = True
        named = find(item.config, "jido_tortoise_orm")
        if named is not None:
            _guard(item.config, named.text)


def _guard(config: pytest.Config, named: str) -> None:
    from jido_tortoise.host_config import read_config
    from jido_tortoise_testing.adoption import forbidden

    guard = ExitStack()
    guard.enter_context(forbidden(lambda: read_config(named)))
    config.add_cleanup(guard.close)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    if call.excinfo and "jido_db" not in getattr(item, "fixturenames", []) and _has_no_database(call.excinfo.value):
        call.excinfo.value.add_note(f"jido: database access outside of a sandbox. {CURE}")
    report = yield
    item.stash[_FAILED] = report.failed or (report.when != "setup" and item.stash.get(_FAILED, False))
    if report.failed and "jido_db" in getattr(item, "fixturenames", []):
        report.sections.append(("jido", f"reproduce: {_command(item)}"))
    if report.when == "teardown" and run_of(item.config).keep_failed:
        from jido_tortoise_testing.keeping import settle

        report.user_properties.append(("jido_kept", settle(item.config, failed=item.stash[_FAILED])))
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Tell which values of two agents, or of two threads, differ: their short forms may look the same."""
    if op != "==" or type(left) is not type(right) or "jido_tortoise.agents.agent" not in sys.modules:
        return None
    from jido_tortoise.agents.agent import Agent
    from jido_tortoise.agents.thread import Thread

    if not isinstance(left, Agent | Thread):
        return None
    from jido_tortoise_testing.roundtrip import compared

    return compared(left, right)


def _has_no_database(error: BaseException | None) -> bool:
    """Tell whether an error says that Tortoise was not initialised."""
    while error is not None:
        if type(error).__name__ == "NotInitialisedError" or any(words in str(error) for words in _LOST):
            return True
        error = error.__cause__ or error.__context__
    return False


def _command(item: pytest.Item) -> str:
    properties = dict(item.user_properties)
    backend = properties.get("jido_backend", "sqlite")
    seed = run_of(item.config).seed
    return f'pytest "{item.nodeid}" --jido-db={_option(item, str(backend))} --jido-seed={seed}'


def _option(item: pytest.Item, backend: str) -> str:
    # The id of a parametrized test exists under `both` only.
    spec = getattr(item, "callspec", None)
    return "both" if spec is not None and "jido_backend" in spec.params else backend


class Summary:
    """What the run found out about its tests, where it reports: in the controller of pytest-xdist, if there is one."""

    def __init__(self) -> None:
        #: By the test's name without its database: the outcome by database, and of a failure its words.
        self.outcomes: dict[str, dict[str, tuple[str, str]]] = {}
        self.kept: list[str] = []
        self.levels = Levels()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        self.levels.take(report, properties.get("jido_check"))
        if "jido_case" in properties and (report.when == "call" or report.failed):
            outcomes = self.outcomes.setdefault(str(properties["jido_case"]), {})
            outcomes[str(properties["jido_backend"])] = _told(report)
        if report.when == "teardown" and properties.get("jido_kept"):
            self.kept.append(f"{report.nodeid}\n    {properties['jido_kept']}")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        differing = [
            f"{case}: " + ", ".join(f"{how} on {backend}{words}" for backend, (how, words) in outcomes.items())
            for case, outcomes in self.outcomes.items()
            if len(set(outcomes.values())) > 1
        ]
        _tell(terminalreporter, "jido: differs between sqlite and postgres", differing)
        _tell(terminalreporter, "jido: levels of storages", self.levels.lines())
        _tell(terminalreporter, "jido: kept databases", self.kept)


def _told(report: pytest.TestReport) -> tuple[str, str]:
    crash = getattr(report.longrepr, "reprcrash", None)
    words = str(crash.message).partition("\n")[0] if report.failed and crash else ""
    return report.outcome, f" ({words})" if words else ""


def _tell(terminal: Any, title: str, lines: list[str]) -> None:
    if lines:
        terminal.section(title)
        for line in lines:
            terminal.line(line)
