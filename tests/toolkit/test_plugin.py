"""The plugin in a service's own test suite: every runner, both databases, workers, and the words of its refusals."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sqlite3
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.toolkit.conftest import INI, PLUGIN, SETTINGS, Host

pytest_plugins = ["pytester"]

_BODY = """
import asyncio, unittest
import pytest, pytest_asyncio
from tortoise import Tortoise
from tortoise.transactions import in_transaction
import jido_tortoise as jt
from shop_models import Customer
from shop_settings import TORTOISE_ORM

class Shopper(jt.Agent, agent_type="shopper"):
    pass

async def use(jido):
    assert await Customer.all().count() == 0
    await Tortoise.init(config=TORTOISE_ORM)          # as the service's own start does
    async with in_transaction():
        await Customer.create(name="Ada")
    agent = Shopper("u", {"cart": ("tea", 2)})
    agent.thread.append("message", {"text": "hi"})
    await jido.hibernate(agent)
    assert (await jido.thaw(Shopper, "u")).state == {"cart": ("tea", 2)}
    await Tortoise.close_connections()
    assert await Customer.all().count() == 1
"""
_KINDS = (
    _BODY
    + """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest_asyncio.fixture
async def filled(jido):
    await Customer.create(name="from an async fixture")

@pytest.mark.asyncio
async def test_marked(jido):
    await use(jido)

@pytest.mark.asyncio
async def test_async_fixture(filled, jido):
    assert [each.name for each in await Customer.all()] == ["from an async fixture"]

@pytest.mark.anyio
async def test_anyio(jido):
    await use(jido)

def test_sync(jido):
    asyncio.run(use(jido))
    async def count():
        return await Customer.all().count()
    assert asyncio.run(count()) == 1

@pytest.mark.jido_db
class TestUnittest(unittest.IsolatedAsyncioTestCase):
    async def test_unittest(self):
        await use(jt.Jido())

@pytest.mark.jido_db(storage="clone")
def test_mark_alone():
    asyncio.run(use(jt.Jido()))

def test_no_database_unless_asked():
    from tortoise.context import get_current_context
    assert get_current_context() is None
"""
)
_AUTO = """
async def test_unmarked(jido):
    await use(jido)
"""
_WHERE = """
async def test_where(jido_db):
    if jido_db.backend == "postgres":
        with open("where", "a") as file:
            print(jido_db.url, file=file)
"""

# -- runs (test_matrix.py has every style in every mode) ----------------------------------------------------------


def test_with_workers_and_a_server_of_the_run(host: Host, pytester: pytest.Pytester) -> None:
    """Two workers share one server, which the controller starts and stops; nothing is left of it."""
    source = _KINDS + _AUTO + _WHERE
    result = host(source, "--jido-db=both", "-n2", "--jido-seed=5")
    # The unittest case takes no parameters, and the last of the kinds wants no database.
    result.assert_outcomes(passed=16)
    (folder,) = {parse_qs(urlsplit(url).query)["host"][0] for url in (pytester.path / "where").read_text().split()}
    assert not Path(folder).exists()
    result.stdout.no_fnmatch_line("*differs between*")


def test_a_mark_alone_starts_one_server_for_all_workers(host: Host, pytester: pytest.Pytester) -> None:
    """Which tests need it only the workers know; they ask the controller."""
    source = _WHERE.replace(
        "async def", '@pytest.mark.jido_db(backend="postgres")\n@pytest.mark.parametrize("n", range(4))\nasync def'
    )
    result = host("import pytest\n" + source.replace("(jido_db)", "(jido_db, n)"), "-n2", "--dist=each")
    result.assert_outcomes(passed=8)
    urls = (pytester.path / "where").read_text().split()
    assert len(urls) == 8
    assert len({urlsplit(url).path for url in urls}) == 2
    (folder,) = {parse_qs(urlsplit(url).query)["host"][0] for url in urls}
    assert not Path(folder).exists()


def test_both_runs_one_database_after_the_other(host: Host, server: str, pytester: pytest.Pytester) -> None:
    """In whatever order they were put before; the models then turn to another kind of database once."""
    pytester.makeconftest("def pytest_collection_modifyitems(items): items.reverse()")
    source = "def test_a(jido_db): pass\ndef test_b(jido_db): pass\ndef test_c(): pass\n"
    result = host(source, "--jido-db=both", "-v")
    ran = re.findall(r"::(test_\S+) PASSED", result.stdout.str())
    assert ran == ["test_c", "test_b[sqlite]", "test_a[sqlite]", "test_b[postgres]", "test_a[postgres]"]


def test_what_differs_is_named(host: Host, server: str) -> None:
    """`both` is for that."""
    source = _BODY + "\ndef test_x(jido_backend, jido_db):\n    assert jido_backend == 'sqlite'\n"
    result = host(source, "--jido-db=both", "--jido-seed=3")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            'reproduce: pytest "test_shop.py::test_x[[]postgres[]]" --jido-db=both --jido-seed=3',
            "*jido: differs between sqlite and postgres*",
            "test_shop.py::test_x: passed on sqlite, failed on postgres (AssertionError: assert 'postgres' *",
        ]
    )


_KNOWN = (
    _BODY
    + """
from hypothesis import given, settings, strategies as st

@given(st.integers())
@settings(max_examples=5, deadline=None, database=None)
def test_examples(jido_sandbox, number):
    async def one():
        async with jido_sandbox() as db:
            await use(db.jido)
    asyncio.run(one())

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
def test_trio(jido_db, anyio_backend):
    pass

async def test_counted(jido, jido_queries):
    with jido_queries(max=2) as queries:
        await jido.hibernate(Shopper("u", {}))
    assert len(queries) == 2
    with jido_queries(max=1):
        await jido.hibernate(Shopper("v", {}))
"""
)


def test_examples_trio_and_counts(host: Host) -> None:
    """Hypothesis gets a sandbox for each example, trio is refused by name, and the test's own statements are counted.

    A sandbox of the whole test would fill up from example to example. Tortoise needs asyncio; anyio's own default runs
    a test on both.
    """
    result = host(_KNOWN)
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["E*AssertionError: expected at most 1 statements, 2 ran:", "E*  1. *", "E*  2. *"])
    result.stdout.fnmatch_lines(["FAILED *::test_counted*", "ERROR *::test_trio*"])
    assert 'jido_db needs asyncio: override the fixture anyio_backend to return "asyncio"' in result.stdout.str()


# -- outside of a sandbox -----------------------------------------------------------------------------------------

_OUTSIDE = """
import pytest
from tortoise import Tortoise
from tortoise.context import TortoiseContext
import jido_tortoise as jt
from shop_models import Customer
from shop_settings import TORTOISE_ORM

class Visitor(jt.Agent, agent_type="visitor"):
    pass

async def test_model():
    await Customer.create(name="Ada")
async def test_ours():
    await jt.Jido().hibernate(Visitor("v", {}))
async def test_init():
    await Tortoise.init(config=TORTOISE_ORM)
async def test_upgrade():
    await jt.upgrade(TORTOISE_ORM)
async def test_connect():
    async with jt.Jido.connect("sqlite://REAL.db"):
        pass
async def test_own(tmp_path):
    for url in ("sqlite://:memory:", f"sqlite://{tmp_path}/own.db", "sqlite://beside.db"):
        async with TortoiseContext() as context:
            await context.init(db_url=url, modules={"shop": ["shop_models"]})
            await context.generate_schemas()
            await Customer.create(name="Ada")
async def test_within(jido_db):
    assert not (await jt.upgrade(TORTOISE_ORM, all=True)).changed
    await Tortoise.init(config=TORTOISE_ORM)
    await Customer.create(name="Ada")
"""


def test_outside_of_a_sandbox_the_cure_is_told(host: Host, pytester: pytest.Pytester) -> None:
    """No test reaches the databases that the config names, sandbox or not; what is a test's own is its own."""
    ours = '"apps": {**__import__("jido_tortoise").apps(),'
    pytester.makepyfile(shop_settings=SETTINGS.replace('"apps": {', ours))
    result = host(_OUTSIDE)
    result.assert_outcomes(passed=2, failed=5)
    assert not list(pytester.path.glob("REAL.db*"))
    text = result.stdout.str()
    assert text.count("JidoSandboxError: database access outside of a sandbox: this test would open REAL.db") >= 3
    assert (
        text.count("jido: database access outside of a sandbox. Ask for the fixture jido_db (or jido, jido_storage)")
        == 2
    )


# -- migrations ---------------------------------------------------------------------------------------------------

_MIGRATION = """
from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise import fields

class Migration(migrations.Migration):
    initial = True
    operations = [
        ops.CreateModel(name="Customer", fields=[
            ("id", fields.IntField(primary_key=True)),
            ("name", fields.CharField(max_length=50)),
        ], options={"table": "customer", "app": "shop", "pk_attr": "id"}, bases=["Model"]),
        ops.RunSQL("CREATE INDEX only_by_migration ON customer (name)"),
    ]
"""
_MIGRATED = """
TORTOISE_ORM = {
    "connections": {"default": "sqlite://REAL.db"},
    "apps": {"shop": {"models": ["shop_models"], "default_connection": "default", "migrations": "shop_migrations"}},
}
"""


def test_the_tables_are_made_by_migrations(host: Host, server: str, pytester: pytest.Pytester) -> None:
    """What only a migration makes is there, also when a sandbox of another kind is open meanwhile."""
    pytester.mkpydir("shop_migrations").joinpath("0001_initial.py").write_text(_MIGRATION)
    pytester.makepyfile(shop_settings=_MIGRATED)
    looked = {
        "sqlite": "SELECT count(*) AS n FROM sqlite_master WHERE name = 'only_by_migration'",
        "postgres": "SELECT count(*) AS n FROM pg_indexes WHERE indexname = 'only_by_migration'",
    }
    source = (
        _BODY
        + f"""
@pytest.mark.jido_db(backend="sqlite")
@pytest.mark.parametrize(("backend", "looked"), {list(looked.items())})
async def test_x(jido, jido_sandbox, backend, looked):
    await use(jido)
    async with jido_sandbox(backend=backend) as db:
        assert (await db.client.execute_query_dict(looked))[0]["n"] == wanted
        await use(db.jido)
"""
    )
    for arguments, wanted in ((["--jido-migrations"], 1), ([], 0)):
        host(source.replace("wanted", str(wanted)), *arguments).assert_outcomes(passed=2)
    assert not list(pytester.path.glob("REAL.db*"))


def test_an_app_without_migrations_is_named(host: Host) -> None:
    """Its tables would be missing, and the first test would say so in other words."""
    result = host(_BODY + _AUTO, "--jido-migrations")
    result.assert_outcomes(errors=1)
    assert "jido_migrations: the app 'shop' has no migrations" in result.stdout.str()


# -- costs nothing ------------------------------------------------------------------------------------------------


def test_unused_it_imports_nothing_heavy(host: Host) -> None:
    """A run that does not use it pays next to nothing."""
    source = """
def test_nothing():
    import sys
    heavy = {"tortoise", "jido_tortoise", "faker", "hypothesis", "asyncpg", "aiosqlite"}
    assert heavy.isdisjoint(sys.modules)
"""
    result = host(source, "-p", "no:hypothesispytest", "-p", "no:faker", fork=False)
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [r"jido: sqlite :memory: \(fresh per test\), seed \d+ \(--jido-seed=\d+\), Tortoise.init gives the sandbox"]
    )


def test_it_works_when_imported_by_hand(host: Host, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where plugins are not loaded by themselves, the fixtures are still to be had."""
    pytester.makeconftest('pytest_plugins = ["jido_tortoise_testing.fixtures"]')
    monkeypatch.setenv("JIDO_TORTOISE_ORM", "shop_settings.TORTOISE_ORM")
    host(_BODY + _AUTO, plugin=False).assert_outcomes(passed=1)


# -- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--jido-db=mysql"], "jido_db (from --jido-db): expected sqlite, postgres or both, got 'mysql'"),
        (["--jido-seed=x"], "jido_seed (from --jido-seed): expected a number below 2**32, or last, got 'x'"),
        (
            ["--jido-db=both", "--jido-db-url=mysql://me:secret@here/x"],
            "jido_db_url (from --jido-db-url): expected a URL that begins with postgresql://, got"
            " 'mysql://me:***@here/x'",
        ),
        (
            ["-o", "jido_keep_failed=perhaps"],
            "jido_keep_failed (from tox.ini): expected true or false, got 'perhaps'",
        ),
        (
            ["--jido-seed=last", "-p", "no:cacheprovider"],
            "jido_seed (from --jido-seed): there was no last run here (pytest keeps it in .pytest_cache);"
            " give a number",
        ),
    ],
    ids=["database", "seed", "url", "flag", "last"],
)
@pytest.mark.usefixtures("host")
def test_a_wrong_setting_is_refused_by_name(arguments: list[str], words: str, pytester: pytest.Pytester) -> None:
    """The message says where it was set and what may stand there; help is to be had all the same.

    In this process, since no test is run: `test_a_missing_server_is_told_at_the_start` is refused in one of its own.
    """
    pytester.makeini(INI.format(mode="auto"))
    result = pytester.runpytest_inprocess(*PLUGIN, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()
    chosen = [each for each in arguments if each not in ("-p", "no:cacheprovider")]
    helped = pytester.runpytest_inprocess(*PLUGIN, "--help", *chosen)
    assert helped.ret == 0
    helped.stdout.fnmatch_lines(["*--jido-db=BACKEND*"])


def test_a_wrong_mark_is_refused_by_name(host: Host, pytester: pytest.Pytester) -> None:
    """A misspelt mark would silently test less."""
    marks = {
        'storage="disk"': ": storage= is memory, file or clone, got 'disk'",
        'backends="both"': " takes storage= and backend=, got backends=",
        '"file"': " takes storage= and backend=, got 'file'",
    }
    source = "import pytest\n@pytest.mark.jido_db({})\ndef test_x():\n    pass\n"
    pytester.makepyfile(**{f"test_{number}": source.format(mark) for number, mark in enumerate(marks)})
    result = host("")
    result.assert_outcomes(errors=len(marks))
    for number, words in enumerate(marks.values()):
        assert f"test_{number}.py::test_x: @pytest.mark.jido_db{words}" in result.stdout.str()


def test_a_missing_server_is_told_at_the_start(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the middle of the first test."""
    monkeypatch.setenv("PG_BIN", "/nowhere")
    monkeypatch.setenv("JIDO_DB", "postgres")
    result = host(_BODY + _AUTO)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    expected = "jido_db (from JIDO_DB of the environment)=postgres needs a server: PG_BIN: expected a folder"
    assert expected in result.stderr.str()


def test_a_config_that_is_not_there_is_told_with_its_cure(host: Host) -> None:
    """Most often the folder of the tests is not importable."""
    result = host(_BODY + _AUTO, "-o", "jido_tortoise_orm=nowhere.ORM")
    result.assert_outcomes(errors=1)
    text = re.sub(r"\s+", " ", result.stdout.str())
    assert "jido_tortoise_orm (from tox.ini): no Tortoise config at 'nowhere.ORM'" in text
    assert 'modules beside your tests need `pythonpath = ["."]`' in text


# -- seeds, models, kept databases --------------------------------------------------------------------------------

_SEEDED = (
    _BODY
    + """
from pathlib import Path
async def write(storage):
    for n in range(4):
        await storage.append_thread("shared", {"kind": "note", "payload": {"n": n}})

async def test_seeded(jido, jido_clock, jido_ids, jido_seed, jido_db, jido_factories, jido_faults, jido_history):
    await use(jido)
    await jido_factories.agent.create_batch(3, messages=4, tools=2)
    await jido_history.take_turns(*[write] * 3)
    with jido_faults.sometimes(0.2) as struck:
        for n in range(30):
            try:
                await jido.storage.put_checkpoint(n, {"at": jido_clock.now()})
            except jt.StorageError:
                pass
    assert struck.strikes
    with Path("seen").open("a") as file:
        print(jido_db.backend, jido_seed, await jido_db.dump(), file=file)

@pytest.mark.jido_seed(42)
def test_own(jido_seed):
    with Path("own").open("a") as file:
        print(jido_seed, file=file)
"""
)


def test_the_same_seed_gives_the_same_database(host: Host, server: str, pytester: pytest.Pytester) -> None:
    """Ids, times, fakes, schedule and faults; `last` repeats the run before, and another seed is another run."""
    for arguments in (["--jido-seed=9"], ["--jido-seed=last"], ["--jido-seed=10"]):
        host(_SEEDED, "--jido-db=both", *arguments).assert_outcomes(passed=3)
    seen = (pytester.path / "seen").read_text().splitlines()
    for backend in ("sqlite", "postgres"):
        first, second, third = (line for line in seen if line.startswith(f"{backend} "))
        assert first == second != third
    assert len(set((pytester.path / "own").read_text().splitlines())) == 1


_FROZEN = (
    _BODY
    + """
import datetime, sys, time

class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2031, 5, 1, tzinfo=tz)
    @classmethod
    def utcnow(cls):
        return cls(2031, 5, 1)

SECONDS = datetime.datetime(2031, 5, 1, tzinfo=datetime.timezone.utc).timestamp()
FAKES = {
    datetime.datetime: Frozen,
    time.time: lambda: SECONDS,
    time.time_ns: lambda: int(SECONDS) * 10**9,
    time.monotonic_ns: lambda: 7,
    time.perf_counter: lambda: 7.0,
}

@pytest.fixture(params=["by hand", "freezegun", "time_machine"])
def frozen(request, monkeypatch):
    if request.param == "by hand":
        fakes = {id(real): fake for real, fake in FAKES.items()}
        modules = [one for name, one in sys.modules.items() if name.startswith(("time", "datetime", "jido", "tort"))]
        for module, name, value in [(one, *pair) for one in modules for pair in vars(one).items()]:
            if id(value) in fakes:
                monkeypatch.setattr(module, name, fakes[id(value)])
        yield
        return
    tool = pytest.importorskip(request.param)
    options = {"real_asyncio": True} if request.param == "freezegun" else {"tick": False}
    start = tool.freeze_time if request.param == "freezegun" else tool.travel
    with start("2031-05-01", **options):
        yield

async def write(storage):
    for _ in range(5):
        thread = await storage.load_thread("t")
        try:
            await storage.append_thread("t", {"kind": "note"}, expected_rev=0 if thread is None else thread.rev)
        except jt.ConflictError:
            pass

async def test_frozen(jido, frozen, jido_history):
    await use(jido)
    found = await jido.storage.get_checkpoint(("shopper", "u"))
    assert found.updated_at.isoformat() == "2031-05-01T00:00:00+00:00"
    await jido_history.race(*[write] * 4)
    await asyncio.wait_for(asyncio.sleep(0.01), 5)

async def test_ours_wins(jido, frozen, jido_clock):
    await jido.hibernate(Shopper("v", {}))
    found = await jido.storage.get_checkpoint(("shopper", "v"))
    assert found.updated_at.isoformat() == "2026-01-01T00:00:00+00:00"
"""
)


def test_beside_tools_that_freeze_the_time(host: Host, server: str) -> None:
    """What freezegun and time-machine replace is replaced by hand where they are not installed."""
    there = sum(importlib.util.find_spec(name) is not None for name in ("freezegun", "time_machine"))
    host(_FROZEN, "--jido-db=both").assert_outcomes(passed=4 + 4 * there, skipped=8 - 4 * there)


def test_models_alone_will_do(host: Host) -> None:
    """A service without a config names its modules; the header says where they were named."""
    source = "from shop_models import Customer\nasync def test_x(jido_db):\n    await Customer.create(name='Ada')\n"
    result = host(source, "-o", "jido_tortoise_orm=", "-o", "jido_models=shop_models")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["jido: *, models shop_models (from tox.ini), seed *"])


def test_models_that_are_not_there(host: Host) -> None:
    """The setting that names them is told, and what keeps modules beside the tests from being found."""
    result = host("def test_x(jido_db):\n    pass\n", "-o", "jido_tortoise_orm=", "--jido-models=nope")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*JidoSandboxError: jido_models (from --jido-models): cannot import 'nope': *pythonpath*"]
    )


def test_a_fixture_of_the_host_has_the_last_word(host: Host, pytester: pytest.Pytester) -> None:
    """The session's fixtures are there to be overridden."""
    pytester.makeconftest(
        """
import pytest
@pytest.fixture(scope="session")
def jido_db_setup(jido_db_setup):
    async def fill(context):
        from shop_models import Customer
        await Customer.create(name="reference")
    jido_db_setup.add(fill)
    return jido_db_setup
"""
    )
    source = (
        "from shop_models import Customer\nasync def test_x(jido_db):\n    assert await Customer.all().count() == 1\n"
    )
    host(source).assert_outcomes(passed=1)


_FAILING = (
    _BODY
    + """
@pytest.fixture
def broken_before(jido):
    asyncio.run(use(jido))
    raise LookupError

@pytest.fixture
def broken_after(jido):
    yield
    raise LookupError

async def test_good(jido): await use(jido)
async def test_bad(jido):
    await use(jido)
    raise LookupError
def test_setup(broken_before): pass
async def test_teardown(broken_after, jido): await use(jido)
async def test_body(jido_sandbox):
    async with jido_sandbox() as db:
        await use(db.jido)
        raise LookupError
"""
)


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_the_database_of_a_failed_test_is_kept(
    host: Host, server: str, backend: str, pytester: pytest.Pytester
) -> None:
    """Whichever part of it failed; the summary says where, and the passing one's is not kept."""
    result = host(_FAILING, "--jido-keep-failed", f"--jido-db={backend}")
    result.assert_outcomes(passed=2, failed=2, errors=2)
    kept = {path.name.split("-")[2]: path for path in pytester.path.rglob(f"test_shop-py-*-{backend}-default.*")}
    assert sorted(kept) == ["test_bad", "test_body", "test_setup", "test_teardown"]
    result.stdout.fnmatch_lines(["*jido: kept databases*", "test_shop.py::test_bad", f"    {kept['test_bad']}: *"])
    result.stdout.fnmatch_lines(["reproduce: pytest *test_setup*", "reproduce: pytest *test_teardown*"])
    for path in kept.values():
        if backend == "sqlite":
            with contextlib.closing(sqlite3.connect(path)) as connection:
                assert connection.execute("SELECT name FROM customer").fetchall() == [("Ada",)]
        else:
            assert re.search(r"COPY public.customer .*\n\d+\tAda", path.read_text())
