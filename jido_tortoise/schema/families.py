"""Every family that there is.

A new one is a module of frozen steps, a line here, its models and its migration files.
"""

from __future__ import annotations

from jido_tortoise.errors import InvalidInputError
from jido_tortoise.schema.adk import ADK
from jido_tortoise.schema.agents import AGENTS
from jido_tortoise.schema.recording import RECORDING
from jido_tortoise.schema.steps import Family

FAMILIES: dict[str, Family] = {family.name: family for family in (AGENTS, ADK, RECORDING)}


def family_named(name: object) -> Family:
    """Answer the family of that name.

    Raises:
        InvalidInputError: There is none.
    """
    if isinstance(name, str) and name in FAMILIES:
        return FAMILIES[name]
    raise InvalidInputError.at("family", f"one of {', '.join(FAMILIES)}", name)
