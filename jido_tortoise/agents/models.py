"""The tables of agents as Tortoise models, for the host's own queries; the storage itself writes SQL.

Read through them as you like. Write through the storage: it numbers the entries, moves the revisions and keeps
checkpoint and journal together, and a row made by hand breaks what it relies on. There are no relations, and the app's
label is the host's choice.
"""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model

from jido_tortoise.fields import CodecField


class JidoCheckpoint(Model):
    """What was stored last under each key."""

    # Tortoise makes database comments of what stands here for readers, and its tools a migration of each rewording.
    _no_comments = True

    #: SHA-256 of the key's canonical text, in hexadecimal.
    key_hash = fields.CharField(max_length=64, primary_key=True)
    #: The key as it was given; an agent's is a tuple of its type and id.
    key = CodecField()
    #: The agent's declared type; None where the data is no agent's.
    agent_type = fields.CharField(max_length=255, null=True)
    #: The agent's partition; None where it has none.
    partition = fields.CharField(max_length=255, null=True)
    #: The agent's id as text.
    agent_id = fields.CharField(max_length=255, null=True)
    #: The journal that the checkpoint points at.
    thread_id = fields.CharField(max_length=255, null=True)
    #: The revision of that journal when the checkpoint was stored.
    thread_rev = fields.BigIntField(null=True)
    #: What was stored: of an agent its `state`, the pointer `thread`, and what its checkpoint callback added.
    data = CodecField()
    #: 1 after the first write, one more after each.
    version = fields.BigIntField()
    #: Milliseconds since 1970 (UTC) of the first write.
    created_at_ms = fields.BigIntField()
    #: Milliseconds since 1970 (UTC) of the last write.
    updated_at_ms = fields.BigIntField()

    class Meta:
        table = "jido_checkpoints"
        indexes = (
            ("agent_type", "partition", "created_at_ms", "key_hash"),
            ("created_at_ms", "key_hash"),
            ("thread_id",),
        )


class JidoThread(Model):
    """The head of each journal."""

    _no_comments = True

    #: The journal's id.
    thread_id = fields.CharField(max_length=255, primary_key=True)
    #: Number of entries ever appended; the next one gets this number.
    rev = fields.BigIntField()
    #: Number of the oldest entry that is still there; equal to rev when none is.
    first_seq = fields.BigIntField()
    #: Given when the journal was made, and kept.
    metadata = CodecField()
    #: Milliseconds since 1970 (UTC) of the journal's making.
    created_at_ms = fields.BigIntField()
    #: Milliseconds since 1970 (UTC) of the last append.
    updated_at_ms = fields.BigIntField()

    class Meta:
        table = "jido_threads"


class JidoThreadEntry(Model):
    """The entries of all journals, which are inserted, trimmed and deleted, but never updated."""

    _no_comments = True

    #: Of no meaning beyond telling rows apart.
    id = fields.BigIntField(primary_key=True, generated=True)
    #: The journal it belongs to.
    thread_id = fields.CharField(max_length=255)
    #: Its number in the journal, from 0 without a gap.
    seq = fields.BigIntField()
    #: The entry's own id, unique within its journal.
    entry_id = fields.CharField(max_length=255)
    #: Milliseconds since 1970 (UTC) that the entry says.
    at_ms = fields.BigIntField()
    #: What kind of entry: "message", "note", ...
    kind = fields.CharField(max_length=255)
    #: What it says.
    payload = CodecField()
    #: What it refers to.
    refs = CodecField()

    class Meta:
        table = "jido_thread_entries"
        unique_together = (("thread_id", "seq"), ("thread_id", "entry_id"))


MODELS: tuple[type[Model], ...] = (JidoCheckpoint, JidoThread, JidoThreadEntry)
for _model in MODELS:
    _model._meta.table_description = ""  # it came from the docstring: see `_no_comments`

#: By table, its columns and the version of the schema that each came with.
COLUMNS: dict[str, dict[str, int]] = {
    model._meta.db_table: dict.fromkeys(model._meta.fields_db_projection.values(), 1) for model in MODELS
}
