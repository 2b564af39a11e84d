"""Tables that the service keeps in a database of their own."""

from tortoise import fields
from tortoise.models import Model


class Letter(Model):
    """What was sent to a customer."""

    id = fields.IntField(primary_key=True)
    text = fields.TextField()
