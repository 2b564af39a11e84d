"""Our tables: their DDL, their upgrade, and whether they are what they should be."""

from jido_tortoise.schema.ddl import ddl, latest, statements

__all__ = ["ddl", "latest", "statements"]
