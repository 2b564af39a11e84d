"""The transaction that a host opens for its own statements and ours: what happens inside is there together, or not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tortoise.backends.base.client import BaseDBAsyncClient

from jido_tortoise import database
from jido_tortoise.database import Db, resolve
from jido_tortoise.errors import AmbiguousConnectionError
from jido_tortoise.schema.apps import registered_families


@asynccontextmanager
async def transaction(connection: str | None = None) -> AsyncIterator[BaseDBAsyncClient]:
    """Make what the block does on a connection visible together or not at all, also when it is cancelled at any await.

    All that this task does on the connection inside belongs to it: queries of any models, and every operation of ours.
    Inside another transaction, of this kind or Tortoise's own, it is a savepoint, which an error undoes alone.

    What Tortoise's `in_transaction()` lacks: a cancellation at BEGIN or COMMIT leaves no lock and no connection
    behind, a COMMIT that fails leaves no transaction open, and SQLite's write lock is taken first, so that
    no transaction has to be given up half way because another one writes.

    Args:
        connection: An alias of the Tortoise config; None takes the one that our apps are registered with.

    Yields:
        Tortoise's client of the transaction, for SQL of your own (`execute_query`) and for `using_db=`, which models on
        this connection do not need.

    Raises:
        AmbiguousConnectionError: None was named, and our apps are on several.
        ConfigError: There is no such connection, or Tortoise is not initialised.
        StorageUnavailableError: The database was not there; its `outcome` says whether it may have committed.
    """
    failed: Exception | None = None
    try:
        async with database.transaction(_resolved(connection)) as inner:
            try:
                yield inner.client
            except Exception as error:
                failed = error
                raise
    except Exception:
        if failed is None:
            raise
    if failed is not None:  # as it was raised: to the host its own query's error is Tortoise's, here as anywhere
        raise failed


def _resolved(connection: str | None) -> Db:
    models = [family.model_classes()[0] for family in registered_families()]
    aliases = sorted({str(model._meta.default_connection) for model in models})
    if connection is None and len(aliases) > 1:
        raise AmbiguousConnectionError(
            f"our apps are on several connections, {aliases}: say transaction({aliases[0]!r})", connections=aliases
        )
    return resolve(connection, models[0])
