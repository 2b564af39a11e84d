"""Storages that break checkpoints, compare-and-set and keys."""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jido_tortoise import codec, seams
from jido_tortoise.errors import ConflictError, InvalidInputError, NotFoundError

from .cage import Broken, Method, add, answering, caught_by, conflict, instead, replace

# -- checkpoints ------------------------------------------------------------------------------------------------------


async def _or_raise(storage: Broken, real: Method, key: Any) -> Any:
    found = await real(key)
    if found is None:
        raise NotFoundError("nothing there")
    return found


async def _forgets(storage: Broken, real: Method, key: Any, data: Any, **guard: Any) -> Any:
    stored = await real(key, data, **guard)
    await storage.inner.delete_checkpoint(key)
    return stored


async def _merges(storage: Broken, real: Method, key: Any, data: Any, **guard: Any) -> Any:
    old = await storage.inner.get_checkpoint(key)
    if isinstance(data, dict) and old is not None and isinstance(old.data, dict):
        data = old.data | data
    return await real(key, data, **guard)


async def _nothing(*_: Any, **__: Any) -> None:
    return None


async def _delete_or_raise(storage: Broken, real: Method, key: Any) -> None:
    if await storage.inner.get_checkpoint(key) is None:
        raise NotFoundError("nothing there")
    await real(key)


async def _deletes_by_prefix(storage: Broken, real: Method, key: Any) -> None:
    for item in (await storage.inner.list_checkpoints()).items:
        if isinstance(key, str) and isinstance(item.key, str) and item.key.startswith(key):
            await real(item.key)
    await real(key)


async def _none_is_nothing(storage: Broken, real: Method, key: Any) -> Any:
    found = await real(key)
    return found if found is not None and found.data is not None else None


async def _empty_is_none(storage: Broken, real: Method, key: Any, data: Any, **guard: Any) -> Any:
    return await real(key, data or None, **guard)


instead("RaisesForMissing", "get_checkpoint", "missing_checkpoint_is_none", _or_raise)
instead("ForgetsWhatWasPut", "put_checkpoint", "put_is_there data_outlives_its_handle", _forgets)
instead("MergesWithTheOld", "put_checkpoint", "put_overwrites", _merges)
instead("NeverDeletes", "delete_checkpoint", "delete_removes_the_checkpoint deleted_is_nothing", _nothing)
instead("CannotDeleteNothing", "delete_checkpoint", "deleting_no_checkpoint_is_no_error", _delete_or_raise)
instead("DeletesByPrefix", "delete_checkpoint", "delete_of_a_checkpoint_leaves_the_others", _deletes_by_prefix)
instead("TakesNoneForNothing", "get_checkpoint", "stored_none_is_a_checkpoint", _none_is_nothing)
instead("StoresEmptyAsNone", "put_checkpoint", "empty_data_is_kept", _empty_is_none)
answering(
    "AnswersAnotherTime",
    "put_checkpoint",
    "put_answers_what_is_stored",
    lambda found: replace(found, updated_at=seams.to_datetime(77)),
)
answering(
    "CountsNoVersions",
    "put_checkpoint",
    "version_counts_the_writes put_answers_what_is_stored",
    lambda found: replace(found, version=1),
)
answering(
    "AnswersNaiveTimes",
    "put_checkpoint",
    "times_are_those_of_the_writes",
    lambda found: replace(found, created_at=datetime(2026, 1, 1), updated_at=datetime(2026, 1, 1)),
)
answering(
    "MovesTheTimeOfCreation",
    "put_checkpoint",
    "overwrite_moves_only_updated_at",
    lambda found: replace(found, created_at=found.updated_at),
)
answering(
    "MovesTimesBack",
    "put_checkpoint",
    "checkpoint_time_never_goes_back",
    lambda found: replace(found, updated_at=seams.to_datetime(seams.now_ms())),
)


@caught_by("versions_are_counted_by_key")
class CountsVersionsOfAllKeysTogether(Broken):
    """The version is a counter of the whole storage."""

    async def put_checkpoint(self, key: Any, data: Any, *, expected_version: int | None = None) -> Any:
        self.shared.count = getattr(self.shared, "count", 0) + 1
        return replace(await self.inner.put_checkpoint(key, data), version=self.shared.count)


@caught_by("deleted_key_starts_anew deleted_is_nothing")
class RemembersTheVersionsOfDeleted(Broken):
    """A key that was deleted goes on from its old version."""

    async def delete_checkpoint(self, key: Any) -> None:
        found = await self.inner.get_checkpoint(key)
        if found is not None:
            self.remembered("versions")[str(key)] = found.version
        await self.inner.delete_checkpoint(key)

    async def put_checkpoint(self, key: Any, data: Any, *, expected_version: int | None = None) -> Any:
        before = self.remembered("versions").get(str(key), 0)
        expected = expected_version - before if expected_version and before else expected_version
        stored = await self.inner.put_checkpoint(key, data, expected_version=expected)
        return replace(stored, version=stored.version + before)


@caught_by("second_handle_sees_each_write counting_by_compare_and_set")
class CachesCheckpoints(Broken):
    """A handle reads each checkpoint once."""

    async def get_checkpoint(self, key: Any) -> Any:
        cache = vars(self).setdefault("cache", {})
        if repr(key) not in cache:
            cache[repr(key)] = await self.inner.get_checkpoint(key)
        return cache[repr(key)]


@caught_by("data_outlives_its_handle")
class TakesTheDataAlong(Broken):
    """What is stored goes with the handle that stored it."""

    def __del__(self) -> None:
        for table in (self.inner.tables._checkpoints, self.inner.tables._journals):
            table.clear()


@caught_by("checkpoint_and_thread_of_one_name")
class HasOneNamespace(Broken):
    """A delete of a journal takes the checkpoint of the same name along."""

    async def delete_thread(self, thread_id: str) -> None:
        await self.inner.delete_thread(thread_id)
        await self.inner.delete_checkpoint(thread_id)


@caught_by("checkpoint_and_thread_of_one_name")
class HasOneNamespaceTheOtherWay(Broken):
    """A delete of a checkpoint takes the journal of the same name along."""

    async def delete_checkpoint(self, key: Any) -> None:
        await self.inner.delete_checkpoint(key)
        if isinstance(key, str) and key:
            await self.inner.delete_thread(key)


@caught_by("declared_capabilities_have_their_methods")
class DeclaresWhatItLacks(Broken):
    """It declares `list`, and has no list."""

    list_checkpoints = None


@caught_by("declared_capabilities_have_their_methods")
class DeclaresWhatNobodyKnows(Broken):
    """It declares a capability that does not exist."""

    capabilities = frozenset({"teleport"})


# -- compare and set --------------------------------------------------------------------------------------------------


async def _zero_is_none(storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None) -> Any:
    return await real(key, data, expected_version=expected_version or None)


async def _zero_is_a_version(
    storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None
) -> Any:
    if expected_version == 0:
        raise conflict()
    return await real(key, data, expected_version=expected_version)


async def _none_is_absent(storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None) -> Any:
    found = await storage.inner.get_checkpoint(key)
    absent = expected_version == 0 and found is not None and found.data is None
    return await real(key, data, expected_version=None if absent else expected_version)


async def _plain_conflict_for_zero(
    storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None
) -> Any:
    try:
        return await real(key, data, expected_version=expected_version)
    except ConflictError as error:
        raise ConflictError(str(error), **error.facts) from None


async def _always_conflicts(storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None) -> Any:
    if expected_version:
        raise conflict()
    return await real(key, data, expected_version=expected_version)


async def _ignores(storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None) -> Any:
    return await real(key, data, expected_version=None if expected_version else expected_version)


async def _only_older(storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None) -> Any:
    found = await storage.inner.get_checkpoint(key)
    newer = isinstance(expected_version, int) and found is not None and expected_version > found.version
    return await real(key, data, expected_version=None if newer else expected_version)


async def _makes_missing(storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None) -> Any:
    missing = await storage.inner.get_checkpoint(key) is None
    return await real(key, data, expected_version=None if missing else expected_version)


async def _without_facts(storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None) -> Any:
    try:
        return await real(key, data, expected_version=expected_version)
    except ConflictError as error:
        raise type(error)(str(error)) from None


async def _coerces(storage: Broken, real: Method, key: Any, data: Any, *, expected_version: Any = None) -> Any:
    try:
        return await real(key, data, expected_version=expected_version)
    except InvalidInputError:
        raise conflict() from None


instead("TakesZeroForAny", "put_checkpoint", "zero_refuses_what_exists zero_refuses_a_stored_none", _zero_is_none)
instead("CannotCreateByZero", "put_checkpoint", "zero_creates deleted_is_nothing", _zero_is_a_version)
instead("TakesAStoredNoneForAbsent", "put_checkpoint", "zero_refuses_a_stored_none", _none_is_absent)
instead("DoesNotSayThatItExists", "put_checkpoint", "zero_refuses_what_exists", _plain_conflict_for_zero)
instead(
    "ConflictsWithItself", "put_checkpoint", "current_version_is_replaced one_winner_at_one_version", _always_conflicts
)
instead(
    "IgnoresTheVersion",
    "put_checkpoint",
    "stale_version_is_refused version_to_come_is_refused version_of_nothing_is_refused deleted_is_nothing"
    " version_conflict_has_its_facts wrong_version_is_refused one_winner_at_one_version",
    _ignores,
)
instead("RefusesOlderVersionsOnly", "put_checkpoint", "version_to_come_is_refused", _only_older)
instead("MakesWhatIsMissing", "put_checkpoint", "version_of_nothing_is_refused deleted_is_nothing", _makes_missing)
instead("ConflictsWithoutFacts", "put_checkpoint", "version_conflict_has_its_facts", _without_facts)
instead("TakesBadInputForAConflict", "put_checkpoint", "wrong_version_is_refused", _coerces)


# -- keys -------------------------------------------------------------------------------------------------------------


def keyed(name: str, checks: str, change: Callable[[Any], Any]) -> None:
    """Put a storage into the zoo that stores checkpoints under changed keys, and shows the keys as they were given."""

    async def put(storage: Broken, key: Any, data: Any, **guard: Any) -> Any:
        return replace(await storage.inner.put_checkpoint(change(key), data, **guard), key=key)

    async def get(storage: Broken, key: Any) -> Any:
        found = await storage.inner.get_checkpoint(change(key))
        return None if found is None else replace(found, key=key)

    async def delete(storage: Broken, key: Any) -> None:
        await storage.inner.delete_checkpoint(change(key))

    methods = {"put_checkpoint": put, "get_checkpoint": get, "delete_checkpoint": delete}
    add(name, type(name, (Broken,), methods), checks)


def deep(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Answer what changes a key and all that is inside of it."""

    def walk(key: Any) -> Any:
        if isinstance(key, tuple | list):
            return change(type(key)(walk(part) for part in key))
        if isinstance(key, dict):
            return change({walk(name): walk(value) for name, value in key.items()})
        return change(key)

    return walk


def _text(change: Callable[[str], str]) -> Callable[[Any], Any]:
    return deep(lambda key: change(key) if isinstance(key, str) else key)


def _printable(key: Any) -> Any:
    try:
        codec.dumps(key)
    except InvalidInputError:
        return repr(key)
    return key


keyed(
    "ComparesKeysAsPython",
    "numbers_and_their_text_are_four_keys delete_takes_the_same_key",
    lambda key: int(key) if isinstance(key, bool | float) else key,
)
keyed(
    "ComparesKeysAsText",
    "types_count_inside_a_key",
    lambda key: tuple(map(str, key)) if isinstance(key, tuple) else key,
)
keyed(
    "HasKeysOfJson",
    "keys_of_many_types empty_keys",
    lambda key: list(key) if isinstance(key, tuple) else key,
)
keyed("TakesEmptyKeysForOne", "empty_keys", lambda key: key or None)
keyed("FoldsCapitals", "unusual_strings", _text(str.lower))
keyed("StripsKeys", "unusual_strings", _text(str.strip))
keyed(
    "ComposesCharacters", "composed_characters_are_not_folded", _text(lambda text: unicodedata.normalize("NFC", text))
)
keyed(
    "DropsWhatTheDatabaseRefuses",
    "characters_that_databases_refuse",
    _text(lambda text: text.replace("\0", "").encode("utf-8", "replace").decode()),
)
keyed("CutsKeys", "long_keys", _text(lambda text: text[:255]))
keyed(
    "MindsTheOrder",
    "order_of_a_dict_does_not_count delete_takes_the_same_key",
    lambda key: list(key.items()) if isinstance(key, dict) else key,
)
keyed(
    "MindsTheOrderInside",
    "order_of_a_nested_dict_does_not_count order_of_a_dict_does_not_count",
    deep(lambda key: list(key.items()) if isinstance(key, dict) else key),
)
keyed(
    "SortsLists",
    "order_of_a_nested_dict_does_not_count",
    deep(lambda key: sorted(key, key=repr) if isinstance(key, list) else key),
)
keyed("PrintsWhatItCannotStore", "key_that_cannot_be_stored", _printable)


@caught_by("delete_takes_the_same_key")
class DeletesBySimilarKeys(Broken):
    """A delete compares keys as Python does: 1.0 takes 1 away."""

    async def delete_checkpoint(self, key: Any) -> None:
        await self.inner.delete_checkpoint(int(key) if isinstance(key, float) else key)


@caught_by("later_change_of_a_key")
class KeepsTheCallersKey(Broken):
    """It compares with the key object that was given, whatever became of it."""

    async def put_checkpoint(self, key: Any, data: Any, **guard: Any) -> Any:
        self.remembered("keys")[id(key)] = (key, copy.deepcopy(key))
        return await self.inner.put_checkpoint(key, data, **guard)

    async def get_checkpoint(self, key: Any) -> Any:
        for given, as_it_was in self.remembered("keys").values():
            if given == key:
                return await self.inner.get_checkpoint(as_it_was)
        return await self.inner.get_checkpoint(key)
