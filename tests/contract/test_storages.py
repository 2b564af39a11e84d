"""The contract of a storage, kept by all of ours: in memory, SQLite in memory and in a file, and PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from jido_tortoise.agents.memory import InMemoryStorage
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise_testing.contract import MakeStorage, StorageContract


class TestTortoiseStorage(StorageContract):
    """Each handle is a TortoiseStorage of its own on the connection of the database."""

    @pytest.fixture
    def make_storage(self, db: Any) -> MakeStorage:
        return TortoiseStorage


class TestInMemoryStorage(StorageContract):
    """Both handles are given the same tables."""

    @pytest.fixture
    def make_storage(self) -> MakeStorage:
        tables = InMemoryStorage.Tables()
        return lambda: InMemoryStorage(tables)
