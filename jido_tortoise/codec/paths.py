"""Where in a value something is: `state.cart[3].price`.

The way down keeps no path, because nearly every value is fine; a refusal collects its steps on the way up.
"""

from __future__ import annotations

import json


class Located(Exception):
    """Something is wrong at one place of a value; each container on the way up adds its step."""

    def __init__(self, text: str, step: str = "") -> None:
        super().__init__(text)
        self.text = text
        #: Innermost first: the step, and the identity of the container that it was taken in.
        self.steps: list[tuple[str, int]] = [(step, 0)] if step else []

    def within(self, step: str, container: object = None) -> None:
        """Add the step that leads from the container to where we are."""
        self.steps.append((step, id(container)))

    def path(self, root: str) -> str:
        """Spell the whole way from the root."""
        return root + "".join(step for step, _ in reversed(self.steps))


class Unfit(Located):
    """A value, on its way to the database, for which there is no form; `text` says what it is."""

    expected: str = "a value that can be stored"


class TooDeep(Unfit):
    """A value with more levels than are allowed, perhaps because it contains itself."""

    def __init__(self) -> None:
        super().__init__("more")

    def path(self, root: str) -> str:
        """Spell the way to where the value begins to repeat, or the whole way when it does not."""
        way, seen = root, dict[int, str]()
        for step, container in reversed(self.steps):
            if container in seen:
                self.text = f"a value that contains itself: it is {seen[container]} again"
                return way
            seen[container] = way
            way += step
        return way


class Malformed(Located):
    """A stored text that is none of ours; `text` says why."""


def step_to(key: object) -> str:
    """Spell one step into a dict."""
    if type(key) is str:
        return f".{key}" if key.isidentifier() else f"[{_shorten(json.dumps(key))}]"
    if type(key) is int:  # repr() refuses 4,300 digits
        return f"[{_shorten(hex(key)) if key.bit_length() > 64 else key}]"
    is_simple = type(key) in (float, bool, bytes, type(None))
    return f"[{_shorten(repr(key))}]" if is_simple else f"[{type(key).__name__}]"


def _shorten(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
