"""Reading the pickles in old databases of google-adk without executing anything.

A pickle is a program for a stack machine that imports and calls what it names. This machine only ever makes plain
values and records of fields: it imports nothing, calls no class of the pickle, and refuses whatever it does not know.
Names are compared as texts. Dates, decimals and the like, which are plain data, are made by our own hands.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

#: How many values a pickle may stand for: a few bytes of it can say "this list ten times" ten times over.
_MOST_VALUES = 200_000
_DEPTH = 100
#: Whose classes are records of fields, and whose enumerations are their values.
_RECORDS = ("google.", "fastapi.", "pydantic.")


class _Name(NamedTuple):
    """A class or function that a pickle names; nobody looks for it."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Record:
    """An object of a class that is nowhere: its fields."""

    def __init__(self, cls: _Name) -> None:
        self.cls = cls
        self.fields: dict[str, Any] = {}


_MARK = object()


def read_pickle(data: bytes) -> Any:
    """Answer the value of a pickle: dicts, lists, sets, tuples, plain values; an object is a dict of its fields.

    Fields that are None are left out, as google-adk leaves them out where it writes JSON.

    Raises:
        ValueError: It is no pickle, or has something in it that is no plain data; the message says what.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        return _Plain().of(machine.result())
    except ValueError:
        raise
    except (IndexError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"a broken pickle: {error!r}") from error


class _Machine:
    """The stack, the marks, and what was put aside."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        (value,) = self.stack
        return value

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in _IGNORED:
            pass
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            raise ValueError(f"the pickle has the instruction {name}, which plain data does not need")

    def marked(self) -> list[Any]:
        """Take everything down to the last mark."""
        place = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def taken(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("a broken pickle: it takes more than it has")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def put(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def push(self, value: Any) -> None:
        self.stack.append(value)


# -- instructions -------------------------------------------------------------------------------------------------

_IGNORED = frozenset({"PROTO", "FRAME", "STOP"})
_PUSHED = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
)


def _append(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is not list:
        raise ValueError("the pickle appends to what is no list")
    target.extend(values)


def _set_items(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is not dict:
        raise ValueError("the pickle sets items of what is no dict")
    target.update(zip(values[::2], values[1::2], strict=True))


def _add_items(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is not set:
        raise ValueError("the pickle adds to what is no set")
    target.update(values)


def _global(machine: _Machine, argument: Any) -> None:
    module, _, name = str(argument).partition(" ")
    machine.push(_Name(module, name))


def _stack_global(machine: _Machine, _: Any) -> None:
    module, name = machine.taken(2)
    machine.push(_Name(str(module), str(name)))


def _new(machine: _Machine, _: Any) -> None:
    cls, args = machine.taken(2)
    machine.push(_made(cls, args))


def _new_ex(machine: _Machine, _: Any) -> None:
    cls, args, named = machine.taken(3)
    if named:
        raise ValueError(f"the pickle makes a {cls} with arguments by name")
    machine.push(_made(cls, args))


def _reduce(machine: _Machine, _: Any) -> None:
    function, args = machine.taken(2)
    machine.push(_called(function, args))


def _build(machine: _Machine, _: Any) -> None:
    (state,) = machine.taken(1)
    target = machine.stack[-1]
    if isinstance(target, _Record):
        target.fields |= _fields(state, target.cls)
    elif isinstance(target, _Unmade):
        target.state = state
    else:
        raise ValueError(f"the pickle sets the state of a {type(target).__name__}")


def _forget(_: list[Any]) -> None:
    pass


def _memoize(machine: _Machine, _: Any) -> None:
    machine.put(len(machine.memo))


def _refer(machine: _Machine, number: Any) -> None:
    machine.push(machine.memo[int(number)])


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda machine, _: machine.push(_MARK),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "POP": lambda machine, _: _forget(machine.taken(1)),
    "POP_MARK": lambda machine, _: _forget(machine.marked()),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "LIST": lambda machine, _: machine.push(machine.marked()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.marked())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.taken(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.taken(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.taken(3))),
    "FROZENSET": lambda machine, _: machine.push(frozenset(machine.marked())),
    "BYTEARRAY8": lambda machine, data: machine.push(bytearray(data)),
    "APPEND": lambda machine, _: _append(machine, machine.taken(1)),
    "APPENDS": lambda machine, _: _append(machine, machine.marked()),
    "SETITEM": lambda machine, _: _set_items(machine, machine.taken(2)),
    "SETITEMS": lambda machine, _: _set_items(machine, machine.marked()),
    "ADDITEMS": lambda machine, _: _add_items(machine, machine.marked()),
    "MEMOIZE": _memoize,
    "PUT": lambda machine, number: machine.put(int(number)),
    "BINPUT": lambda machine, number: machine.put(number),
    "LONG_BINPUT": lambda machine, number: machine.put(number),
    "GET": _refer,
    "BINGET": _refer,
    "LONG_BINGET": _refer,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "NEWOBJ": _new,
    "NEWOBJ_EX": _new_ex,
    "REDUCE": _reduce,
    "BUILD": _build,
}

# -- objects ------------------------------------------------------------------------------------------------------


class _Unmade:
    """A plain value that gets its content by a state: a UUID."""

    state: Any = None


def _made(cls: Any, args: Any) -> Any:
    if cls == _Name("uuid", "UUID") and not args:
        return _Unmade()
    if isinstance(cls, _Name) and cls.module.startswith(_RECORDS) and not args:
        return _Record(cls)
    raise ValueError(f"the pickle makes a {cls}, which is no plain data")


def _called(function: Any, args: Any) -> Any:
    if not isinstance(function, _Name) or type(args) is not tuple:
        raise ValueError(f"the pickle calls {function!r}")
    if function in _PLAIN:
        if function.module in ("builtins", "__builtin__") and any(type(one) is int for one in args):
            raise ValueError(f"the pickle calls {function} with a number")  # which would be a size, of any size
        return _PLAIN[function](*args)
    if function.module.startswith(_RECORDS) and len(args) == 1 and type(args[0]) in (str, int):
        return args[0]  # a member of an enumeration, by its value
    raise ValueError(f"the pickle calls {function}, which is no plain data")


def _reconstructed(cls: Any, base: Any, state: Any) -> Any:
    if base not in (_Name("builtins", "object"), _Name("__builtin__", "object")) or state is not None:
        raise ValueError(f"the pickle makes a {cls} over a {base}")
    return _made(cls, ())


def _encoded(text: Any, encoding: Any) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"the pickle encodes as {encoding!r}")
    return str(text).encode("latin1")


def _dict_of(*args: Any) -> dict[Any, Any]:
    # An OrderedDict, or a defaultdict, whose factory nobody needs; their items follow.
    return dict(args[0]) if args and not isinstance(args[0], _Name) else {}


def _path_of(*parts: Any) -> str:
    text = "/".join(map(str, parts))
    return text[1:] if text.startswith("//") else text


def _timezone_of(offset: Any, *name: Any) -> timezone:
    return UTC if not offset else timezone(offset, *name)


_PLAIN: dict[_Name, Callable[..., Any]] = {
    _Name("datetime", "datetime"): datetime,
    _Name("datetime", "date"): date,
    _Name("datetime", "time"): time,
    _Name("datetime", "timedelta"): timedelta,
    _Name("datetime", "timezone"): _timezone_of,
    _Name("decimal", "Decimal"): lambda text: Decimal(str(text)),
    _Name("collections", "OrderedDict"): _dict_of,
    _Name("collections", "defaultdict"): _dict_of,
    _Name("copyreg", "_reconstructor"): _reconstructed,
    _Name("copy_reg", "_reconstructor"): _reconstructed,
    _Name("_codecs", "encode"): _encoded,
    **{
        _Name(module, name): made
        for module in ("builtins", "__builtin__")
        for name, made in (
            ("set", set),
            ("frozenset", frozenset),
            ("list", list),
            ("tuple", tuple),
            ("dict", dict),
            ("bytearray", bytearray),
            ("complex", complex),
            ("bytes", bytes),
        )
    },
    **{
        _Name(module, name): _path_of
        for module in ("pathlib", "pathlib._local")
        for name in ("PurePosixPath", "PosixPath")
    },
}


def _fields(state: Any, cls: _Name) -> dict[str, Any]:
    """Answer the fields of an object's state: a pydantic model's stand under `__dict__`."""
    if type(state) is not dict:
        raise ValueError(f"the state of a {cls} is no dict")
    inner = state.get("__dict__", state)
    extra = state.get("__pydantic_extra__") or {}
    if type(inner) is not dict or type(extra) is not dict:
        raise ValueError(f"the state of a {cls} is no dict of fields")
    return {**inner, **extra}


class _Plain:
    """Makes plain values of what the machine has made, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        self.count += 1
        if self.count > _MOST_VALUES or depth > _DEPTH:
            raise ValueError("the pickle stands for more than an event can hold")
        if isinstance(value, _Record):
            return {name: self.of(item, depth + 1) for name, item in value.fields.items() if item is not None}
        if isinstance(value, dict):
            return {self.of(key, depth + 1): self.of(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset) and not isinstance(value, _Name):
            return type(value)(self.of(item, depth + 1) for item in value)
        if isinstance(value, _Unmade):
            return UUID(int=value.state["int"])
        if value is _MARK or isinstance(value, _Name):
            raise ValueError(f"the pickle holds {value if value is not _MARK else 'a mark'}, which is no plain data")
        return value
