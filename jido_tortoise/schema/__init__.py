"""Our tables: their DDL, their upgrade, and whether they are what they should be."""

from jido_tortoise.schema.apps import apps
from jido_tortoise.schema.ddl import ddl, latest, statements
from jido_tortoise.schema.files import migrations_location, vendor
from jido_tortoise.schema.upgrade import AppUpgrade, Progress, UpgradeReport, create, upgrade
from jido_tortoise.schema.verify import diagnose, verify

__all__ = [
    "AppUpgrade",
    "Progress",
    "UpgradeReport",
    "apps",
    "create",
    "ddl",
    "diagnose",
    "latest",
    "migrations_location",
    "statements",
    "upgrade",
    "vendor",
    "verify",
]
