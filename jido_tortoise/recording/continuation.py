"""How a run goes on with what was said before in its session: by replay, or by the provider's own memory.

Replay sends the messages again, rebuilt from the events. Native sends only what is new, with the provider's own id of
the conversation, which an earlier run has left in the session's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from jido_tortoise import checks, times
from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording.entities import Session
from jido_tortoise.recording.port import SessionStoreLike
from jido_tortoise.recording.providers.base import name_of
from jido_tortoise.recording.transcript import Message, Transcript

Continuation = Literal[False, "auto", "replay", "native"]
_OPTIONS = {"limit", "after", "since", "max_messages", "max_chars", "max_tokens_approx"}
#: Where a session's metadata has the providers' own conversations.
PROVIDER_SESSIONS = "provider_sessions"
#: Events that are read at a time.
_PAGE = 1000


def check(continuation: object, options: Any) -> None:
    """Refuse what is no continuation: `True` too, which does not say how.

    Raises:
        InvalidInputError: `path` says what is none.
    """
    if continuation is not False and continuation not in ("auto", "replay", "native"):
        raise InvalidInputError.at("continuation", "False, 'auto', 'replay' or 'native'", continuation)
    if not isinstance(options, Mapping) or not _OPTIONS.issuperset(options):
        raise InvalidInputError.at("continuation_opts", f"a dict of some of {', '.join(sorted(_OPTIONS))}", options)
    for name, value in options.items():
        path = f"continuation_opts.{name}"
        if name == "since" and value is not None:
            times.check_moment(value, path)
        elif value is not None:
            checks.whole(value, path, least=1 if name.startswith("max_") else 0)


def provider_session(session: Session, provider: object) -> str | None:
    """Answer the provider's own id of a session's conversation; None when it has none, or keeps none."""
    if not getattr(provider, "native", False):
        return None
    known = session.metadata.get(PROVIDER_SESSIONS) or {}
    entry = known.get(name_of(provider)) or {}
    found = entry.get("provider_session_id")
    return found if isinstance(found, str) else None


def conversation(session: Session, provider: object, continuation: Continuation) -> str | None:
    """Answer what `provider_session` does, which there must be to go on natively.

    Raises:
        InvalidInputError: `continuation_unavailable`: native was wished, and there is nothing to go on with.
    """
    own = provider_session(session, provider)
    if continuation == "native" and own is None:
        raise InvalidInputError.at(
            "continuation",
            f"a conversation of {name_of(provider)} in session {session.id!r}",
            continuation,
            reason="continuation_unavailable",
        )
    return own


def with_provider_session(session: Session, provider: str, provider_session_id: str, model: str | None) -> Session:
    """Answer the session that knows the provider's own id of its conversation."""
    known = session.metadata.get(PROVIDER_SESSIONS) or {}
    entry = {"provider_session_id": provider_session_id, "model": model}
    if known.get(provider) == entry:
        return session
    return session.changed(metadata={**session.metadata, PROVIDER_SESSIONS: {**known, provider: entry}})


async def earlier(
    store: SessionStoreLike, session: Session, provider: object, continuation: Continuation, options: Mapping[str, Any]
) -> tuple[tuple[Message, ...], str | None]:
    """Answer the messages to send again, and the provider's own id: one of them, or neither.

    Raises:
        InvalidInputError: `continuation_unavailable`: native was wished, and there is nothing to go on with.
    """
    if continuation is False:
        return (), None
    own = conversation(session, provider, continuation)
    if own is not None and continuation != "replay":
        return (), own
    reading = {name: value for name, value in options.items() if name in ("limit", "after", "since")}
    transcript = await read(store, Transcript(session_id=session.id), **reading)
    limits = {name: value for name, value in options.items() if name.startswith("max_")}
    return transcript.limited(**limits), None


async def read(
    store: SessionStoreLike,
    transcript: Transcript,
    *,
    limit: int | None = None,
    after: int | None = None,
    since: Any = None,
) -> Transcript:
    """Answer a transcript with the events that were stored since it was read.

    Args:
        store: Where they are.
        transcript: What was read before; only later events are read now.
        limit: At most so many events.
        after: Only events with a greater number, when that is later.
        since: Only events after that moment.
    """
    if limit is not None:
        checks.whole(limit, "limit")
    start = max(transcript.last_sequence, after or 0)
    left = limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        events = await store.get_events(transcript.session_id, after=start, limit=size, since=since)
        transcript = transcript.updated(events)
        if len(events) < size:
            break
        start = cast("int", events[-1].sequence_number)
        left = None if left is None else left - len(events)
    return transcript


def said_now(given: Any) -> tuple[Message, ...]:
    """Answer the messages of a run's input: a text, a dict with `messages` or a `prompt`, or none.

    Raises:
        InvalidInputError: A message is not a dict.
    """
    if isinstance(given, str):
        return (Message(role="user", content=given),) if given else ()
    if not isinstance(given, Mapping):
        return ()
    if "messages" not in given:
        return said_now(given["prompt"]) if isinstance(given.get("prompt"), str) else ()
    messages = given["messages"]
    if not isinstance(messages, list | tuple):
        raise InvalidInputError.at("input.messages", "a list of messages", messages)
    return tuple(
        one
        for at, message in enumerate(messages)
        for one in (*_said(message, f"input.messages[{at}]"), *_called(message, f"input.messages[{at}]"))
    )


def _said(message: Any, path: str) -> Iterable[Message]:
    if not isinstance(message, Mapping) or message.get("content") or message.get("tool_call_id"):
        yield _message(message, path)


def _called(message: Any, path: str) -> Iterable[Message]:
    """Answer the calls of a message in the format of OpenAI: without them the results that follow would be refused."""
    calls = (message.get("tool_calls") if isinstance(message, Mapping) else None) or ()
    if not isinstance(calls, list | tuple):
        raise InvalidInputError.at(f"{path}.tool_calls", "a list of calls", calls)
    for at, call in enumerate(calls):
        try:
            name, arguments = call["function"]["name"], call["function"].get("arguments")
            yield Message(role="assistant", tool_call_id=call["id"], tool_name=str(name), tool_input=_parsed(arguments))
        except (AttributeError, LookupError, TypeError) as error:
            raise InvalidInputError.at(f"{path}.tool_calls[{at}]", "a call with id and function", call) from error


def _parsed(arguments: Any) -> Any:
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return arguments


def _message(message: Any, path: str) -> Message:
    if isinstance(message, Message):
        return message
    if not isinstance(message, Mapping):
        raise InvalidInputError.at(path, "a dict with role and content", message)
    role = str(message.get("role") or "user").lower()
    if role == "tool":
        return Message(
            role="tool",
            tool_call_id=message.get("tool_call_id"),
            tool_name=message.get("tool_name"),
            tool_output=message.get("tool_output", message.get("content")),
        )
    if message.get("tool_call_id") and not message.get("content"):  # a call, as a Message is stored
        call: dict[str, Any] = {name: message.get(name) for name in ("tool_call_id", "tool_name", "tool_input")}
        return Message(role="assistant", **call)
    return Message(role=role, content=message.get("content"))
