"""Our tables: their SQL, their upgrade, and whether they are what they should be."""

from jido_tortoise.schema.ddl import ddl, latest

__all__ = ["ddl", "latest"]
