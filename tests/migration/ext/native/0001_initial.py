"""The first version, as it is shipped."""

from importlib import import_module

from tests.migration.ext.two import install

install()
Migration = import_module("jido_tortoise.migrations.jido_agents.0001_initial").Migration
