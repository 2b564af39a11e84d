"""google-adk's own web server (`adk api_server`) with our service behind it, found by its URI and driven over HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.adk.cli.fast_api import get_fast_api_app
from google.adk.cli.service_registry import get_service_registry
from opentelemetry import trace
from tortoise.context import TortoiseContext, get_current_context

from jido_tortoise.adk import TortoiseSessionService, opening
from jido_tortoise.adk.models import AdkSession
from jido_tortoise.errors import ConfigError, InvalidInputError

_SERVICES = """
from google.adk.cli.service_registry import get_service_registry
from jido_tortoise.adk import TortoiseSessionService
get_service_registry().register_session_service("tortoise", TortoiseSessionService.from_uri)
"""
_SETTINGS = """
import jido_tortoise as jt
TORTOISE_ORM = {{"connections": {{"default": {url!r}}}, "apps": jt.apps("adk")}}
"""
_AGENT = """
from google.adk.agents import BaseAgent
from google.adk.events import Event, EventActions
from google.genai import types

class Counter(BaseAgent):
    async def _run_async_impl(self, ctx):
        n = ctx.session.state.get("n", 0) + 1
        content = types.Content(role="model", parts=[types.Part(text=f"n={n}")])
        actions = EventActions(state_delta={"n": n, "app:total": n})
        yield Event(invocation_id=ctx.invocation_id, author=self.name, content=content, actions=actions)

root_agent = Counter(name="counter")
"""


@pytest.fixture
def agents(url: str, app: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of agents as `adk web` takes it: an agent, the services, and the host's settings beside them."""
    folder = tmp_path / "agents"
    name = app.replace("-", "_")
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("from . import agent\n")
    (folder / name / "agent.py").write_text(_AGENT)
    (folder / "services.py").write_text(_SERVICES)
    (folder / f"settings_{name}.py").write_text(_SETTINGS.format(url=url))
    monkeypatch.setattr(sys, "path", [*sys.path])
    # The server sets a tracer for the whole process: after this test nobody is to be traced any more.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.delitem(sys.modules, "services", raising=False)
    return folder


@pytest.fixture
async def web(agents: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the server, which finds the service by its URI and opens Tortoise itself."""
    (settings,) = (path.stem for path in agents.glob("settings_*.py"))
    uri = f"tortoise://{settings}.TORTOISE_ORM"
    served = get_fast_api_app(agents_dir=str(agents), session_service_uri=uri, web=False)
    transport = httpx.ASGITransport(app=served)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client
    context = get_current_context()
    if context is not None:
        async with context:
            pass


# What the server is made of, none of it the session service's.
_OF_THE_SERVER = r"ignore:\[EXPERIMENTAL\] (InMemory|Base)CredentialService:UserWarning"


@pytest.mark.filterwarnings(_OF_THE_SERVER)
async def test_the_web_server(web: httpx.AsyncClient, app: str) -> None:
    """Create, run, read, list, patch and delete, with the status codes that it promises."""
    name = app.replace("-", "_")
    sessions = f"/apps/{name}/users/u/sessions"

    async def asked(method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = await web.request(method, path, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    made = await asked("POST", sessions, json={"sessionId": "s", "state": {"k": 1, "user:lang": "de"}})
    assert (made["id"], made["state"]) == ("s", {"k": 1, "user:lang": "de"})
    await asked("POST", sessions, 409, json={"sessionId": "s"})
    await asked("POST", sessions, 400, json={"sessionId": "x" * 300})
    message = {"role": "user", "parts": [{"text": "hi"}]}
    run = {"appName": name, "userId": "u", "sessionId": "s", "newMessage": message}
    for n in (1, 2):
        (event,) = await asked("POST", "/run", json=run)
        assert event["content"]["parts"] == [{"text": f"n={n}"}]
    streamed = await web.post("/run_sse", json={**run, "stateDelta": {"given": 1}})
    assert "n=3" in streamed.text
    await asked("POST", "/run", 404, json={**run, "sessionId": "unknown"})
    await asked("PATCH", f"{sessions}/s", json={"stateDelta": {"k": 2, "temp:t": 1}})
    found = await asked("GET", f"{sessions}/s")
    assert found["state"] == {"k": 2, "n": 3, "given": 1, "app:total": 3, "user:lang": "de"}
    assert [event["author"] for event in found["events"]] == ["user", "counter"] * 3 + ["user"]
    told = [{key: event[key] for key in ("author", "content", "id")} for event in found["events"][:6]]
    again = await asked("POST", sessions, json={"events": told})
    assert [event["id"] for event in again["events"]] == [event["id"] for event in told]
    assert [each["id"] for each in await asked("GET", sessions)] == ["s", again["id"]]
    await asked("DELETE", f"{sessions}/s")
    await asked("GET", f"{sessions}/s", 404)


@pytest.mark.filterwarnings(_OF_THE_SERVER)
async def test_a_malformed_row_hides_no_other_session(
    web: httpx.AsyncClient, app: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can give such a service an `on_corrupt` from the command line: the log names the row."""
    sessions = f"/apps/{app.replace('-', '_')}/users/u/sessions"
    for name in ("good", "bad"):
        await web.post(sessions, json={"sessionId": name})
    await AdkSession.filter(app_name=app.replace("-", "_"), id="bad").update(state=[1])
    assert [each["id"] for each in (await web.get(sessions)).json()] == ["good"]
    assert "'bad'): the state is malformed" in caplog.text


async def test_the_registry_makes_the_service(agents: Path, app: str, url: str) -> None:
    """By the documented line, with arguments in the query and beside it; it opens and closes Tortoise itself."""
    sys.path.insert(0, str(agents))
    get_service_registry().register_session_service("tortoise", TortoiseSessionService.from_uri)
    (settings,) = (path.stem for path in agents.glob("settings_*.py"))
    uri = f"tortoise://{settings}.TORTOISE_ORM?timeout=2.5&connection=default"
    service = get_service_registry().create_session_service(uri, agents_dir="/nowhere", on_corrupt=print)
    assert isinstance(service, TortoiseSessionService)
    assert get_current_context() is None
    async with service:
        await service.create_session(app_name=app, user_id="u", session_id="s", state={"k": 1})
        assert get_current_context() is not None
    assert get_current_context() is None


async def test_first_calls_at_once_open_one_tortoise(agents: Path, app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's first requests may come together; a second Tortoise would never be closed."""
    sys.path.insert(0, str(agents))
    made: list[TortoiseContext] = []

    async def watched(config: dict[str, object]) -> TortoiseContext:
        await asyncio.sleep(0)  # as one that waits for its database
        made.append(await really(config))
        return made[-1]

    really = opening._opened
    monkeypatch.setattr(opening, "_opened", watched)
    (settings,) = (path.stem for path in agents.glob("settings_*.py"))
    async with TortoiseSessionService.from_uri(f"tortoise://{settings}.TORTOISE_ORM") as service:
        await asyncio.gather(*(service.list_sessions(app_name=app) for _ in range(5)))
    assert len(made) == 1


def test_the_config_is_in_the_current_folder(agents: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a project has it, beside the folder of its agents: the path of the program `adk` does not lead there."""
    (settings,) = (path.stem for path in agents.glob("settings_*.py"))
    monkeypatch.chdir(agents)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(agents))])
    assert TortoiseSessionService.from_uri(f"tortoise://{settings}.TORTOISE_ORM").store is not None


@pytest.mark.parametrize("uri", ["tortoise://nowhere.TORTOISE_ORM", "tortoise://sys.path"])
def test_a_config_that_is_none(uri: str) -> None:
    """Is told when the server starts."""
    with pytest.raises(ConfigError):
        TortoiseSessionService.from_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "tortoise://settings",
        "sqlite://a.b",
        "tortoise://a.B?cache_size=1",
        "tortoise://a.B?timeout=soon",
        "tortoise://ann:secret@db.b",
    ],
)
def test_a_uri_that_says_something_else(uri: str) -> None:
    """Is refused before anything is imported."""
    with pytest.raises(InvalidInputError, match="uri: expected") as caught:
        TortoiseSessionService.from_uri(uri)
    assert "secret" not in str(caught.value)


def test_a_program_that_never_closes_ends(tmp_path: Path) -> None:
    """As google's own do: Python would wait for the threads of SQLite's connections, for ever."""
    program = f"""
import asyncio
import jido_tortoise as jt
from jido_tortoise.adk.opening import Opening, OpeningStore
config = {{"connections": {{"default": "sqlite://{tmp_path}/adk.db"}}, "apps": jt.apps("adk")}}
asyncio.run(jt.upgrade(config))
print(asyncio.run(OpeningStore(Opening(config)).list(app_name="shop")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=6, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
