"""What waits for the end of a transaction, the host's or ours: content is deleted only when its rows are gone for good.

Tortoise tells nobody that a transaction has ended. Ours calls what stands here; for the host's, `commit` and `rollback`
of its wrapper are replaced in that one wrapper, which lives as long as the transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

_log = logging.getLogger("jido_tortoise")

#: Done when the transaction has ended.
Then = Callable[[], Awaitable[object]]
#: Looks right before the commit, still inside, what is to be done after it.
Look = Callable[[], Awaitable[Then]]

_ATTRIBUTE = "_jido_ending"


@dataclass(slots=True)
class _Ending:
    looks: list[Look] = field(default_factory=list)
    undone: list[Then] = field(default_factory=list)
    ready: list[Then] = field(default_factory=list)
    #: While it is "committing" nobody knows how it ends.
    state: Literal["open", "committing", "committed"] = "open"


def wait_for(wrapper: Any, look: Look, undone: Then | None = None) -> None:
    """Have something done when a transaction has ended; what fails then is logged, and changes nothing.

    Nothing is done when it is not known whether the transaction was committed.

    Args:
        wrapper: Tortoise's of the outermost transaction; what happened under a savepoint that was rolled back is seen
            by `look`.
        look: Called right before the commit; what it answers is called after it.
        undone: Called after a rollback.
    """
    ending = _ending_of(wrapper)
    if ending is None:
        ending = wrapper.__dict__[_ATTRIBUTE] = _Ending()
        wrapper.commit, wrapper.rollback = _committing(wrapper, wrapper.commit), _undoing(wrapper, wrapper.rollback)
    ending.looks.append(look)
    if undone is not None:
        ending.undone.append(undone)


def _ending_of(wrapper: Any) -> _Ending | None:
    ending: _Ending | None = wrapper.__dict__.get(_ATTRIBUTE)
    return ending


def _committing(wrapper: Any, commit: Then) -> Then:
    async def hooked() -> None:
        await begin_commit(wrapper)
        await commit()
        committed(wrapper)
        await ended(wrapper)

    return hooked


def _undoing(wrapper: Any, rollback: Then) -> Then:
    async def hooked() -> None:
        await rollback()
        await ended(wrapper)

    return hooked


async def begin_commit(wrapper: Any) -> None:
    """Look what is to be done after the commit that follows now."""
    ending = _ending_of(wrapper)
    if ending is not None:
        ending.ready = [then for look in ending.looks if (then := await _safely(look)) is not None]
        ending.state = "committing"


def committed(wrapper: Any) -> None:
    """Say that the transaction was committed."""
    ending = _ending_of(wrapper)
    if ending is not None:
        ending.state = "committed"


async def ended(wrapper: Any) -> None:
    """Do what has waited for the end of a transaction, once."""
    ending = _ending_of(wrapper)
    if ending is None:
        return
    del wrapper.__dict__[_ATTRIBUTE]
    todo = {"open": ending.undone, "committing": [], "committed": ending.ready}[ending.state]
    for then in todo:
        await _safely(then)


async def _safely(step: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await step()
    except Exception:
        _log.exception("what waited for the end of a transaction has failed; the next maintenance does it")
        return None
