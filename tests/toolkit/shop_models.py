"""Models of a service, for the sandboxes: one refers to another, so the order in which they are emptied counts."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Customer(Model):
    """Whom an order refers to."""

    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=50)


class Order(Model):
    """Refers to a customer."""

    id = fields.IntField(primary_key=True)
    customer: fields.ForeignKeyRelation[Customer] = fields.ForeignKeyField("shop.Customer", on_delete=fields.RESTRICT)

    class Meta:
        table = "order"
