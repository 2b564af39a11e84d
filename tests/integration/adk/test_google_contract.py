"""What google-adk asks of every session service, one test for each of its portable ones, on both databases."""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import patch

import pytest
from google.adk.auth.auth_tool import AuthConfig
from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events import Event, EventActions
from google.adk.events.event_actions import EventCompaction
from google.adk.sessions import Session
from google.adk.sessions.base_session_service import GetSessionConfig
from google.adk.tools.tool_confirmation import ToolConfirmation
from google.genai import types
from tortoise.transactions import in_transaction

from jido_tortoise.adk import TortoiseSessionService
from jido_tortoise.errors import InvalidInputError

PNG = bytes(range(256))


def said(text: str = "hi", *, delta: dict[str, Any] | None = None, **more: Any) -> Event:
    content = types.Content(role="user", parts=[types.Part(text=text)])
    actions = EventActions(state_delta=delta or {})
    return Event(**{"author": "user", "invocation_id": "i", "content": content, "actions": actions, **more})


class Shop:
    """The service, with one app and a user to begin with."""

    def __init__(self, service: TortoiseSessionService, app: str) -> None:
        self.service = service
        self.app = app

    async def make(self, id: str | None = "s", *, user: str = "u", state: dict[str, Any] | None = None) -> Session:
        return await self.service.create_session(app_name=self.app, user_id=user, session_id=id, state=state)

    async def get(self, id: str = "s", *, user: str = "u", **config: Any) -> Session | None:
        wanted = GetSessionConfig(**config) if config else None
        return await self.service.get_session(app_name=self.app, user_id=user, session_id=id, config=wanted)

    async def again(self, id: str = "s", *, user: str = "u", **config: Any) -> Session:
        found = await self.get(id, user=user, **config)
        assert found is not None
        return found

    async def listed(self, user: str | None = "u") -> list[Session]:
        return (await self.service.list_sessions(app_name=self.app, user_id=user)).sessions

    async def state_of_user(self, user: str = "u") -> dict[str, Any]:
        return await self.service.get_user_state(app_name=self.app, user_id=user)


@pytest.fixture
def shop(service: TortoiseSessionService, app: str) -> Shop:
    return Shop(service, app)


# -- create, get, delete ------------------------------------------------------------------------------------------


async def test_a_missing_session_is_none(shop: Shop) -> None:
    """Also under names that no session can have."""
    assert await shop.get("nobody") is None
    assert await shop.get("") is None
    assert await shop.get("x" * 300) is None
    assert await shop.get("a\0b") is None


async def test_create_get_delete(shop: Shop) -> None:
    """What was created is what is read, until it is deleted."""
    session = await shop.make(None, state={"k": "v"})
    assert (session.app_name, session.user_id, session.state, session.events) == (shop.app, "u", {"k": "v"}, [])
    assert session.id
    assert session.last_update_time <= time.time()
    assert await shop.again(session.id) == session
    await shop.service.delete_session(app_name=shop.app, user_id="u", session_id=session.id)
    assert await shop.get(session.id) is None
    await shop.service.delete_session(app_name=shop.app, user_id="u", session_id=session.id)


async def test_the_same_id_of_two_users_is_two_sessions(shop: Shop) -> None:
    """A session is found by its user."""
    await shop.make(user="u", state={"of": "u"})
    assert await shop.get(user="v") is None
    await shop.make(user="v", state={"of": "v"})
    assert (await shop.again()).state == {"of": "u"}


async def test_an_id_that_exists(shop: Shop) -> None:
    """Is google's own error, which names it, and nothing is written."""
    await shop.make(state={"app:a": 1})
    with pytest.raises(AlreadyExistsError, match="Session with id s already exists"):
        await shop.make(state={"app:a": 2})
    assert (await shop.again()).state == {"app:a": 1}


async def test_blanks_around_an_id(shop: Shop) -> None:
    """Do not matter, and are no id."""
    session = await shop.make("  pad ")
    assert session.id == "pad"
    assert await shop.again("pad") == await shop.again("  pad ") == session
    with pytest.raises(AlreadyExistsError):
        await shop.make(" pad")
    await shop.service.delete_session(app_name=shop.app, user_id="u", session_id=" pad ")
    assert await shop.get("pad") is None
    assert len((await shop.make("   ")).id) == len((await shop.make("")).id) == 36


async def test_a_name_that_cannot_be_stored(shop: Shop) -> None:
    """Is a ValueError, which google's web server answers with 400."""
    for name in ("x" * 256, "a\0b", "\ud800", 5):
        with pytest.raises(ValueError, match="session_id: expected a text"):
            await shop.make(name)  # type: ignore[arg-type]


# -- list ---------------------------------------------------------------------------------------------------------


async def test_list_sessions(shop: Shop) -> None:
    """Each with its own state and without events."""
    for n in range(5):
        await shop.service.append_event(await shop.make(f"s{n}", state={"n": n}), said(timestamp=100.0 + n))
    listed = await shop.listed()
    assert [(s.id, s.state, s.events) for s in listed] == [(f"s{n}", {"n": n}, []) for n in range(5)]
    assert [s.last_update_time for s in listed] == [100.0 + n for n in range(5)]


async def test_the_oldest_update_comes_first(shop: Shop) -> None:
    """An append brings a session to the end; times finer than a microsecond count, ties go by user and id."""
    for id, user in (("a", "u"), ("b", "u"), ("c", "u"), ("c", "t")):
        await shop.service.append_event(await shop.make(id, user=user), said(timestamp=50.0))
    assert [(s.user_id, s.id) for s in await shop.listed(None)] == [("t", "c"), ("u", "a"), ("u", "b"), ("u", "c")]
    await shop.service.append_event(await shop.again("a"), said(timestamp=50.0000009))
    await shop.service.append_event(await shop.again("b"), said(timestamp=50.0000006))
    assert [s.id for s in await shop.listed()] == ["c", "b", "a"]


async def test_list_the_sessions_of_all_users(shop: Shop) -> None:
    """With what each of them shares."""
    await shop.make("1", user="u", state={"app:a": 1, "user:u": "one", "k": 1})
    await shop.make("2", user="v", state={"user:u": "two", "k": 2})
    states = {s.id: s.state for s in await shop.listed(None)}
    assert states == {
        "1": {"app:a": 1, "user:u": "one", "k": 1},
        "2": {"app:a": 1, "user:u": "two", "k": 2},
    }
    assert [s.id for s in await shop.listed("v")] == ["2"]
    assert await shop.listed("w") == []


# -- state --------------------------------------------------------------------------------------------------------


async def test_app_state_is_shared_by_all_users(shop: Shop) -> None:
    """What a create and a delta have set, other users' creates and gets show."""
    session = await shop.make(state={"app:a": 1})
    await shop.service.append_event(session, said(delta={"app:b": 2}))
    assert (await shop.make("t", user="v")).state == {"app:a": 1, "app:b": 2}
    assert (await shop.again("t", user="v")).state == {"app:a": 1, "app:b": 2}


async def test_user_state_is_shared_by_the_users_sessions_only(shop: Shop) -> None:
    """The same, but not for another user."""
    await shop.service.append_event(await shop.make(state={"user:a": 1}), said(delta={"user:b": 2}))
    assert (await shop.make("t")).state == {"user:a": 1, "user:b": 2}
    assert (await shop.make("t", user="v")).state == {}


async def test_session_state_is_not_shared(shop: Shop) -> None:
    """Whatever its prefix, when that is none of the three."""
    await shop.service.append_event(await shop.make(state={"a": 1}), said(delta={"odd:z": 2}))
    assert (await shop.again()).state == {"a": 1, "odd:z": 2}
    assert (await shop.make("t")).state == {}


@pytest.mark.parametrize("prefix", ["", "app:", "user:"])
async def test_a_delta_replaces_key_by_key(shop: Shop, prefix: str) -> None:
    """A dict is not merged, None is stored, False stays what it is."""
    key = f"{prefix}k"
    session = await shop.make(state={key: {"a": 1, "b": 2}, f"{prefix}flag": False})
    await shop.service.append_event(session, said(delta={key: {"c": 3}, f"{prefix}none": None}))
    found = await shop.again()
    assert found.state == session.state == {key: {"c": 3}, f"{prefix}none": None, f"{prefix}flag": False}
    assert found.state[f"{prefix}flag"] is False


async def test_temp_state_is_seen_and_not_stored(shop: Shop) -> None:
    """It is in the state at hand, for later events too, and neither in the stored state nor in an event."""
    session = await shop.make(state={"temp:never": 0})
    assert session.state == {}
    first, second = said(delta={"temp:t": 1, "k": 1}), said(delta={"temp:u": 2})
    await shop.service.append_event(session, first)
    await shop.service.append_event(session, second)
    assert session.state == {"temp:t": 1, "temp:u": 2, "k": 1}
    assert first.actions.state_delta == {"k": 1}
    found = await shop.again()
    assert found.state == {"k": 1}
    assert [event.actions.state_delta for event in found.events] == [{"k": 1}, {}]


async def test_the_user_state_alone(shop: Shop) -> None:
    """Without prefixes, without a session; nobody else's."""
    assert await shop.state_of_user() == {}
    session = await shop.make(state={"user:a": 1, "b": 2, "app:c": 3})
    assert await shop.state_of_user() == {"a": 1}
    await shop.service.append_event(session, said(delta={"user:a": 2, "user:d": 4}))
    assert await shop.state_of_user() == {"a": 2, "d": 4}
    assert await shop.state_of_user("v") == {}
    assert await shop.service.get_user_state(app_name="another", user_id="u") == {}
    await shop.service.delete_session(app_name=shop.app, user_id="u", session_id="s")
    assert await shop.state_of_user() == {"a": 2, "d": 4}


# -- events -------------------------------------------------------------------------------------------------------


def everything() -> Event:
    """Make an event that has each of its fields set, and each of its actions'."""
    auth = AuthConfig(
        auth_scheme={"type": "http", "scheme": "bearer"},
        raw_auth_credential={"authType": "http", "http": {"scheme": "bearer", "credentials": {"token": "t"}}},
        credential_key="key",
    )
    parts = [
        types.Part(text="text", thought=True, thought_signature=b"\xff\xfe\xfb"),
        types.Part(inline_data=types.Blob(data=PNG, mime_type="image/png")),
        types.Part(function_call=types.FunctionCall(id="f", name="tool", args={"x": [1, None, {"y": 2.5}]})),
        types.Part(function_response=types.FunctionResponse(id="f", name="tool", response={"ok": True})),
        types.Part(executable_code=types.ExecutableCode(code="1", language=types.Language.PYTHON)),
    ]
    actions = EventActions(
        skip_summarization=True,
        state_delta={"k": (1, 2), "app:k": 1},
        artifact_delta={"file.txt": 3},
        transfer_to_agent="other",
        transfer_reason="because",
        escalate=False,
        requested_auth_configs={"f": auth},
        requested_tool_confirmations={"f": ToolConfirmation(hint="sure?", confirmed=False, payload={"n": 1})},
        compaction=EventCompaction(
            start_timestamp=1.25, end_timestamp=2.5, compacted_content=types.Content(parts=[types.Part(text="short")])
        ),
        end_of_agent=True,
        agent_state={"step": 2},
        rewind_before_invocation_id="before",
        route=["a", 1, True],
        set_model_response={"answer": 42},
    )
    return Event(
        id="event",
        invocation_id="invocation",
        author="agent",
        actions=actions,
        content=types.Content(role="model", parts=parts),
        timestamp=1700000000.123,
        branch="root.child",
        isolation_scope="scope",
        long_running_tool_ids={"b", "a", "c"},
        partial=False,
        turn_complete=True,
        turn_complete_reason=types.TurnCompleteReason.MALFORMED_FUNCTION_CALL,
        finish_reason=types.FinishReason.STOP,
        error_code="500",
        error_message="long " * 100,
        interrupted=True,
        custom_metadata={"a": None, "b": {"c": [1]}},
        usage_metadata=types.GenerateContentResponseUsageMetadata(prompt_token_count=1, total_token_count=3),
        citation_metadata=types.CitationMetadata(citations=[types.Citation(uri="https://example.com", title="t")]),
        grounding_metadata=types.GroundingMetadata(web_search_queries=["q"]),
        live_session_resumption_update=types.LiveServerSessionResumptionUpdate(new_handle="h", resumable=True),
        live_session_id="live",
        input_transcription=types.Transcription(text="in", finished=True),
        output_transcription=types.Transcription(text="out"),
        avg_logprobs=-0.125,
        logprobs_result=types.LogprobsResult(chosen_candidates=[types.LogprobsResultCandidate(token="t")]),
        interaction_id="interaction",
        environment_id="environment",
        model_version="m-1",
        output={"any": ["thing", 1.5]},
        node_info={"path": "A/B@1", "output_for": ["A/B@1"], "message_as_output": True},
    )


async def test_an_event_with_everything_set(shop: Shop) -> None:
    """Comes back equal, and with it the session."""
    session = await shop.make()
    event = everything()
    unset = {name for name in Event.model_fields if getattr(event, name) is None}
    assert unset <= {"go_away", "voice_activity", "cache_metadata", "interaction_status"}
    assert await shop.service.append_event(session=session, event=event) is event
    found = await shop.again()
    assert found.events == [event]
    assert found == session
    assert type(found.events[0].actions.requested_auth_configs["f"]) is AuthConfig
    assert found.events[0].actions.requested_tool_confirmations["f"].payload == {"n": 1}
    assert found.events[0].actions.compaction.compacted_content.parts[0].text == "short"


@pytest.mark.parametrize(
    "scheme",
    [
        {"type": "apiKey", "in": "header", "name": "X-Key"},
        {"type": "oauth2", "flows": {"implicit": {"authorizationUrl": "https://a.test", "scopes": {"s": "t"}}}},
        {"type": "openIdConnect", "authorization_endpoint": "https://a.test", "token_endpoint": "https://t.test"},
    ],
    ids=lambda scheme: scheme["type"],
)
async def test_the_schemes_of_an_authentication(shop: Shop, scheme: dict[str, Any]) -> None:
    """Come back as the models that they were."""
    config = AuthConfig(auth_scheme=scheme, credential_key="key")
    session = await shop.make()
    await shop.service.append_event(session, Event(actions=EventActions(requested_auth_configs={"f": config})))
    assert (await shop.again()).events[0].actions.requested_auth_configs == {"f": config}


async def test_an_event_with_nothing_set(shop: Shop) -> None:
    """None stays None, False stays False, an empty set stays one, and so does an empty map."""
    session = await shop.make()
    empty = Event(partial=False, turn_complete=False, long_running_tool_ids=set(), custom_metadata={}, output={})
    empty.actions = EventActions(agent_state={}, set_model_response={})
    for event in (Event(), empty):
        await shop.service.append_event(session, event)
    assert (await shop.again()) == session
    assert [event.turn_complete for event in session.events] == [None, False]


async def test_bytes_of_an_event(shop: Shop) -> None:
    """Inline data and the blob of the grounding metadata come back as they were."""
    grounding = types.GroundingMetadata(
        search_entry_point=types.SearchEntryPoint(rendered_content="<b>", sdk_blob=PNG),
    )
    part = types.Part(inline_data=types.Blob(data=PNG, mime_type="image/png"))
    event = Event(author="user", content=types.Content(role="user", parts=[part]), grounding_metadata=grounding)
    session = await shop.make()
    await shop.service.append_event(session, event)
    found = (await shop.again()).events[0]
    assert found.content.parts[0].inline_data.data == PNG
    assert found.grounding_metadata.search_entry_point.sdk_blob == PNG
    assert found == event


async def test_the_time_of_an_event_is_the_sessions(shop: Shop) -> None:
    """To the last bit, also when it is older than the one before."""
    session = await shop.make()
    for moment in (1700000000.1234567, 1700000000.12345, 12.0, 0.1 + 0.2):
        await shop.service.append_event(session, said(timestamp=moment))
        found = await shop.again()
        assert session.last_update_time == found.last_update_time == found.events[-1].timestamp == moment
        assert (await shop.listed())[0].last_update_time == moment


@pytest.mark.usefixtures("new_york")
async def test_times_in_a_repeated_local_hour(shop: Shop) -> None:
    """Are not those of an hour before or after."""
    moments = [1762061400.25, 1762065000.25]  # 1:30 twice, on 2025-11-02
    session = await shop.make()
    for moment in moments:
        await shop.service.append_event(session, said(timestamp=moment))
    assert [event.timestamp for event in (await shop.again()).events] == moments


async def test_events_come_in_the_order_of_their_appends(shop: Shop) -> None:
    """Whatever their times and their ids are; google's database service sorts by these."""
    session = await shop.make()
    for id, moment in (("z", 30.0), ("m", 10.0), ("a", 10.0)):
        await shop.service.append_event(session, said(id=id, timestamp=moment))
    assert [event.id for event in (await shop.again()).events] == ["z", "m", "a"]


async def test_which_events_are_read(shop: Shop) -> None:
    """The last ones, those from a time on (that time included), or both; it is the database that chooses."""
    session = await shop.make()
    for n in range(1, 6):
        await shop.service.append_event(session, said(id=str(n), timestamp=float(n) + 1e-7))

    async def ids(**config: Any) -> str:
        found = await shop.again(**config)
        assert (found.state, found.last_update_time) == (session.state, session.last_update_time)
        return "".join(event.id for event in found.events)

    assert await ids() == "12345"
    assert await ids(num_recent_events=0) == ""
    assert await ids(num_recent_events=3) == "345"
    assert await ids(num_recent_events=9) == "12345"
    assert await ids(after_timestamp=4.0 + 1e-7) == "45"
    assert await ids(after_timestamp=4.0 + 2e-7) == "5"
    assert await ids(after_timestamp=0.0) == "12345"
    assert await ids(after_timestamp=1e18) == await ids(after_timestamp=float("inf")) == ""
    assert await ids(after_timestamp=-1e18) == "12345"
    assert await ids(after_timestamp=2.0, num_recent_events=2) == "45"
    with pytest.raises(ValueError, match="num_recent_events must be greater than or equal to 0"):
        GetSessionConfig(num_recent_events=-1)


async def test_partial_events_are_not_stored(shop: Shop) -> None:
    """Nor added, nor are they asked whether the session is there."""
    session = await shop.make()
    partial = said(partial=True, delta={"k": 1, "temp:t": 1})
    assert await shop.service.append_event(session, partial) is partial
    assert await shop.again() == session
    assert (session.events, session.state) == ([], {})
    await shop.service.append_event(Session(app_name="no", user_id="no", id="no"), partial)


async def test_what_is_no_object_of_google_adk(shop: Shop) -> None:
    """A dict, as it comes from JSON, or an id: told what is wanted, and nothing is stored."""
    session = await shop.make()
    for given in ((session, said().model_dump()), (session, None), ("s", said())):
        with pytest.raises(InvalidInputError, match=r"^(session|event): expected google-adk's (Session|Event), got "):
            await shop.service.append_event(*given)
    assert (await shop.again()).events == []


async def test_the_helpers_are_called_once(shop: Shop) -> None:
    """As google's own services do, so that who overrides them is asked once."""
    session = await shop.make()
    names = ("_apply_temp_state", "_trim_temp_delta_state", "_commit_event_to_session")
    calls = {}
    for name in names:
        spy = patch.object(shop.service, name, wraps=getattr(shop.service, name))
        calls[name] = spy.start()
    await shop.service.append_event(session, said(delta={"temp:t": 1}))
    patch.stopall()
    assert {name: call.call_count for name, call in calls.items()} == dict.fromkeys(names, 1)


async def test_a_session_that_is_not_there(shop: Shop) -> None:
    """Never was, was deleted, or cannot be; with a marker and without; the event is not added."""
    session = await shop.make()
    await shop.service.delete_session(app_name=shop.app, user_id="u", session_id="s")
    never = [Session(app_name=shop.app, user_id="u", id=id) for id in ("unknown", "a\0b", "\ud800", "x" * 300, "")]
    for gone in (session, session.model_copy(update={"user_id": "a\0b"}), *never):
        with pytest.raises(SessionNotFoundError, match=f"Session {gone.id} not found"):
            await shop.service.append_event(gone, said(delta={"app:k": 1}))
        assert gone.events == []
    assert (await shop.make("t")).state == {}


async def test_a_session_made_anew_has_no_old_events(shop: Shop) -> None:
    """What the session alone had is gone; what it shared is not."""
    await shop.service.append_event(await shop.make(state={"k": 1, "app:a": 1}), said())
    await shop.service.delete_session(app_name=shop.app, user_id="u", session_id="s")
    await shop.make()
    found = await shop.again()
    assert (found.events, found.state) == ([], {"app:a": 1})


async def test_what_was_returned_may_be_changed(shop: Shop) -> None:
    """Nobody else sees it."""
    mine = {"k": {"deep": [1]}}
    session = await shop.make(state=mine)
    session.state["k"]["deep"].append(2)
    assert mine == {"k": {"deep": [1]}}
    assert (await shop.again()).state == {"k": {"deep": [1]}}
    first = await shop.again()
    first.state.clear()
    first.events.append(said())
    assert (await shop.again()).state == {"k": {"deep": [1]}}


# -- what google's database services ask --------------------------------------------------------------------------


async def test_a_stale_copy_is_refused(shop: Shop) -> None:
    """And nothing is written, neither where it was stored nor in the copy."""
    session = await shop.make()
    stale = await shop.again()
    await shop.service.append_event(session, said("first", delta={"k": 1}))
    with pytest.raises(StaleSessionError, match="modified in storage") as caught:
        await shop.service.append_event(stale, said("second", delta={"k": 2, "app:k": 2}))
    assert isinstance(caught.value, ValueError)
    assert stale.events == []
    assert await shop.again() == session


@pytest.mark.parametrize("later", [0.0, -1000.0], ids=["at the same time", "by a clock that goes back"])
async def test_a_stale_copy_is_refused_whatever_the_clock_says(shop: Shop, later: float) -> None:
    """The revision tells; google's services go by the time, and accept it."""
    session = await shop.make()
    await shop.service.append_event(session, said(timestamp=5000.0))
    stale = await shop.again()
    await shop.service.append_event(session, said(timestamp=5000.0 + later))
    with pytest.raises(StaleSessionError):
        await shop.service.append_event(stale, said(timestamp=9000.0))
    stale._storage_update_marker = None
    with pytest.raises(StaleSessionError):
        await shop.service.append_event(stale, said(timestamp=9000.0))
    assert await shop.again() == session


async def test_a_copy_of_a_deleted_session_is_refused(shop: Shop) -> None:
    """Also when one was made anew under its id, and has come just as far."""
    session = await shop.make()
    await shop.service.append_event(session, said())
    await shop.service.delete_session(app_name=shop.app, user_id="u", session_id="s")
    anew = await shop.make()
    await shop.service.append_event(anew, said())
    with pytest.raises(StaleSessionError):
        await shop.service.append_event(session, said())
    assert await shop.again() == anew
    assert int(anew._storage_update_marker) > int(session._storage_update_marker)


async def test_one_writer_at_one_time_is_not_stale(shop: Shop) -> None:
    """Events of the same timestamp, one after another."""
    session = await shop.make()
    for _ in range(3):
        await shop.service.append_event(session, said(timestamp=7.0))
    assert await shop.again() == session


async def test_the_time_of_the_session_in_hand_may_have_drifted(shop: Shop) -> None:
    """With a marker it does not count; without one the events at hand do."""
    session = await shop.make()
    await shop.service.append_event(session, said())
    session.last_update_time -= 1e-4
    await shop.service.append_event(session, said())
    session.last_update_time -= 1e-4
    session._storage_update_marker = None
    await shop.service.append_event(session, said())
    assert await shop.again() == session


async def test_a_session_without_a_marker(shop: Shop) -> None:
    """One that came as JSON may append when it has the last event, or has none and is as new as what is stored."""
    session = await shop.make()
    copy = Session.model_validate_json(session.model_dump_json())
    await shop.service.append_event(copy, said())
    with_events = Session.model_validate_json(copy.model_dump_json())
    await shop.service.append_event(with_events, said())
    without = Session.model_validate_json((await shop.again(num_recent_events=0)).model_dump_json())
    await shop.service.append_event(without, said())
    assert len((await shop.again()).events) == 3
    for stale in (copy, with_events):
        stale._storage_update_marker = None
        with pytest.raises(StaleSessionError):
            await shop.service.append_event(stale, said())
    by_hand = Session(app_name=shop.app, user_id="u", id="s")
    with pytest.raises(StaleSessionError):
        await shop.service.append_event(by_hand, said())


@pytest.mark.parametrize("loaded", [False, True])
async def test_a_session_with_a_rolled_back_event_is_stale(shop: Shop, loaded: bool) -> None:
    """Also when another writer has brought the session to the same revision; one that was committed goes on."""
    session, other = await shop.make(), await shop.again()
    with pytest.raises(LookupError):
        async with in_transaction("default"):
            await shop.service.append_event(session, said())
            session = await shop.again() if loaded else session
            raise LookupError
    await shop.service.append_event(other, said())
    with pytest.raises(StaleSessionError):
        await shop.service.append_event(session, said())
    async with in_transaction("default"):
        await shop.service.append_event(other, said())
    assert other == await shop.again()
    await shop.service.append_event(other, said())


async def test_a_session_whose_create_was_rolled_back_is_stale(shop: Shop) -> None:
    """One that was made under its names since is another one, whatever number the database gives it."""
    with pytest.raises(LookupError):
        async with in_transaction("default"):
            undone = await shop.make()
            raise LookupError
    with pytest.raises(SessionNotFoundError):
        await shop.service.append_event(undone, said())
    await shop.make()
    with pytest.raises(StaleSessionError):
        await shop.service.append_event(undone, said())


async def test_the_same_event_twice(shop: Shop) -> None:
    """Is stored and added once: an append whose outcome is unknown may be repeated, with the session read anew too."""
    session = await shop.make()
    event = said(delta={"n": 1, "app:n": 1})
    before = session.model_copy(deep=True)
    for _ in range(2):
        await shop.service.append_event(session, event)
    assert session.events == [event]
    await shop.service.append_event(before, event.model_copy(deep=True))
    assert before == session == await shop.again()
    await shop.service.append_event(session, said())
    await shop.service.append_event(before, event)
    assert before.events == [event]
    with pytest.raises(StaleSessionError):
        await shop.service.append_event(before, said())
