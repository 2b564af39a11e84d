"""Our apps in a host's Tortoise config: the block to add, and where the config has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from tortoise.context import get_current_context, require_context
from tortoise.models import Model

from jido_tortoise import checks
from jido_tortoise.errors import AppNotRegisteredError, ConfigError
from jido_tortoise.schema.families import FAMILIES, family_named
from jido_tortoise.schema.steps import Family


def apps(*families: str, connection: str = "default") -> dict[str, dict[str, Any]]:
    """Give the entries for the "apps" of a Tortoise config.

    They belong after the host's own: Aerich takes the first app when none is named.

    Args:
        families: Their names; "agents" when none is given.
        connection: The alias that they live on.

    Raises:
        InvalidInputError: There is no such family.
    """
    checks.text(connection, "connection")
    found = [family_named(name) for name in families or ("agents",)]
    return {
        family.label: {"models": [family.models], "default_connection": connection, "migrations": family.migrations}
        for family in found
    }


@dataclass(frozen=True, slots=True)
class Home:
    """Where a config has one of our families."""

    family: Family
    #: The label of the app that holds its models.
    label: str
    #: The connection of that app.
    alias: str
    #: The app under which Aerich's table lists our steps.
    listed_as: str
    #: The connection that has Aerich's table.
    listed_on: str


def find_homes(settings: Mapping[str, Any]) -> list[Home]:
    """Find the apps that hold models of ours, whatever their label and whatever else they hold.

    Raises:
        AppNotRegisteredError: None does.
    """
    models = {label: set(models_of(app["models"])) for label, app in settings["apps"].items()}
    homes = [
        _home(family, label, settings["apps"], models)
        for label, classes in models.items()
        for family in FAMILIES.values()
        if not classes.isdisjoint(family.model_classes())
    ]
    if not homes:
        raise AppNotRegisteredError(
            'no app of the Tortoise config has models of ours: add `**jido_tortoise.apps()` to its "apps", with the'
            f" names of the families that you want ({', '.join(FAMILIES)}; agents when there is none)"
        )
    return homes


def _home(family: Family, label: str, apps: Mapping[str, Any], models: Mapping[str, set[type[Model]]]) -> Home:
    alias = alias_of(apps[label])
    with_aerich = [alias_of(apps[other]) for other, classes in models.items() if any(map(is_aerich, classes))]
    listed_on = with_aerich[0] if with_aerich else alias
    return Home(family, label, alias, listed_as(family, label, models[label]), listed_on)


def listed_as(family: Family, label: str, classes: Iterable[type[Model]]) -> str:
    """Answer the app under which Aerich's table lists our steps.

    That is the host's label, so that plain `aerich --app LABEL` knows them. Where the app also holds models of the
    host, its list is the host's: a line of ours would be taken for the state of all its models.
    """
    alone = {model for model in classes if not is_aerich(model)} <= set(family.model_classes())
    return label if alone else family.label


def is_aerich(model: type[Model]) -> bool:
    """Tell Aerich's model of its table, without importing Aerich, which takes long."""
    return model.__module__ == "aerich.models"


def alias_of(app: Mapping[str, Any]) -> str:
    """Answer the connection of an app as Tortoise and Aerich find it."""
    return app.get("default_connection") or "default"


def models_of(modules: Iterable[str | ModuleType]) -> list[type[Model]]:
    """Answer the models that Tortoise would find in these modules; importing them, but without registering any.

    Raises:
        ConfigError: One cannot be imported.
    """
    found: list[type[Model]] = []
    for given in modules:
        module = _imported(given) if isinstance(given, str) else given
        names = getattr(module, "__models__", None) or [getattr(module, name) for name in dir(module)]
        found += [value for value in names if _is_model(value)]
    return found


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(f"an app of the Tortoise config names models in {name!r}: {error}") from error


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Model) and not value._meta.abstract


def registered_families() -> list[Family]:
    """Answer the families that the current Tortoise context has; the agents' when it has none, to be missed by name."""
    context = get_current_context()
    known = set() if context is None or context.apps is None else set(context.apps.get_models_iterable())
    found = [family for family in FAMILIES.values() if not known.isdisjoint(family.model_classes())]
    return found or [FAMILIES["agents"]]


def registered_home(family: Family, alias: str) -> Home:
    """Answer where the current Tortoise context has a family; Aerich's table is looked for on the same connection."""
    context = require_context()
    label = family.model_classes()[0]._meta.app or family.label
    classes = context.apps[label].values() if context.apps is not None and label in context.apps else ()
    return Home(family, label, alias, listed_as(family, label, classes), alias)
