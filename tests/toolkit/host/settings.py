"""The service's settings: a database that the tests must never touch."""

import jido_tortoise as jt

TORTOISE_ORM = {
    "connections": {"default": "sqlite://production.db"},
    "apps": {
        "shop": {"models": ["shop.models"], "default_connection": "default"},
        **jt.apps("agents", "adk", "recording"),
    },
}
