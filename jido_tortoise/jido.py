"""The front door: an object that knows its storage and, when bound, its partition."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from tortoise import Tortoise
from tortoise.connection import get_connection
from tortoise.context import TortoiseContext
from tortoise.exceptions import ConfigurationError

from jido_tortoise import checks
from jido_tortoise.agents import callbacks, care, persist
from jido_tortoise.agents.agent import AgentLike
from jido_tortoise.agents.care import Repair
from jido_tortoise.agents.home import fresh
from jido_tortoise.agents.keys import check_partition
from jido_tortoise.agents.persist import Journal
from jido_tortoise.agents.resolve import StorageLike, resolve_storage
from jido_tortoise.agents.storage import Listing, Page, Storage, ThreadHead
from jido_tortoise.agents.tortoise import TortoiseStorage
from jido_tortoise.database import require_drivers
from jido_tortoise.errors import ConfigError, InvalidInputError, NotFoundError
from jido_tortoise.host_config import Config, read_config
from jido_tortoise.schema import apps, create, verify

A = TypeVar("A", bound=AgentLike)


@dataclass(frozen=True, slots=True)
class Jido:
    """Agents over one storage; it opens nothing and holds nothing.

    Args:
        storage: A storage, something with a `.storage`, or a spec; TortoiseStorage() when None.
        partition: The partition that all its agents live in; None for none.
    """

    storage: Storage
    partition: str | None = None

    def __init__(self, storage: StorageLike = None, *, partition: str | None = None) -> None:
        found = TortoiseStorage() if storage is None else resolve_storage(storage)
        object.__setattr__(self, "storage", found)
        object.__setattr__(self, "partition", check_partition(partition))

    def bind(self, *, partition: str | None) -> Jido:
        """Answer the same for one partition."""
        return Jido(self.storage, partition=partition)

    # -- agents ---------------------------------------------------------------------------------------------------

    async def hibernate(self, agent: AgentLike, *, key: Any = None, force: bool = False) -> None:
        """Store the agent; see `persist.hibernate`. An agent without a partition joins the bound one."""
        self._place(agent)
        await persist.hibernate(self.storage, agent, key=key, force=force)

    async def thaw(self, cls: type[A], id: Any, *, key: Any = None, journal: Journal = "latest") -> A:
        """Answer the stored agent; see `persist.thaw`."""
        return await persist.thaw(self.storage, cls, id, partition=self.partition, key=key, journal=journal)

    async def thaw_or_new(
        self, cls: type[A], id: Any, *, key: Any = None, journal: Journal = "latest", state: Any = None
    ) -> A:
        """Answer the stored agent, or a new one when nothing is stored; only then is the given state used.

        A new one is guarded too: when two make it at once, the second to hibernate gets a ConflictError.
        """
        try:
            return await self.thaw(cls, id, key=key, journal=journal)
        except NotFoundError:
            agent = fresh(cls, id, self.partition, state)
        persist.remember_absent(self.storage, agent, key)
        return agent

    async def delete(self, cls: type[AgentLike], id: Any, *, key: Any = None) -> None:
        """Delete the agent's checkpoint and journal; see `care.delete_agent`."""
        await care.delete_agent(self.storage, cls, id, partition=self.partition, key=key)

    async def repair(self, cls: type[AgentLike], id: Any, *, key: Any = None) -> Repair:
        """Make an agent thaw again and say what was done; see `care.repair`."""
        return await care.repair(self.storage, cls, id, partition=self.partition, key=key)

    async def persist_schedule(self, agent: AgentLike, schedule: Mapping[str, Any], *, key: Any = None) -> None:
        """Store the scheduler manifest alone; see `care.persist_schedule`."""
        self._place(agent)
        await care.persist_schedule(self.storage, agent, schedule, key=key)

    async def list(self, cls: type[AgentLike] | None = None, *, limit: int = 100, after: str | None = None) -> Page:
        """Answer a page of what is stored in the bound partition (unbound: in all), oldest first.

        What was stored under a former name of the class, and never since, is listed under that name: by the storage's
        `list_checkpoints(agent_type="former-name")`.
        """
        name = cls.agent_type if cls is not None else None
        return await self._listing().list_checkpoints(
            agent_type=name, partition=self.partition, limit=limit, after=after
        )

    async def count(self, cls: type[AgentLike] | None = None) -> int:
        """Count what `list` lists."""
        name = cls.agent_type if cls is not None else None
        return await self._listing().count_checkpoints(agent_type=name, partition=self.partition)

    def _listing(self) -> Listing:
        care.need(self.storage, "list", "listing")
        return cast(Listing, self.storage)

    def _place(self, agent: Any) -> None:
        partition = getattr(agent, "partition", None)
        if self.partition is None or partition == self.partition:
            return
        if partition is not None:
            raise InvalidInputError.at("agent.partition", f"the bound one, {self.partition!r}", partition)
        callbacks.give(agent, "partition", self.partition)

    # -- journals -------------------------------------------------------------------------------------------------

    async def compact(self, cls: type[AgentLike], id: Any, *, keep: int) -> int:
        """Drop all but the last `keep` entries of an agent's journal; see `care.compact_agent`."""
        return await care.compact_agent(self.storage, cls, id, partition=self.partition, keep=keep)

    async def fork_thread(self, source: str, target: str, *, upto: int | None = None) -> ThreadHead:
        """Copy a journal under a new id; see `care.fork_thread`."""
        return await care.fork_thread(self.storage, source, target, upto=upto)

    # -- standing alone -------------------------------------------------------------------------------------------

    @staticmethod
    def connect(
        url: str, *, schema: str | None = None, partition: str | None = None
    ) -> AbstractAsyncContextManager[Jido]:
        """Initialise Tortoise for our models alone, upgrade (SQLite) or verify (PostgreSQL), close at the end.

        For scripts and tools; a service registers our apps in its own config.

        Args:
            url: A Tortoise database URL, such as `sqlite://agents.db` or `asyncpg://user@host/db`.
            schema: The PostgreSQL schema of our tables.
            partition: As in Jido.

        Raises:
            SchemaError: The PostgreSQL database lacks our tables, or has old ones.
        """
        checks.text(url, "url")
        return _connected(url, *_checked_place(schema, partition))

    @staticmethod
    def lifespan(
        config: Config, *, upgrade: bool = False, schema: str | None = None, partition: str | None = None
    ) -> AbstractAsyncContextManager[Jido]:
        """Open Tortoise from a service's own config, see that our tables fit, and close it at the end.

        For the lifespan of FastAPI, Starlette, Litestar and others whose requests run in tasks of their own: these find
        it as well, which is why a process has one at a time.

        Args:
            config: The service's Tortoise config: the dict, a TortoiseConfig, or "module.NAME".
            upgrade: Whether to bring our tables to the newest version; several workers may do so at once. They are
                verified otherwise.
            schema: The PostgreSQL schema of our tables.
            partition: As in Jido.

        Raises:
            SchemaError: Our tables are missing or old, or somebody else's; the message names the cure.
            ConfigError: The config is none, has no app of ours, or another one is open in this process.
        """
        checks.flag(upgrade, "upgrade")
        return _serving(read_config(config), upgrade, *_checked_place(schema, partition))


def _checked_place(schema: Any, partition: Any) -> tuple[str | None, str | None]:
    return None if schema is None else checks.text(schema, "schema"), check_partition(partition)


@asynccontextmanager
async def _connected(url: str, schema: str | None, partition: str | None) -> AsyncIterator[Jido]:
    config = read_config({"connections": {"default": url}, "apps": apps()})
    require_drivers(config["connections"])
    async with TortoiseContext():
        await Tortoise.init(config=config)
        if get_connection("default").capabilities.dialect == "sqlite":
            await create(schema=schema)
        else:
            await verify(schema=schema)
        yield Jido(TortoiseStorage(schema=schema), partition=partition)


@asynccontextmanager
async def _serving(
    settings: dict[str, Any], upgrade: bool, schema: str | None, partition: str | None
) -> AsyncIterator[Jido]:
    require_drivers(settings["connections"])
    async with TortoiseContext():
        try:
            await Tortoise.init(config=settings, _enable_global_fallback=True)
        except ConfigurationError as error:
            raise ConfigError(f"Tortoise cannot be opened: {error}") from error
        if upgrade:
            await create(schema=schema)
        else:
            await verify(schema=schema)
        yield Jido(TortoiseStorage(schema=schema), partition=partition)
