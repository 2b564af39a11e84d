"""What a session's own state was before some of its last events.

Only keys that one of those events has set are looked at: what `create` put into the state, and no event has touched,
stays. State of app and user is shared, and nobody's to take back; google-adk's Runner leaves it alone too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jido_tortoise.adk import routing
from jido_tortoise.adk.values import Actions, Event

#: In the `extra` of a rewinding event's actions: the invocation before which the session is to go on.
REWIND = "rewind_before_invocation_id"


def before(kept: Sequence[Event], undone: Sequence[Event]) -> tuple[dict[str, Any], set[str]]:
    """Answer the values that keys had, and the keys that nobody had set, before the undone events.

    Args:
        kept: The events before them.
        undone: The session's last events.
    """
    changed = {key for event in undone for key in _own(event.actions)}
    values = {key: value for event in kept for key, value in _own(event.actions).items() if key in changed}
    return values, changed - values.keys()


def _own(actions: Actions) -> dict[str, Any]:
    return routing.split(actions.state_delta).session


def first_of(events: Sequence[Event], invocation_id: str) -> int | None:
    """Answer the place of an invocation's first event; None when it has none."""
    return next((place for place, event in enumerate(events) if event.invocation_id == invocation_id), None)


def live(events: Sequence[Event]) -> list[Event]:
    """Answer the events that no rewind has taken back, and not the rewinding ones, as a Runner sees them."""
    firsts = {event.invocation_id: place for place, event in reversed([*enumerate(events)])}
    kept: list[Event] = []
    place = len(events) - 1
    while place >= 0:
        target = events[place].actions.extra.get(REWIND)
        if not target:
            kept.append(events[place])
        place = min(place, firsts.get(target, place)) - 1 if target else place - 1
    return kept[::-1]
