"""What is taken out of a recording, what is left in it, and that no text makes it slow."""

from __future__ import annotations

import random
import re
import time
from typing import Any

import pytest

from jido_tortoise.errors import InvalidInputError
from jido_tortoise.recording.redacted_stream import MOST_HELD, RedactedStream
from jido_tortoise.recording.redaction import Redactor
from jido_tortoise.recording.secrets import DEFAULT_PATTERNS

# Made up in the shape of the real ones, in two halves so that no scanner takes this file for a leak.
SECRETS = {
    "aws_access_key": "AKIA" + "IOSFODNN7EXAMPLE",
    "aws_secret_key": "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "gcp_api_key": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "anthropic_key": "sk-ant-" + "api03-abcdefghijkl_mnopqrst-uvwx",
    "openai_key": "sk-proj-" + "abcdefghijkl-mnopqrst_uvwx",
    "openai_legacy_key": "sk-" + "a1B2" * 12,
    "github_pat": "ghp_" + "aBcDeFgHi" * 4,
    "github_oauth": "gho_" + "aBcDeFgHi" * 4,
    "github_app": "ghs_" + "aBcDeFgHi" * 4,
    "github_refresh": "ghr_" + "aBcDeFgHi" * 4,
    "github_fine_pat": "github_pat_" + "11ABCDEFGHIJKLMNOPQRST_uvwxyz",
    "gitlab_token": "glpat-" + "abcdefghij-klmnopqrst",
    "jwt_token": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9",
    "bearer_token": "Bearer " + "abcdefghijklmnopqrstuvwxyz123456",
    "password": "PASSWORD: supersecret123",
    "api_key_generic": "api-key=k12345678901234567890",
    "secret_key": "secret_key = my_super_secret_value",
    "access_token": "access_token = my_access_token_value_123",
    "auth_token": "authToken = my_auth_token_value_456",
    "connection_string": "postgresql+asyncpg://user:pass@localhost:5432/mydb",
    "private_key": "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEowIBAAKCAQEA75\nabc=\n-----END RSA PRIVATE " + "KEY-----",
    "env_secret": "ENCRYPTION_KEY=c2VjcmV0",
}


def test_there_are_the_22_kinds_of_the_contract() -> None:
    """Each has a test below, under its name."""
    assert [pattern.category for pattern in DEFAULT_PATTERNS] == list(SECRETS)
    assert len(DEFAULT_PATTERNS) == 22


@pytest.mark.parametrize("category", SECRETS)
def test_each_kind_is_found_within_a_text(category: str) -> None:
    """The secret goes, the words around it stay, and it is counted once, under its own name."""
    found = Redactor(categorised=True).text(f"zuerst ü {SECRETS[category]} danach")
    assert found.value == f"zuerst ü [REDACTED:{category}] danach"
    assert found.count == 1


@pytest.mark.parametrize(
    "text",
    ["ghp_short", "sk-ant-api03", "the password is long", "a bearer of news", "eyJhbGciOiJIUzI1NiJ9.x.y", "key: value"],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    """Too short, or without a value."""
    assert Redactor().text(text).value == text


@pytest.mark.parametrize("sign", [":", "=", "=>", ":=", "==", " : ", " => ", "::"])
def test_a_value_is_a_secret_whatever_stands_before_it(sign: str) -> None:
    """Ruby and Elixir write a name and a value with an arrow, Go with a colon and a sign: the sign is no value."""
    for name in ("password", "api_key", '"secret-key"', "ACCESS_TOKEN", "aws_secret_access_key", "DATABASE_URL"):
        assert Redactor().text(f"a {name}{sign}hunter2 b").value.removesuffix(" b").endswith("[REDACTED]")
        assert Redactor().text(f'a {name}{sign}"hunter 2" b').count == 1
        assert "hunter" not in Redactor().text(f'a {name}{sign} "hunter 2" b').value


def test_json_within_a_text_loses_its_value_and_no_more() -> None:
    """The output of a tool is often JSON: the fields beside the secret stay, also when it is quoted twice."""
    redactor = Redactor(replacement="*")
    assert redactor.text('{"password": "hunter two", "user": "ann"}').value == '{"*, "user": "ann"}'
    assert "hunter" not in redactor.text('{"a": "{\\"api_key\\": \\"hunter\\"}"}').value


def test_secrets_that_overlap_are_one() -> None:
    """A connection string as the value of a variable is one secret; three apart are three."""
    redactor = Redactor(categorised=True)
    assert redactor.text("DATABASE_URL=postgres://u:p@h/db").value == "[REDACTED:env_secret]"
    three = redactor.text(" ".join(SECRETS[name] for name in ("aws_access_key", "password", "bearer_token")))
    assert three.count == 3


def test_own_patterns_join_or_replace_the_default_ones() -> None:
    """A pair, a Pattern or a bare expression; what is none of them is refused at once."""
    own = ("ours", re.compile(r"MYCO_[A-Z]{4}"))
    both = f"MYCO_ABCD {SECRETS['github_pat']}"
    assert Redactor([own], categorised=True).text(both).value == "[REDACTED:ours] [REDACTED:github_pat]"
    assert Redactor([own[1]], defaults=False).text(both).value == f"[REDACTED] {SECRETS['github_pat']}"
    with pytest.raises(InvalidInputError, match=r"patterns\[0\]"):
        Redactor(["MYCO"])  # type: ignore[list-item]


def _nested(depth: int, value: Any = SECRETS["password"]) -> Any:
    for _ in range(depth):
        value = {"in": value}
    return value


def test_a_deep_scan_goes_ten_deep_and_changes_only_texts() -> None:
    """Maps, lists, tuples and sets keep their types; numbers, bytes and None are what they were."""
    secret = SECRETS["password"]
    data = {
        "tool_output": secret,
        "list": [{"a": (secret, 1)}, {secret}],
        "n": 1,
        "none": None,
        "raw": secret.encode(),
        "deep": _nested(10),
        "deeper": _nested(11),
    }
    found = Redactor(replacement="*").data("tool_call_completed", data)
    assert found.value == {
        "tool_output": "*",
        "list": [{"a": ("*", 1)}, {"*"}],
        "n": 1,
        "none": None,
        "raw": secret.encode(),
        "deep": _nested(10, "*"),
        "deeper": _nested(11),
    }
    assert (found.count, found.fields) == (4, ("tool_output", "list", "deep"))
    assert data["tool_output"] == secret, "the caller's map was changed"
    assert Redactor(max_depth=None).data("tool_call_completed", {"x": _nested(50)}).count == 1


def test_without_a_deep_scan_only_known_fields_are_looked_at() -> None:
    """The fields that the type is known to have, and what lies in them."""
    secret = SECRETS["password"]
    data = {"content": [{"text": secret}], "extra": secret}
    found = Redactor(replacement="*", deep_scan=False).data("message_received", data)
    assert found.value == {"content": [{"text": "*"}], "extra": secret}
    assert Redactor(deep_scan=False).data("of_the_future", data).value == data


def test_metadata_only_when_asked_and_some_types_never() -> None:
    """Types without anybody's text are passed by."""
    data, metadata = {"x": SECRETS["password"]}, {"y": SECRETS["password"]}
    assert [found.count for found in Redactor().event("tool_call_completed", data, metadata)] == [1, 0]
    scanning = Redactor(scan_metadata=True)
    assert [found.count for found in scanning.event("tool_call_completed", data, metadata)] == [1, 1]
    assert [found.count for found in scanning.event("session_created", data, metadata)] == [0, 0]


_WORST = [
    "eyJ" * 35_000,
    "eyJaaaaaaaaaaa." * 7_000,
    "password" * 13_000,
    "password" + " " * 100_000,
    "password = " * 9_000,
    'password="\\"' * 8_500,
    "password='a\"" * 8_500,
    "sk-" + "a-" * 50_000,
    "sk-ant-api" * 10_000,
    "bearer " * 14_000,
    "bearer" + "\t" * 100_000,
    "postgres+" * 11_000,
    "postgres://" * 9_000,
    "-----BEGIN PRIVATE KEY-----" * 3_500,
    "-----BEGIN PRIVATE KEY-----" + "A\n" * 50_000,
    "aws_secret_access" * 6_000,
    "\\" * 100_000,
    "a" * 100_000,
]


@pytest.mark.parametrize("text", _WORST, ids=lambda text: text[:14].strip())
def test_no_text_takes_longer_than_its_length_allows(text: str) -> None:
    """A text four times as long takes about four times as long: a quadratic pattern would take sixteen times."""

    def seconds(size: int) -> float:
        return min(_timed(text[:size]) for _ in range(3))

    short, long = seconds(len(text) // 4), seconds(len(text))
    assert long < max(9 * short, 0.3), f"{short:.4f} s, then {long:.4f} s"


def _timed(text: str) -> float:
    started = time.process_time()
    Redactor().text(text)
    return time.process_time() - started


# -- a text that comes in pieces ------------------------------------------------------------------------------------


def _in_pieces(text: str, cuts: random.Random, redactor: Redactor) -> tuple[str, int, list[int]]:
    stream: RedactedStream[int] = RedactedStream(redactor)
    out: list[tuple[str, int, int]] = []
    at = number = 0
    while at < len(text):
        size = cuts.randint(1, 9)
        out += stream.push(text[at : at + size], number)
        at, number = at + size, number + 1
    out += stream.end()
    return "".join(part for part, _, _ in out), sum(count for _, count, _ in out), [piece for *_, piece in out]


@pytest.mark.parametrize("category", [*SECRETS, "quoted", "cut key"])
def test_a_secret_is_found_across_pieces(category: str) -> None:
    """However it is cut, the same is taken out as from the whole text, and each piece comes out once, in order."""
    own = {
        "quoted": 'the "api_key": "one two three four five" and more',
        "cut key": "-----BEGIN PRIVATE " + "KEY-----\nMIIEowIBAAKCAQEA75MIIEowIBAAKCAQEA75",
    }
    text = f"some words before {own.get(category) or SECRETS[category]} and then a few words after it"
    redactor = Redactor(categorised=True)
    whole = redactor.text(text)
    for seed in range(20):
        left, count, pieces = _in_pieces(text, random.Random(seed), redactor)
        assert (left, count) == (whole.value, whole.count)
        assert pieces == list(range(len(pieces)))


def test_ordinary_words_are_held_for_a_moment_only() -> None:
    """What cannot become a secret any more goes on: at most a few words are held."""
    stream: RedactedStream[int] = RedactedStream(Redactor())
    for number in range(100):
        released = stream.push("word ", number)
        assert [piece for *_, piece in released] == ([number - 3] if number >= 3 else [])


def test_nothing_is_held_without_a_bound() -> None:
    """A text without a space, longer than any secret, goes on when the limit is reached."""
    stream: RedactedStream[int] = RedactedStream(Redactor())
    released = [piece for number in range(40) for *_, piece in stream.push("x" * 1000, number)]
    assert len(released) >= 40 - MOST_HELD // 1000 - 1


@pytest.mark.parametrize("option", ["defaults", "categorised", "deep_scan", "scan_metadata"])
def test_an_option_is_true_or_false(option: str) -> None:
    """Nobody takes `deep_scan="no"` for a scan that is deep, nor `defaults=None` for the default."""
    for wrong in ("no", 1, None):
        with pytest.raises(InvalidInputError) as caught:
            Redactor(**{option: wrong})
        assert caught.value.path == option
