"""Five tables of a host, which make eight with ours."""

from __future__ import annotations

from tortoise import fields
from tortoise.models import Model


class Customer(Model):
    """Whom the others refer to."""

    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=50)


class Address(Model):
    """Refers to a customer."""

    id = fields.IntField(primary_key=True)
    customer: fields.ForeignKeyRelation[Customer] = fields.ForeignKeyField("shop.Customer")


class Order(Model):
    """Refers to a customer."""

    id = fields.IntField(primary_key=True)
    customer: fields.ForeignKeyRelation[Customer] = fields.ForeignKeyField("shop.Customer")


class Line(Model):
    """Refers to an order."""

    id = fields.IntField(primary_key=True)
    order: fields.ForeignKeyRelation[Order] = fields.ForeignKeyField("shop.Order")


class Note(Model):
    """Refers to nothing."""

    id = fields.IntField(primary_key=True)
    text = fields.TextField()


MODELS = [Customer, Address, Order, Line, Note]
