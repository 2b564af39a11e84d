"""The kind of column that all our models share."""

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
        # Tortoise's own encoder depends on whether orjson is installed, and loses what JSON lacks.
        super().__init__(encoder=codec.dumps, decoder=codec.loads, **kwargs)

    def to_db_value(self, value: Any, instance: type[Model] | Model) -> str:
        """Answer the JSON text."""
        return codec.dumps(value)

    def to_python_value(self, value: Any) -> Any:
        """Answer the value of what the driver read; anything but a text has been decoded already."""
        return codec.loads(value) if isinstance(value, str | bytes) else value
