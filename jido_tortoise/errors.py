"""Every error that jido-tortoise raises.

    JidoError                        reason, facts as attributes, retryable
    ├── InvalidInputError            (ValueError) refused before the first write: path, expected, got
    │   ├── UnstorableError          a value that the codec has no form for
    │   ├── InvalidEntryError        an entry that is not one
    │   ├── InvalidRecordError       a session, run, event or artifact that is not one
    │   ├── InvalidTransitionError   a status that cannot follow the one that is there
    │   ├── InvalidStorageError      what was given is no storage
    │   └── InvalidAgentError        no agent, or an agent without an id
    ├── NotFoundError                (LookupError) nothing is stored under this key
    ├── ConflictError                another writer came first
    │   ├── AlreadyExistsError       it must not exist, and it does
    │   └── DuplicateEntryError      this id is stored already, with another content
    ├── ThawError                    a checkpoint that cannot become an agent
    │   ├── ThreadMismatchError      pointer and journal disagree under journal="exact"
    │   └── MissingThreadError       the pointer names a journal that is gone
    ├── CallbackError                the host's checkpoint or restore raised, or returned nonsense
    ├── CorruptRowError              a stored row that is malformed: table, key, path
    ├── CorruptContentError          content of an artifact that is not what was stored: key, expected, actual
    ├── ConfigError                  the host's Tortoise config lacks something: names the line to change
    │   ├── NotInitialisedError      Tortoise.init() was not called in this context
    │   ├── AppNotRegisteredError    our models are in no app of the config
    │   ├── ConnectionsClosedError   the connections of this context were closed
    │   ├── AmbiguousConnectionError several connections and none named
    │   └── UnsupportedDatabaseError neither SQLite nor PostgreSQL by asyncpg
    ├── SchemaError                  our tables are missing, old or foreign: names the cure
    ├── ProviderError                who should answer in a run does not, and will not when asked again
    │   └── ProviderUnavailableError (retryable) it may answer when it is asked again
    ├── RunStoppedError              a run that was ended from outside, before its answer
    └── StorageError                 the database said no
        ├── TransactionError         the transaction around the call cannot go on
        └── StorageUnavailableError  (retryable) nothing is wrong with the call: try again
            ├── StorageTimeoutError  no answer in time; the outcome is unknown
            └── StorageBusyError     deadlock, serialization failure, lock not available; nothing was written

`reason` is a stable name for programs; where the contract of Jido names one, it is that name. The driver's error is the
`__cause__`.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

#: A password in a URL, in its query, or in the dict of a connection; with what stands before it.
_PASSWORD = re.compile(r"""(://[^\s:/@'"]*:)[^\s]*(?=@)|([?&]password=)[^&\s'"]+|(['"]password['"]: )(['"]).*?\4""")
#: How much of a value is looked at before it is cut: its password may lie across the cut.
_LOOKED_AT = 2000


class JidoError(Exception):
    """The base of all errors of this library.

    Args:
        message: What happened and, where there is one, the cure.
        reason: A stable name; the class's own when not given.
        facts: Whatever a program may want to look at; each becomes an attribute.
    """

    reason: str = "error"
    #: True when the same call may succeed later without a change to it.
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, reason: str | None = None, **facts: Any) -> None:
        super().__init__(without_passwords(message))
        if reason is not None:
            self.reason = reason
        self.facts = facts

    def __getattr__(self, name: str) -> Any:
        # Only called for what is not an attribute yet; pickling asks before `facts` exists.
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(f"{type(self).__name__} has no fact {name!r}; it has {sorted(facts)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), str(self), self.reason, self.facts))


def _rebuild(cls: type[JidoError], message: str, reason: str, facts: dict[str, Any]) -> JidoError:
    return cls(message, reason=reason, **facts)


class InvalidInputError(JidoError, ValueError):
    """The call was refused before anything was written."""

    reason = "invalid_input"

    @classmethod
    def at(cls, path: str, expected: str, got: object, **facts: Any) -> InvalidInputError:
        """Build the error from where it is, what was expected there, and what stood there."""
        what = got if isinstance(got, _Said) else shown(got)
        return cls(f"{path}: expected {expected}, got {what}", path=path, expected=expected, got=got, **facts)


class _Said(str):
    """Text that describes a value and is printed as it is."""


def said(text: str) -> _Said:
    """Mark text that describes a value, so that `InvalidInputError.at` does not quote it."""
    return _Said(text)


def shown(value: object, most: int = 80) -> str:
    """Describe any value in a few words, for a message."""
    try:
        text = repr(value)
    except Exception:  # an int of more digits than Python prints, or a __repr__ of the host's that fails
        return f"a {type(value).__name__} that cannot be printed"
    text = without_passwords(text[:_LOOKED_AT]) + text[_LOOKED_AT:]
    return text if len(text) <= most else f"{text[:most]}... ({type(value).__name__})"


def without_passwords(text: str) -> str:
    """Answer a text with `***` for the passwords of the database URLs, and of the dicts of connections, in it."""
    if "://" not in text and "password" not in text:
        return text
    return _PASSWORD.sub(lambda found: f"{found[1] or found[2] or found[3]}***", text)


class UnstorableError(InvalidInputError):
    """A value that cannot be stored without losing something; `path` says which."""

    reason = "unstorable"


class InvalidEntryError(InvalidInputError):
    """An entry with a wrong or unknown field."""

    reason = "invalid_entry"


class InvalidRecordError(InvalidInputError):
    """A field of a recorded session, run, event or artifact that is not what it must be; `path` says which."""

    reason = "validation_error"


class InvalidTransitionError(InvalidInputError):
    """A status that cannot follow: `from_status`, `to_status`, and `allowed`, those that can."""

    reason = "invalid_transition"


class InvalidStorageError(InvalidInputError):
    """What was given as a storage is none."""

    reason = "invalid_storage"


class InvalidAgentError(InvalidInputError):
    """What was given is no agent (`invalid_agent`), or has no id (`missing_agent_id`)."""

    reason = "invalid_agent"


class NotFoundError(JidoError, LookupError):
    """Nothing is stored under this key."""

    reason = "not_found"


class ConflictError(JidoError):
    """Another writer was there first; load again and repeat."""

    reason = "conflict"


class AlreadyExistsError(ConflictError):
    """It was to be created, and it exists."""

    reason = "already_exists"


class DuplicateEntryError(ConflictError):
    """An entry id that is stored in this thread already, with another content or in another place."""

    reason = "duplicate_entry"


class ThawError(JidoError):
    """A checkpoint that cannot become an agent."""

    reason = "thaw_failed"


class ThreadMismatchError(ThawError):
    """The checkpoint's pointer and the journal are at different revisions."""

    reason = "thread_mismatch"


class MissingThreadError(ThawError):
    """The checkpoint points at a journal that does not exist."""

    reason = "missing_thread"


class CallbackError(JidoError):
    """The host's own callback failed: `checkpoint_callback_failed` or `restore_callback_failed`."""

    reason = "callback_failed"


class CorruptRowError(JidoError):
    """A stored row that is malformed; the rows beside it stay readable."""

    reason = "invalid_term"


class CorruptContentError(JidoError):
    """Content of an artifact that is not what was stored."""

    reason = "checksum_mismatch"


class ConfigError(JidoError):
    """The host's configuration lacks something; the message names the line to change."""

    reason = "config"


class NotInitialisedError(ConfigError):
    """Tortoise was not initialised in this context."""

    reason = "not_initialised"


class AppNotRegisteredError(ConfigError):
    """Our models are in no app of the Tortoise config."""

    reason = "app_not_registered"


class ConnectionsClosedError(ConfigError):
    """The connections of this Tortoise context were closed."""

    reason = "connections_closed"


class AmbiguousConnectionError(ConfigError):
    """There are several connections and none was named."""

    reason = "ambiguous_connection"


class UnsupportedDatabaseError(ConfigError):
    """Neither SQLite nor PostgreSQL through asyncpg."""

    reason = "unsupported_database"


class SchemaError(JidoError):
    """Our tables are missing, older than this library, or somebody else's."""

    reason = "schema"


class ProviderError(JidoError):
    """The provider of a run failed, and will again; `provider` names it, `provider_error` holds what it said."""

    reason = "provider_error"


class ProviderUnavailableError(ProviderError):
    """The provider is not there for now: `provider_unavailable`, `provider_timeout` or `provider_rate_limited`."""

    reason = "provider_unavailable"
    retryable = True


class RunStoppedError(JidoError):
    """A run was ended from outside: `run_cancelled`, `run_lost`, `policy_violation` or `tool_approval_requested`."""

    reason = "run_cancelled"


class StorageError(JidoError):
    """The database refused the statement."""

    reason = "storage"


class TransactionError(StorageError):
    """The transaction around this call is finished or aborted; roll it back."""

    reason = "transaction"


class StorageUnavailableError(StorageError):
    """The database is not there for now; `outcome` is "unknown" or "not_applied"."""

    reason = "storage_unavailable"
    retryable = True


class StorageTimeoutError(StorageUnavailableError):
    """The database did not answer within the timeout; whether it wrote is not known."""

    reason = "storage_timeout"


class StorageBusyError(StorageUnavailableError):
    """Another transaction was in the way; nothing was written."""

    reason = "storage_busy"
