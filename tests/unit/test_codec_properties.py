"""The codec's laws, on whatever Hypothesis thinks of, with and without orjson."""

from __future__ import annotations

import contextlib
import json
import math
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jido_tortoise import codec
from jido_tortoise.codec.decode import _CONTAINERS
from jido_tortoise.codec.scalars import DECODERS
from jido_tortoise.errors import CorruptRowError
from tests.codec_values import BACKENDS, exact, plain_json, texts, using, values

pytestmark = [pytest.mark.parametrize("backend", BACKENDS), pytest.mark.usefixtures("unmeasured")]
#: A run beside the whole one, of the same laws, may ask for fewer examples.
_SHARE = float(os.environ.get("JIDO_SHARE_OF_EXAMPLES", "1"))
many = settings(max_examples=round(100 * _SHARE), deadline=None, suppress_health_check=[HealthCheck.too_slow])


@many
@given(values)
def test_what_is_written_is_read_back_with_the_same_types(backend: str, value: Any) -> None:
    """The law of the codec: nothing that it accepts is changed."""
    with using(backend):
        assert exact(codec.loads(codec.dumps(value))) == exact(value)


@many
@given(values)
def test_bytes_are_read_as_text_is(backend: str, value: Any) -> None:
    """A driver may hand over either."""
    with using(backend):
        assert exact(codec.loads(codec.dumps(value).encode())) == exact(value)


@many
@given(values)
def test_the_text_is_fit_for_both_databases(backend: str, value: Any) -> None:
    """No NUL, no lone surrogate, no number that a database would spell as another."""
    with using(backend):
        written = codec.dumps(value)
    written.encode()
    assert "\0" not in written
    assert json.loads(written, parse_constant=pytest.fail) is not pytest.fail
    for string in _strings(json.loads(written)):
        assert "\0" not in string
        string.encode()


def _strings(tree: Any) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    inner = [*tree, *tree.values()] if isinstance(tree, dict) else tree if isinstance(tree, list) else []
    return [string for part in inner for string in _strings(part)]


@many
@given(values)
def test_orjson_reads_what_the_standard_library_wrote(backend: str, value: Any) -> None:
    """A host may install orjson, or lose it, and keep its rows."""
    with using("stdlib"):
        written = codec.dumps(value)
    with using(backend):
        assert exact(codec.loads(written)) == exact(value)
        other = codec.dumps(value)
    with using("stdlib"):
        assert exact(codec.loads(other)) == exact(value)


@many
@given(values)
def test_reordered_objects_are_read_alike(backend: str, value: Any) -> None:
    """PostgreSQL's jsonb sorts the keys of every object, those of the tags too."""
    with using(backend):
        reordered = json.dumps(json.loads(codec.dumps(value)), sort_keys=True)
        assert exact(codec.loads(reordered), ordered=False) == exact(value, ordered=False)


@many
@given(plain_json)
def test_json_is_stored_as_itself(backend: str, value: Any) -> None:
    """What JSON has is readable in SQL: no tag stands where none is needed."""
    with using(backend):
        written = codec.dumps(value)
        if "$jido:" not in written:
            assert codec.loads_raw(written) == value == json.loads(written)
    assert ("$jido:" in written) == (_needs_tag(value) or any("$jido:" in string for string in _strings(value)))


def _needs_tag(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_needs_tag, [*value, *value.values()]))
    if isinstance(value, list):
        return any(map(_needs_tag, value))
    if isinstance(value, str):
        return "\0" in value or any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, float):
        return not abs(value) < 1e16 or (value == 0 and math.copysign(1, value) < 0)
    return isinstance(value, int) and not -(2**63) <= value < 2**63


@many
@given(st.dictionaries(texts, values, max_size=4))
def test_a_map_stays_an_object(backend: str, value: dict[str, Any]) -> None:
    """`payload || delta` and `payload->'key'` work on the top level of whatever the host stores."""
    with using(backend):
        written = codec.dump_map(value, path="payload")
        assert list(codec.loads(written)) == list(value)
        assert exact(codec.loads(written)) == exact(value)
    assert len(json.loads(written)) == len(value)


@many
@given(values, st.randoms(use_true_random=False))
def test_canonical_text_does_not_depend_on_the_order_of_dicts(backend: str, value: Any, random: Any) -> None:
    """A dict key in another order is the same key, at every level and beneath every tag."""
    with using(backend):
        assert codec.canonical(_shuffled(value, random)) == codec.canonical(value)
        assert codec.canonical(codec.loads(codec.dumps(value))) == codec.canonical(value)


def _shuffled(value: Any, random: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)(_shuffled(item, random) for item in value)
    if type(value) is not dict:
        return value
    pairs = [(key, _shuffled(item, random)) for key, item in value.items()]
    random.shuffle(pairs)
    return dict(pairs)


@many
@given(values, values)
def test_canonical_texts_differ_when_the_values_do(backend: str, one: Any, other: Any) -> None:
    """Two keys meet in one row only when they are the same in value and type."""
    with using(backend):
        same = codec.canonical(one) == codec.canonical(other)
    assert same == (exact(one, ordered=False) == exact(other, ordered=False)) or _has_map(one)


def _has_map(value: Any) -> bool:
    """`exact` looks at the order of dicts with other keys, which `canonical` does not."""
    return "$jido:map" in codec.dumps(value)


#: Tags with anything at all inside.
marks = st.sampled_from(
    [*DECODERS, *_CONTAINERS, "$jido:type", "$jido:", "$jido:key:", "$jido:key:a", "$jido:key:\\u0000", "$jido:nothing"]
)
likely = (
    st.sampled_from(
        ["0x12", "nan", "-0x", "2026-01-01T00:00:00[Mars/Base]", "2026-01-01", "10:00", "NaN", "aGk=", "RED"]
    )
    | st.sampled_from(
        ["codec_tests_" + name for name in ("colour", "access", "line", "order", "open", "point", "names")]
    )
    | st.sampled_from([2**62, -1, 1.5, "\ud800", "\\ud800", '"', "../../etc/passwd", "__fields_set__"])
)
broken = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | likely,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(marks, inner, min_size=1, max_size=1)
        | st.dictionaries(
            marks | texts | st.sampled_from(["sku", "number", "__private__", "__extra__"]), inner, max_size=3
        )
        | st.fixed_dictionaries({"$jido:type": likely, "number": inner, "__fields_set__": inner})
        | st.tuples(likely, inner).map(lambda pair: {"$jido:enum": [*pair]})
    ),
    max_leaves=15,
)


@settings(many, max_examples=round(500 * _SHARE))
@given(broken)
@example({"$jido:set": [{"$jido:set": []}]})
@example({"$jido:map": [[[], 1]]})
@example({"$jido:timedelta": [10**18, 0, 0]})
@example({"$jido:decimal": "1e99999999999999999999"})
def test_any_tag_with_any_content_is_a_value_or_a_corrupt_row(backend: str, tree: Any) -> None:
    """Whatever stands in the database, no other exception reaches the host."""
    with using(backend), contextlib.suppress(CorruptRowError):
        value = codec.loads(json.dumps(tree))
        assert exact(codec.loads(codec.dumps(value))) == exact(value)


@settings(many, max_examples=round(300 * _SHARE))
@given(
    st.text(max_size=60) | st.text('{}[]":,0123456789eE+-.\\u$jidonul tre fas', max_size=60) | st.binary(max_size=40)
)
@example("[" * 100_000)
@example('{"$jido:tuple":' * 900 + "1" + "}" * 900)
@example("1" * 5000)
@example("1e999")
@example("\ud800")
@example('"\\ud800"')
@example("NaN")
@example("\ufeff1")
@example("")
@example(b"\xff")
def test_any_text_is_a_value_or_a_corrupt_row(backend: str, written: str | bytes) -> None:
    """A row that somebody else wrote, or a disk has damaged, is named and does no harm."""
    for load in (codec.loads, codec.loads_raw):
        with using(backend), contextlib.suppress(CorruptRowError):
            load(written)


@settings(many, max_examples=round(300 * _SHARE))
@given(
    st.text('{}[]":,0123456789eE+-.\\ud8 nul', max_size=30)
    | plain_json.map(json.dumps)
    | st.from_regex(r"-?[0-9]{1,400}(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
)
def test_both_libraries_read_foreign_json_alike(backend: str, written: str) -> None:
    """What an UPDATE in SQL has put there does not depend on what is installed."""
    assert _outcome(backend, written) == _outcome("stdlib", written)


def _outcome(backend: str, written: str) -> Any:
    with using(backend):
        try:
            return exact(codec.loads(written))
        except CorruptRowError as error:
            return error.path
