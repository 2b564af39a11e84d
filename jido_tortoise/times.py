"""Times to the microsecond: aware datetimes in Python, and the one form that each database keeps them in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from jido_tortoise import seams
from jido_tortoise.errors import InvalidInputError


def now() -> datetime:
    """Answer the time of the seams, in UTC."""
    return seams.to_datetime(seams.now_ms())


def check_moment(value: Any, path: str, error: type[InvalidInputError] = InvalidInputError) -> datetime:
    """Answer the value when it is an aware datetime, which UTC has too."""
    if not isinstance(value, datetime) or (offset := value.utcoffset()) is None:
        raise error.at(path, "a datetime with a time zone, such as datetime.now(UTC)", value)
    if offset and not _is_in_utc(value):
        raise error.at(path, "a datetime that is within the years 1 to 9999 in UTC", value)
    return value


def _is_in_utc(moment: datetime) -> bool:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        return False
    return True


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
    if moment.tzinfo is UTC:
        return moment
    # asyncpg writes the first and the last moment as PostgreSQL's infinities, and reads these without a zone.
    return moment.replace(tzinfo=UTC) if moment in (datetime.min, datetime.max) else moment.astimezone(UTC)


def moment_of(seconds: float, path: str) -> datetime:
    """Answer seconds since 1970 as a datetime, to the microsecond.

    Raises:
        InvalidInputError: They are no time.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise InvalidInputError.at(path, "seconds since 1970", seconds) from error


def moment_from(seconds: float) -> datetime:
    """Answer the first microsecond that is not before these seconds since 1970, whatever they are."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
        return moment if moment.timestamp() >= seconds else moment + timedelta(microseconds=1)
    except (OverflowError, OSError, ValueError):
        return datetime.min.replace(tzinfo=UTC) if seconds < 0 else datetime.max.replace(tzinfo=UTC)
