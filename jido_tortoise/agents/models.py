"""The tables of agents, as Tortoise models: public, and open to the host's own queries.

Read with them as you like. Write through a storage: a row written past it may break a law that the storage keeps (numbers
without gaps, a pointer that points somewhere). Entries cannot be updated at all: the database refuses it.

No relations and no app label stand here, so that a host may register the models under any label.
"""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model

from jido_tortoise import codec


class CodecField(fields.JSONField[Any]):
    """A JSON column whose values are those of the codec; any value of it, also one that is a text or None."""

    # A column of SQLite's type JSON would turn the text 1.0 into the number 1.
    class _db_sqlite:
        SQL_TYPE = "TEXT"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(encoder=codec.dumps, decoder=codec.loads, **kwargs)

    def to_db_value(self, value: Any, instance: type[Model] | Model) -> str:
        """Answer the JSON text."""
        return codec.dumps(value)

    def to_python_value(self, value: Any) -> Any:
        """Answer the value of what the driver read; anything but a text has been decoded already."""
        return codec.loads(value) if isinstance(value, str | bytes) else value


class JidoCheckpoint(Model):
    """A stored value, most often an agent's state with the pointer to its journal."""

    #: SHA-256 of the canonical key, in hexadecimal.
    key_hash = fields.CharField(max_length=64, primary_key=True)
    key = CodecField()
    #: The agent's stored type, partition and id, for queries; None where the data is not an agent's.
    agent_type = fields.CharField(max_length=255, null=True)
    partition = fields.CharField(max_length=255, null=True)
    agent_id = fields.CharField(max_length=255, null=True)
    #: The journal it points at, and the revision it points to.
    thread_id = fields.CharField(max_length=255, null=True)
    thread_rev = fields.BigIntField(null=True)
    data = CodecField()
    #: 1 after the first write, one more after each.
    version = fields.BigIntField()
    #: Milliseconds since 1970 (UTC).
    created_at_ms = fields.BigIntField()
    updated_at_ms = fields.BigIntField()

    class Meta:
        table = "jido_checkpoints"
        indexes = (("agent_type", "partition", "created_at_ms", "key_hash"), ("created_at_ms", "key_hash"), ("thread_id",))


class JidoThread(Model):
    """The head of a journal."""

    thread_id = fields.CharField(max_length=255, primary_key=True)
    #: Number of entries ever appended; the next one gets this number.
    rev = fields.BigIntField()
    #: Number of the oldest entry that is still there.
    first_seq = fields.BigIntField()
    metadata = CodecField()
    #: Milliseconds since 1970 (UTC).
    created_at_ms = fields.BigIntField()
    updated_at_ms = fields.BigIntField()

    class Meta:
        table = "jido_threads"


class JidoThreadEntry(Model):
    """One entry of a journal."""

    id = fields.BigIntField(primary_key=True)
    thread_id = fields.CharField(max_length=255)
    seq = fields.BigIntField()
    #: Given by the caller or made once; unique within its thread.
    entry_id = fields.CharField(max_length=255)
    #: Milliseconds since 1970 (UTC).
    at_ms = fields.BigIntField()
    kind = fields.CharField(max_length=255)
    payload = CodecField()
    refs = CodecField()

    class Meta:
        table = "jido_thread_entries"
        unique_together = (("thread_id", "seq"), ("thread_id", "entry_id"))


#: What a storage needs to find: table -> names of its columns.
COLUMNS: dict[str, frozenset[str]] = {
    model._meta.db_table: frozenset(model._meta.fields_db_projection.values())
    for model in (JidoCheckpoint, JidoThread, JidoThreadEntry)
}
