"""Python values as JSON: exact, safe, and readable in SQL.

Values that JSON has are stored as JSON has them, so that `payload->>'role'` finds the role in both databases. What JSON
lacks is an object with one key that begins with `$jido:`, its tag:

| value | stored as |
|---|---|
| bytes, bytearray | `{"$jido:bytes": "aGk="}` |
| datetime, date, time | `{"$jido:datetime": "2026-01-01T09:00:00+01:00[Europe/Berlin]"}` (RFC 9557) |
| ... the second of two equal hours | `{"$jido:datetime": "2026-10-25T02:30:00+01:00[Europe/Berlin][_fold=1]"}` |
| timedelta | `{"$jido:timedelta": [days, seconds, microseconds]}` |
| UUID, Decimal | `{"$jido:uuid": "..."}`, `{"$jido:decimal": "1.50"}` |
| tuple, set, frozenset | `{"$jido:tuple": [...]}`; sets in a fixed order |
| complex | `{"$jido:complex": [1.0, -2.0]}` |
| int beyond 64 bits | `{"$jido:int": "0x8000000000000000"}` |
| nan, inf, -0.0, floats from 1e16 on | `{"$jido:float": "nan"}` |
| str with NUL or a lone surrogate | `{"$jido:str": "..."}`, these and backslashes as `\\uXXXX` |
| dict with keys that are no strings | `{"$jido:map": [[key, value], ...]}` |
| key that begins with `$jido:`, or as such a str | `"$jido:key:..."`, likewise; the dict stays an object |
| Enum, Flag | `{"$jido:enum": ["Color", "RED"]}`, of a Flag the value |
| registered class | `{"$jido:type": "Cart", "items": [...]}` |

`loads(dumps(x)) == x`, and every value in it has the type that it had. PostgreSQL's jsonb keeps no order of keys:
there, and only there, a dict with string keys comes back in another order. An object that stands in two places comes
back as two. Classes come from `register` alone: nothing is pickled, imported by a stored name, or evaluated.
"""

from jido_tortoise.codec.compare import same
from jido_tortoise.codec.decode import from_fields, loads, loads_each, loads_raw
from jido_tortoise.codec.encode import MAX_BYTES, MAX_DEPTH, canonical, dump_map, dump_maps, dumps, to_fields
from jido_tortoise.codec.registry import register
from jido_tortoise.codec.text import MARK

__all__ = [
    "MARK",
    "MAX_BYTES",
    "MAX_DEPTH",
    "canonical",
    "dump_map",
    "dump_maps",
    "dumps",
    "from_fields",
    "loads",
    "loads_each",
    "loads_raw",
    "register",
    "same",
    "to_fields",
]
