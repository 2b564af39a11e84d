"""Artifacts: what is known of them in the database, their content in stores, and the link between the two.

Content is written before its row and deleted after it: what a row names is there. Each artifact has content of its own,
so that a key that is used again never touches what it named before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from jido_tortoise import checks, codec, commits, telemetry, times
from jido_tortoise.database import Db, to_the_end, transaction
from jido_tortoise.driver_errors import ConstraintError
from jido_tortoise.errors import AlreadyExistsError, InvalidInputError, JidoError, NotFoundError
from jido_tortoise.recording import care_statements, port, rows
from jido_tortoise.recording.artifact_stores import ArtifactStore, Content, Stored, content_of, verified
from jido_tortoise.recording.entities import Artifact
from jido_tortoise.recording.reading import all_of
from jido_tortoise.recording.statements import ARTIFACT
from jido_tortoise.recording.store import SessionStore


@dataclass(frozen=True, slots=True)
class ArtifactStats:
    """What artifacts a session has, those aside that were deleted softly."""

    artifact_count: int
    total_bytes: int


class ArtifactRegistry:
    """The artifacts of sessions, in the table `asm_artifacts` and in stores of content.

    A cheap value. Inside a transaction of the host its rows are part of that, and content is deleted after the commit.

    Args:
        stores: A store of content or several, of different backends; the first takes new content. Without any, only
            rows can be kept.
        connection: An alias of the host's Tortoise config; None takes the one that our app is registered with.
        schema: The PostgreSQL schema of our tables; None leaves it to the search path.
        timeout: Seconds for each statement, waiting for a connection included; 30 when None.

    Raises:
        InvalidInputError: Something given is no store, or two are of one backend.
    """

    def __init__(
        self,
        stores: ArtifactStore | Iterable[ArtifactStore] = (),
        *,
        connection: str | None = None,
        schema: str | None = None,
        timeout: float | None = None,
    ) -> None:
        self.stores = stores_by_backend(stores)
        self._store = SessionStore(connection, schema, timeout)

    def __repr__(self) -> str:
        return f"ArtifactRegistry({[*self.stores.values()]!r}, connection={self._store.connection!r})"

    # -- writing --------------------------------------------------------------------------------------------------

    async def register(self, artifact: Artifact) -> Artifact:
        """Store what is known of an artifact whose content the caller has put away.

        Raises:
            AlreadyExistsError: Its key is taken by an artifact that is not deleted, or its id by any.
            NotFoundError: `session_not_found`: there is no such session.
            UnstorableError: Its metadata holds what cannot be stored.
        """
        port.value_of(artifact, Artifact, "artifact")
        with telemetry.operation("recording_register_artifact", artifact_id=artifact.id):
            await _insert(await self._store.connected(), artifact)
        return artifact

    async def put(
        self,
        key: str,
        content: Content,
        *,
        session_id: str | None = None,
        run_id: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> Artifact:
        """Store content, part by part, and what is known of it: both, or nothing.

        Args:
            key: Its name, unique among the artifacts that are not deleted.
            content: All of it, or its parts one after another.
            session_id: The session that it belongs to, and is deleted with.
            run_id: The run that made it.
            content_type: Such as `text/plain`.
            metadata: More about it.
            overwrite: Whether an artifact with this key is deleted for it.

        Raises:
            AlreadyExistsError: There is an artifact with this key, and `overwrite` was not said.
            NotFoundError: `session_not_found`: there is no such session.
            InvalidInputError: The content is none, or there is no store to take it.
            UnstorableError: The metadata holds what cannot be stored.
        """
        checks.flag(overwrite, "overwrite")
        made = Artifact(
            key=key,
            byte_size=0,
            checksum_sha256="0" * 64,
            storage_backend=self._first.backend,
            storage_ref="-",
            session_id=session_id,
            run_id=run_id,
            content_type=content_type,
            metadata={} if metadata is None else metadata,
        )
        made = replace(made, storage_ref=made.id)
        with telemetry.operation("recording_put_artifact", artifact_id=made.id) as span:
            db = await self._store.connected()
            rows.encode(made, ARTIFACT.columns, "artifact", db.dialect)  # refused before the content is written
            if not overwrite and await self._live(db, "keys", keys=[made.key]):
                raise _taken(made)
            try:
                stored = await self._first.put(made.storage_ref, content)
                made = replace(made, byte_size=stored.byte_size, checksum_sha256=stored.checksum_sha256)
                await self._link(db, made, overwrite)
            except BaseException:
                await to_the_end(self._discard_lost(db, made))
                raise
            span.set(byte_size=made.byte_size)
        return made

    async def _link(self, db: Db, made: Artifact, overwrite: bool) -> None:
        async with transaction(db) as inner:
            await self.discard_at_commit(inner, [made], undone=True)
            if overwrite:
                await self._forget(inner, made.key)
            await _insert(inner, made)

    async def _discard_lost(self, db: Db, made: Artifact) -> None:
        """Delete content whose row was not written; it stays where that cannot be known."""
        try:
            if not await self._live(db, "ids", ids=[made.id]):
                await self.discard([made])
        except JidoError:
            return

    async def delete(self, key: str) -> Artifact | None:
        """Delete an artifact softly: its row stays until retention takes it, its content goes with the commit.

        The key may be used again at once. Nothing happens when there is none.

        Returns:
            What was deleted.
        """
        checks.text(key, "key")
        with telemetry.operation("recording_delete_artifact"):
            db = await self._store.connected()
            async with transaction(db) as inner:
                return await self._forget(inner, key)

    async def _forget(self, db: Db, key: str) -> Artifact | None:
        given = {"key": key, "now": times.stored_time(times.now(), db.dialect)}
        found = await all_of(db, care_statements.soft_delete_artifact(db.schema, db.dialect), given, write=True)
        artifacts = artifacts_of(found, decode=rows.decode_deleted)
        await self.discard_at_commit(db, artifacts)
        return artifacts[0] if artifacts else None

    async def discard_at_commit(self, db: Db, artifacts: list[Artifact], *, undone: bool = False) -> None:
        """Delete content when the transaction has ended and its row is not live.

        Args:
            db: The transaction's connection.
            artifacts: Whose content.
            undone: Whether the content goes after a rollback too.
        """
        around = db.outermost

        async def look() -> commits.Then:
            live = {one.id for one in await self._live(around, "ids", ids=[one.id for one in artifacts])}
            return lambda: self.discard([one for one in artifacts if one.id not in live])

        if artifacts:
            commits.wait_for(around.client, look, (lambda: self.discard(artifacts)) if undone else None)

    async def discard(self, artifacts: Iterable[Artifact]) -> list[Artifact]:
        """Delete the content of artifacts that no row names any more, such as those of a deleted session.

        Returns:
            Those whose content is gone; not those of which no store was given.
        """
        gone = []
        for artifact in artifacts:
            store = self.stores.get(artifact.storage_backend)
            if store is not None:
                await store.delete(artifact.storage_ref)
                gone.append(artifact)
        return gone

    # -- reading --------------------------------------------------------------------------------------------------

    async def get_by_key(self, key: str) -> Artifact | None:
        """Answer what is known of an artifact; None when there is none, or it was deleted."""
        checks.text(key, "key")
        with telemetry.operation("recording_get_artifact"):
            found = await self._live(await self._store.connected(), "keys", keys=[key])
            return found[0] if found else None

    async def open(self, key: str) -> AsyncIterator[bytes]:
        """Answer the content of an artifact part by part; the last part comes only when the checksum is right.

        Raises:
            NotFoundError: `artifact_not_found`: there is none with this key. `not_found`: its content is gone.
            CorruptContentError: It is not what was stored.
            InvalidInputError: No store of its backend was given.
        """
        artifact = await self.get_by_key(key)
        if artifact is None:
            raise NotFoundError(f"there is no artifact {key!r}", reason="artifact_not_found", key=key)
        async for part in self.content(artifact):
            yield part

    async def get(self, key: str) -> bytes:
        """Answer the content of an artifact as a whole, as `open` does."""
        return await content_of(self.open(key))

    async def content(self, artifact: Artifact) -> AsyncIterator[bytes]:
        """Answer the content of an artifact that is known, as `open` does."""
        store = self.stores.get(artifact.storage_backend)
        if store is None:
            known = ", ".join(self.stores) or "none"
            raise InvalidInputError.at("stores", f"one of the backend {artifact.storage_backend!r}", known)
        parts = store.open(artifact.storage_ref)
        expected = Stored(artifact.byte_size, artifact.checksum_sha256)
        async for part in verified(parts, expected, artifact.key):
            yield part

    async def list_by_session(self, session_id: str) -> list[Artifact]:
        """Answer a session's artifacts that are not deleted, the oldest first."""
        checks.text(session_id, "session_id")
        with telemetry.operation("recording_list_artifacts", session_id=session_id):
            return await self._live(await self._store.connected(), "session_id", session_id=session_id)

    async def session_stats(self, session_id: str) -> ArtifactStats:
        """Count and sum up a session's artifacts that are not deleted."""
        given = {"session_id": checks.text(session_id, "session_id")}
        with telemetry.operation("recording_artifact_stats", session_id=session_id):
            db = await self._store.connected()
            ((count, total),) = await all_of(db, care_statements.artifact_stats(db.schema, db.dialect), given)
            return ArtifactStats(count, int(total))

    async def _live(self, db: Db, by: Literal["keys", "session_id", "ids"], **given: Any) -> list[Artifact]:
        # Under a savepoint: a host's transaction that is about to commit must not fail by our look.
        statement = care_statements.live_artifacts(by, db.schema, db.dialect)
        return artifacts_of(await all_of(db, statement, given, write=by == "ids" and db.in_transaction))

    @property
    def _first(self) -> ArtifactStore:
        for store in self.stores.values():
            return store
        raise InvalidInputError.at("stores", "a store for the content, such as FileArtifactStore", None)


async def _insert(db: Db, artifact: Artifact) -> None:
    row = rows.encode(artifact, ARTIFACT.columns, "artifact", db.dialect)
    try:
        await all_of(db, care_statements.register(db.schema, db.dialect), row, write=True)
    except ConstraintError as error:
        # The guard of the session names itself on both databases; all else that can be broken is unique.
        if "asm_artifacts_of_session" in str(error.__cause__):
            raise rows.missing("session", artifact.session_id) from error
        raise _taken(artifact) from error


def _taken(artifact: Artifact) -> AlreadyExistsError:
    return AlreadyExistsError(f"there is an artifact {artifact.key!r} already", key=artifact.key)


def artifacts_of(found: Iterable[Any], decode: Callable[..., Artifact] = rows.decode) -> list[Artifact]:
    """Make the artifacts of rows that were read."""
    names = [c.name for c in ARTIFACT.columns]
    named = (dict(zip(names, row, strict=True)) for row in found)
    return [decode(Artifact, ARTIFACT.columns, row, ARTIFACT.table) for row in named]


def raw_artifacts(found: Iterable[Any]) -> list[Artifact]:
    """Make the artifacts of rows that were read, without the host's classes."""
    return artifacts_of(found, partial(rows.decode, loads=codec.loads_raw))


def stores_by_backend(stores: Any) -> dict[str, ArtifactStore]:
    """Answer stores of content by their backends.

    Raises:
        InvalidInputError: Something is no store, or two are of one backend.
    """
    given = [stores] if isinstance(stores, ArtifactStore) else stores
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise InvalidInputError.at("stores", "a store of artifacts, or several", stores)
    by_backend: dict[str, ArtifactStore] = {}
    for at, store in enumerate(given):
        if not isinstance(store, ArtifactStore) or store.backend in by_backend:
            raise InvalidInputError.at(f"stores[{at}]", "a store of artifacts, the only one of its backend", store)
        by_backend[store.backend] = store
    return by_backend
