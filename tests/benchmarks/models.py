"""The tables of what ours is compared with, as a host would write them with the ORM."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model


class Bare(Model):
    """A payload and a number: the least that a row can be."""

    id = fields.BigIntField(primary_key=True)
    payload: Any = fields.JSONField()

    class Meta:
        table = "bench_bare"


class Keyed(Model):
    """A row that is overwritten as a whole."""

    key = fields.CharField(max_length=64, primary_key=True)
    data: Any = fields.JSONField()

    class Meta:
        table = "bench_keyed"


class Head(Model):
    """The head of a thread in the idiomatic version."""

    id = fields.CharField(max_length=255, primary_key=True)
    rev = fields.BigIntField(default=0)
    updated_at = fields.DatetimeField(auto_now=True)

    class Meta:
        table = "bench_heads"


class Row(Model):
    """An entry in the idiomatic version."""

    id = fields.BigIntField(primary_key=True)
    thread_id = fields.CharField(max_length=255)
    seq = fields.BigIntField()
    entry_id = fields.CharField(max_length=255)
    at = fields.DatetimeField(auto_now_add=True)
    kind = fields.CharField(max_length=255)
    payload: Any = fields.JSONField()
    refs: Any = fields.JSONField()

    class Meta:
        table = "bench_rows"
        unique_together = (("thread_id", "seq"), ("thread_id", "entry_id"))


class Snapshot(Model):
    """A whole thread in one row, written anew by every append."""

    id = fields.CharField(max_length=255, primary_key=True)
    rev = fields.BigIntField(default=0)
    entries: Any = fields.JSONField()

    class Meta:
        table = "bench_snapshots"
