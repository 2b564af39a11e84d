"""The fixtures that are there to be overridden, for a whole run: it makes its databases once."""

import pytest


@pytest.fixture(scope="session")
def jido_models():
    """All the modules with models, found by whatever rule a service has."""
    return ["shop.models", "shop.archive"]


@pytest.fixture(scope="session")
def jido_db_config(jido_db_config, jido_models):
    """The service's config, with a second database for some of the models."""
    shop, archive = jido_models
    connections = {**jido_db_config["connections"], "archive": "sqlite://archive.db"}
    apps = {
        **jido_db_config["apps"],
        "shop": {"models": [shop], "default_connection": "default"},
        "archive": {"models": [archive], "default_connection": "archive"},
    }
    return {**jido_db_config, "connections": connections, "apps": apps}


@pytest.fixture(scope="session")
def jido_db_setup(jido_db_setup):
    """Every sandbox begins with a country."""

    async def fill(context):
        from shop.models import Country

        await Country.create(code="IS")

    jido_db_setup.add(fill)
    return jido_db_setup
