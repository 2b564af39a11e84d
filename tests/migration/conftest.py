"""Databases and hosts for the tests of migrations."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.hosts import Host, Place, make_host


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    """Give an empty database, once a SQLite file and once PostgreSQL."""
    fixture = "sqlite_url" if request.param == "sqlite" else "pg_url"
    return Place(request.param, request.getfixturevalue(fixture))


@pytest.fixture
def pg_place(pg_url: str) -> Place:
    """Give an empty PostgreSQL database."""
    return Place("postgres", pg_url)


@pytest.fixture
def sqlite_place(sqlite_url: str) -> Place:
    """Give a SQLite file that is not there yet."""
    return Place("sqlite", sqlite_url)


@pytest.fixture
def host(place: Place, tmp_path: Path) -> Host:
    """Give a project with an app of its own and ours, on an empty database."""
    return make_host(tmp_path / "host", place)
