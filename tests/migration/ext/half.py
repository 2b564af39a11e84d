"""The agents' models and one table more, for a step that fails half way."""

from jido_tortoise.agents import models
from jido_tortoise.agents.models import JidoCheckpoint, JidoThread, JidoThreadEntry

__all__ = ["COLUMNS", "MODELS", "JidoCheckpoint", "JidoThread", "JidoThreadEntry"]

MODELS = models.MODELS
COLUMNS = {**models.COLUMNS, "jido_half": {"id": 2}}
