"""The service's own tables."""

from tortoise import fields
from tortoise.models import Model


class Country(Model):
    """Where the shop delivers to."""

    code = fields.CharField(max_length=2, primary_key=True)


class Customer(Model):
    """Whom an agent serves."""

    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=50)


class Order(Model):
    """What a customer bought."""

    id = fields.IntField(primary_key=True)
    customer = fields.ForeignKeyField("shop.Customer", on_delete=fields.RESTRICT)
    total = fields.DecimalField(max_digits=10, decimal_places=2)
