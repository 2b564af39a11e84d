"""What a sandbox and the clients that Tortoise makes for it share, one for each connection of the config."""

from __future__ import annotations

from typing import Any

#: What frames statements.
_FRAMES = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")
#: What the drivers add by themselves.
_PLUMBING = ("PRAGMA", "SELECT PG_ADVISORY_UNLOCK_ALL", "SELECT LAST_INSERT_ROWID()", "--")
#: A connection's first statement of ours looks there for our tables.
_CATALOGS = ("sqlite_master", "pg_catalog", "pg_class")


class Statements:
    """The statements that ran while somebody listens."""

    def __init__(self) -> None:
        self.listeners: list[list[str]] = []

    def see(self, sql: str) -> None:
        """Take note of a statement."""
        for seen in self.listeners:
            seen.append(sql)


def is_frame(sql: str) -> bool:
    """Tell what begins, ends, tidies up, and looks once whether the tables are there, from what reads and writes."""
    return sql.lstrip().upper().startswith(_FRAMES) or is_plumbing(sql)


def is_plumbing(sql: str) -> bool:
    """Tell what opens and resets connections, and looks once whether the tables are there, from what a caller asks."""
    return sql.lstrip().upper().startswith(_PLUMBING) or any(catalog in sql for catalog in _CATALOGS)


class Lease:
    """One database of a sandbox."""

    def __init__(self, statements: Statements, template: bytes = b"") -> None:
        self.statements = statements
        #: What a database in memory begins with.
        self.template = template
        #: The clients that were made for it, in order.
        self.clients: list[Any] = []
        #: Whether a connection had to be closed in the middle of its work.
        self.busy = False

    def __deepcopy__(self, _: object) -> Lease:
        return self

    def stop(self) -> None:
        """Close whatever is open."""
        for client in self.clients:
            client.stop()
