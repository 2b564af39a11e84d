"""The tags of single values: what JSON, or PostgreSQL's jsonb, would not give back as it was."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Context, Decimal, InvalidOperation, Overflow
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from jido_tortoise.codec.paths import Malformed, Unfit
from jido_tortoise.codec.text import MARK, escape, is_clean, unescape

#: A longer integer than this many hex digits was not written by us.
MAX_DIGITS = 64 * 1024 * 1024

_DECIMALS = Context(capitals=1, traps=[InvalidOperation, Overflow])
_HEX = re.compile(r"-?0x[0-9a-f]+")
_FLOAT = re.compile(r"nan|-?inf|-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
#: RFC 9557: a timestamp, a zone in brackets, and a key of our own for the second of two equal hours.
_MOMENT = re.compile(
    r"((?:[0-9-]{10}T)?[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?)"
    r"(?:([+-])([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{6}))?)?)?"
    r"(?:\[([A-Za-z0-9_+\-./]{1,128})\])?"
    r"(\[_fold=1\])?"
)


def tag(name: str, content: Any) -> dict[str, Any]:
    """Make the object that stands for a value that JSON lacks."""
    return {MARK + name: content}


# To JSON


def _same(value: Any) -> Any:
    return value


def _from_str(value: str) -> Any:
    return value if is_clean(value) else tag("str", escape(value))


def _from_int(value: int) -> Any:
    # Beyond 64 bits orjson reads a float; decimal text stops at 4,300 digits, hex does not.
    return value if -(2**63) <= value < 2**63 else tag("int", hex(value))


def is_plain_float(value: float) -> bool:
    """Tell whether jsonb gives the float back; its numbers are decimals: 1e16 becomes an integer, -0.0 zero."""
    return -1e16 < value < 1e16 and (value != 0 or math.copysign(1, value) > 0)


def _from_float(value: float) -> Any:
    return value if is_plain_float(value) else tag("float", repr(value))


def _from_complex(value: complex) -> Any:
    return tag("complex", [_from_float(value.real), _from_float(value.imag)])


def _from_bytes(value: bytes) -> Any:
    return tag("bytes", base64.b64encode(value).decode())


def _from_bytearray(value: bytearray) -> Any:
    return tag("bytearray", base64.b64encode(value).decode())


def _from_decimal(value: Decimal) -> Any:
    # Not str(): that spells as the host's decimal context wishes.
    return tag("decimal", _DECIMALS.to_sci_string(value))


def _from_timedelta(value: timedelta) -> Any:
    return tag("timedelta", [value.days, value.seconds, value.microseconds])


def _from_date(value: date) -> Any:
    return tag("date", value.isoformat())


def _from_datetime(value: datetime) -> Any:
    return tag("datetime", _from_moment(value))


def _from_time(value: time) -> Any:
    return tag("time", _from_moment(value))


def _from_moment(value: datetime | time) -> Any:
    zone = value.tzinfo
    suffix = f"[{_zone_key(zone)}]" if zone is not None and type(zone) is not timezone else ""
    text = f"{value.isoformat()}{suffix}{'[_fold=1]' if value.fold else ''}"
    name = _own_name(zone) if type(zone) is timezone else None
    return text if name is None else [text, _from_str(name)]


def _own_name(zone: timezone) -> str | None:
    name = zone.tzname(None)
    return None if name == timezone(zone.utcoffset(None)).tzname(None) else name


def _zone_key(zone: object) -> str:
    if type(zone) is not ZoneInfo:
        kind = f"{type(zone).__module__}.{type(zone).__qualname__}"
        raise Unfit(f"a time zone of type {kind}; use zoneinfo.ZoneInfo or datetime.timezone")
    try:
        ZoneInfo(zone.key)
    except Exception as error:
        raise Unfit("a ZoneInfo that cannot be found by its key again") from error
    return zone.key


def _from_uuid(value: UUID) -> Any:
    return tag("uuid", str(value))


ENCODERS: dict[type, Callable[[Any], Any]] = {
    str: _from_str,
    int: _from_int,
    bool: _same,
    type(None): _same,
    float: _from_float,
    complex: _from_complex,
    bytes: _from_bytes,
    bytearray: _from_bytearray,
    Decimal: _from_decimal,
    timedelta: _from_timedelta,
    date: _from_date,
    datetime: _from_datetime,
    time: _from_time,
    UUID: _from_uuid,
}


# From JSON. A wrong content may raise what it likes: `decode` names the place.


def _matched(pattern: re.Pattern[str], content: Any) -> re.Match[str]:
    match = pattern.fullmatch(content) if type(content) is str else None
    if match is None:
        raise Malformed("not the form of this tag")
    return match


def _to_int(content: Any) -> int:
    if len(content) > MAX_DIGITS:
        raise Malformed("an integer that is too long")
    return int(_matched(_HEX, content).group(), 16)


def _to_float(content: Any) -> float:
    if len(content) > 40:
        raise Malformed("a float that is too long")
    return float(_matched(_FLOAT, content).group())


def float_from(content: Any) -> float:
    """Read a float that may or may not have needed its tag."""
    if type(content) is dict and len(content) == 1:
        return _to_float(content[MARK + "float"])
    if type(content) is not float:
        raise Malformed("not a float")
    return content


def _to_complex(content: Any) -> complex:
    real, imag = content
    return complex(float_from(real), float_from(imag))


def _to_bytes(content: Any) -> bytes:
    return base64.b64decode(content, validate=True)


def _to_bytearray(content: Any) -> bytearray:
    return bytearray(_to_bytes(content))


def _to_decimal(content: Any) -> Decimal:
    if type(content) is not str:
        raise Malformed("not a decimal")
    return Decimal(content, _DECIMALS)


def _to_timedelta(content: Any) -> timedelta:
    days, seconds, microseconds = content
    if {type(days), type(seconds), type(microseconds)} != {int}:
        raise Malformed("not three integers")
    return timedelta(days, seconds, microseconds)


def _to_date(content: Any) -> date:
    return date.fromisoformat(content)


def _to_datetime(content: Any) -> datetime:
    moment: datetime = _to_moment(datetime, content)
    return moment


def _to_time(content: Any) -> time:
    moment: time = _to_moment(time, content)
    return moment


def _to_moment(kind: Any, content: Any) -> Any:
    text, name = content if type(content) is list else (content, None)
    clock, sign, *offset, key, fold = _matched(_MOMENT, text).groups()
    zone: tzinfo | None = None
    if key:
        # What is kept is what the datetime holds: clock and zone. Should the zone's rules change, the instant moves.
        zone = ZoneInfo(key)
    elif sign:
        zone = _to_timezone(sign, [int(number or 0) for number in offset], name)
    return kind.fromisoformat(clock).replace(tzinfo=zone, fold=1 if fold else 0)


def _to_timezone(sign: str, offset: list[int], name: Any) -> timezone:
    # Not left to fromisoformat(), which takes an offset of less than a second for UTC.
    hours, minutes, seconds, microseconds = offset
    distance = timedelta(hours=hours, minutes=minutes, seconds=seconds, microseconds=microseconds)
    signed = -distance if sign == "-" else distance
    return timezone(signed) if name is None else timezone(signed, _to_plain_str(name))


def _to_plain_str(content: Any) -> str:
    return _to_str(content[MARK + "str"]) if type(content) is dict else str(content)


def _to_str(content: Any) -> str:
    if type(content) is not str:
        raise Malformed("not an escaped string")
    return unescape(content)


def _to_uuid(content: Any) -> UUID:
    return UUID(content)


DECODERS: dict[str, Callable[[Any], Any]] = {
    MARK + "str": _to_str,
    MARK + "int": _to_int,
    MARK + "float": _to_float,
    MARK + "complex": _to_complex,
    MARK + "bytes": _to_bytes,
    MARK + "bytearray": _to_bytearray,
    MARK + "decimal": _to_decimal,
    MARK + "timedelta": _to_timedelta,
    MARK + "date": _to_date,
    MARK + "datetime": _to_datetime,
    MARK + "time": _to_time,
    MARK + "uuid": _to_uuid,
}
