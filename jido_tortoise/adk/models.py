"""The tables of ADK sessions as Tortoise models, for the host's own queries; the store itself writes SQL.

Read through them as you like. Write through the store: it numbers the events and keeps events, session, user and app
state together. Tortoise knows no primary key of several columns, so that the contract's keys are unique constraints.
"""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model

from jido_tortoise.fields import CodecField


class AdkSession(Model):
    """The sessions, each the head of its events."""

    # Tortoise would make database comments of what is written here for readers, and each rewording a schema change.
    _no_comments = True

    #: Of no meaning beyond telling rows apart.
    pk_id = fields.BigIntField(primary_key=True, generated=True)
    app_name = fields.CharField(max_length=255)
    user_id = fields.CharField(max_length=255)
    #: The session's id, unique for app and user.
    id = fields.CharField(max_length=255)
    #: The session's own state; a JSON object.
    state = CodecField()
    #: Number of events ever appended; the next one gets this number.
    rev = fields.BigIntField()
    #: Number of the oldest event that is still there; equal to rev when none is.
    first_seq = fields.BigIntField()
    #: What has no column.
    extra = CodecField()
    inserted_at = fields.DatetimeField()
    #: The timestamp of the event that was appended last.
    updated_at = fields.DatetimeField()

    class Meta:
        table = "adk_sessions"
        unique_together = (("app_name", "user_id", "id"),)
        # Pages, of an app and of a user. The second does not begin with app and user: PostgreSQL without statistics
        # takes such an index for as good as the unique one, and an append would scan all sessions of the user.
        indexes = (("app_name", "updated_at", "pk_id"), ("user_id", "updated_at", "pk_id"))


class AdkEvent(Model):
    """The events of all sessions, which are inserted and deleted, but never updated."""

    _no_comments = True

    #: Of no meaning beyond telling rows apart.
    pk_id = fields.BigIntField(primary_key=True, generated=True)
    app_name = fields.CharField(max_length=255)
    user_id = fields.CharField(max_length=255)
    session_id = fields.CharField(max_length=255)
    #: Its number in the session, from 0 without a gap.
    seq = fields.BigIntField()
    #: The event's own id, unique within its session.
    id = fields.CharField(max_length=255)
    #: Of these five texts a column holds what it can; where that is not all of it, all of it stands in `extra`.
    invocation_id = fields.CharField(max_length=255, null=True)
    author = fields.CharField(max_length=255, null=True)
    branch = fields.TextField(null=True)
    error_code = fields.TextField(null=True)
    error_message = fields.TextField(null=True)
    #: `{"role": ..., "parts": [...]}`
    content = CodecField(null=True)
    #: Its `state_delta` has no `temp:` keys.
    actions = CodecField()
    custom_metadata = CodecField(null=True)
    usage_metadata = CodecField(null=True)
    citation_metadata = CodecField(null=True)
    grounding_metadata = CodecField(null=True)
    partial = fields.BooleanField()
    turn_complete = fields.BooleanField()
    interrupted = fields.BooleanField()
    #: A JSON array of strings.
    long_running_tool_ids = CodecField()
    timestamp = fields.DatetimeField()
    #: What has no column.
    extra = CodecField()

    class Meta:
        table = "adk_events"
        unique_together = (("app_name", "user_id", "session_id", "seq"), ("app_name", "user_id", "session_id", "id"))
        indexes = (("invocation_id",),)


class AdkAppState(Model):
    """The state that all sessions of an app share."""

    _no_comments = True

    app_name = fields.CharField(max_length=255, primary_key=True)
    #: Its keys have no prefix.
    state = CodecField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "adk_app_states"


class AdkUserState(Model):
    """The state that all sessions of a user in an app share."""

    _no_comments = True

    #: Of no meaning beyond telling rows apart.
    pk_id = fields.BigIntField(primary_key=True, generated=True)
    app_name = fields.CharField(max_length=255)
    user_id = fields.CharField(max_length=255)
    #: Its keys have no prefix.
    state = CodecField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "adk_user_states"
        unique_together = (("app_name", "user_id"),)


MODELS: tuple[type[Model], ...] = (AdkSession, AdkEvent, AdkAppState, AdkUserState)

for _model in MODELS:
    _model._meta.table_description = ""  # it came from the docstring: see `_no_comments`

#: By table, its columns and the version of the schema that each came with.
COLUMNS: dict[str, dict[str, int]] = {
    model._meta.db_table: dict.fromkeys(model._meta.fields_db_projection.values(), 1) for model in MODELS
}
