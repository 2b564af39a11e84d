"""Times to the microsecond: aware datetimes in Python, and the one form that each database keeps them in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from jido_tortoise import seams
from jido_tortoise.errors import InvalidInputError


def now() -> datetime:
    """Answer the time of the seams, in UTC."""
    return seams.to_datetime(seams.now_ms())


def check_moment(value: Any, path: str, error: type[InvalidInputError] = InvalidInputError) -> datetime:
    """Answer the value when it is an aware datetime."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise error.at(path, "a datetime with a time zone, such as datetime.now(UTC)", value)
    return value


def stored_time(moment: datetime, dialect: Literal["sqlite", "postgres"]) -> Any:
    """Answer an aware datetime as the driver takes it; on SQLite a text of one length, so that texts sort as times."""
    moment = moment.astimezone(UTC)
    return moment if dialect == "postgres" else moment.isoformat(" ", "microseconds")


def read_time(stored: Any) -> datetime:
    """Answer what a driver read as an aware datetime in UTC.

    Raises:
        ValueError: A text that is no time.
        TypeError: Neither a text nor a datetime.
    """
    moment = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    if not isinstance(moment, datetime):
        raise TypeError(f"{stored!r} is no time")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
