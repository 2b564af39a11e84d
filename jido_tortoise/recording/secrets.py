"""The shapes of secrets: what a redactor looks for when it is told nothing else.

Every pattern is linear in the length of a text, whatever the text is: what may repeat without a bound is either matched
possessively, or fails for good after a bounded number of characters, or leaves behind what it has looked at (see
`jwt_token`). tests/unit/test_redaction.py feeds each of them its worst texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of secret.

    When the expression has a group called `secret`, only a match in which that group takes part is one.
    """

    category: str
    regex: re.Pattern[str]


#: What stands between a name and its value, also in JSON, and in JSON within a JSON string.
_IS = r"""\\{0,3}["']?\s*+[:=]{1,2}+>?+\s*+"""
#: A value: in quotes up to the closing one, else up to the next space.
_VALUE = r"""(?:"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+'|\S++)"""


def _named(category: str, name: str) -> Pattern:
    """Answer the pattern of a name with a value, such as `password: hunter2`."""
    return Pattern(category, re.compile(f"(?:{name}){_IS}{_VALUE}", re.IGNORECASE))


def _token(category: str, expression: str, flags: int = 0) -> Pattern:
    return Pattern(category, re.compile(expression, flags))


DEFAULT_PATTERNS: tuple[Pattern, ...] = (
    # Clouds
    _token("aws_access_key", r"A(?:K|S)IA[0-9A-Z]{16}"),
    _named("aws_secret_key", r"aws[_-]?secret[_-]?access[_-]?key"),
    _token("gcp_api_key", r"AIza[0-9A-Za-z_-]{35}"),
    # Models
    _token("anthropic_key", r"sk-ant-(?:api|admin|oat|sid)[0-9A-Za-z_-]{16,}+"),
    _token("openai_key", r"sk-(?:proj|svcacct|admin)-[0-9A-Za-z_-]{20,}+"),
    _token("openai_legacy_key", r"sk-[0-9A-Za-z]{40,}+"),
    # Version control
    _token("github_pat", r"ghp_[0-9A-Za-z]{36}"),
    _token("github_oauth", r"gho_[0-9A-Za-z]{36}"),
    _token("github_app", r"gh[su]_[0-9A-Za-z]{36}"),
    _token("github_refresh", r"ghr_[0-9A-Za-z]{36}"),
    _token("github_fine_pat", r"github_pat_[0-9A-Za-z_]{22,}+"),
    _token("gitlab_token", r"glpat-[0-9A-Za-z_-]{20,}+"),
    # Authentication. What begins like a JWT is matched also when it is none, so that no second try begins inside it.
    _token(
        "jwt_token",
        r"eyJ[0-9A-Za-z_-]{10,}+(?P<secret>\.[0-9A-Za-z_-]{10,}+\.[0-9A-Za-z_-]{10,}+)?",
    ),
    _token("bearer_token", r"bearer\s++[0-9A-Za-z._~+/=-]{20,}+", re.IGNORECASE),
    # Names with values
    _named("password", r"password|passwd|pwd"),
    _named("api_key_generic", r"api[_-]?key"),
    _named("secret_key", r"secret[_-]?key"),
    _named("access_token", r"access[_-]?token"),
    _named("auth_token", r"auth[_-]?token"),
    _token(
        "connection_string",
        r"(?:postgres(?:ql)?|mysql|mariadb|rediss?|mongodb|amqps?|mssql)(?:\+[0-9a-z]{1,20})?://[^\s\"'<>]++",
        re.IGNORECASE,
    ),
    # With its lines, when they are there: the first line alone tells nothing.
    _token(
        "private_key",
        r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----"
        r"(?:(?:(?!-----).)*+-----END (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----"
        r"|(?:[\s\\rn]{0,4}+[0-9A-Za-z+/=]{16,}+)*+)",
        re.DOTALL,
    ),
    _named("env_secret", r"DATABASE_URL|REDIS_URL|SECRET_KEY_BASE|ENCRYPTION_KEY|PRIVATE_KEY"),
)

_NAMES = (
    r"(?:password|passwd|pwd|api[_-]?key|(?:aws[_-]?)?secret[_-]?(?:access[_-]?)?key|(?:access|auth)[_-]?token"
    r"|DATABASE_URL|REDIS_URL|SECRET_KEY_BASE|ENCRYPTION_KEY|PRIVATE_KEY)"
)
#: A value that has begun with a quote and is not closed at the end of the text.
OPEN_VALUE = re.compile(rf"""{_NAMES}{_IS}(?:"(?:[^"\\\n]|\\.)*+|'(?:[^'\\\n]|\\.)*+)\Z""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text that is a secret."""

    start: int
    end: int
    category: str


def find(text: str, patterns: tuple[Pattern, ...]) -> list[Span]:
    """Answer the secrets in a text from left to right; those that overlap are one, of the longest one's category."""
    found = [
        Span(match.start(), match.end(), pattern.category)
        for pattern in patterns
        for match in pattern.regex.finditer(text)
        if match.end() > match.start() and _counts(match)
    ]
    return found if len(found) < 2 else _merged(found)


def _counts(match: re.Match[str]) -> bool:
    return "secret" not in match.re.groupindex or match["secret"] is not None


def _merged(found: list[Span]) -> list[Span]:
    found.sort(key=lambda span: span.start)
    merged: list[Span] = []
    longest = 0
    for span in found:
        length = span.end - span.start
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            category = span.category if length > longest else last.category
            merged[-1] = Span(last.start, max(last.end, span.end), category)
            longest = max(longest, length)
        else:
            merged.append(span)
            longest = length
    return merged
