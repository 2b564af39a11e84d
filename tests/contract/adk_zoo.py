"""Broken stores of ADK sessions: each sound but for the law that it breaks, with the checks that must fail on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from jido_tortoise.adk import AdkSessionStore, Event, Pruned, Session, SessionPage
from jido_tortoise.adk.models import AdkEvent
from jido_tortoise.errors import AlreadyExistsError, InvalidInputError, NotFoundError, UnstorableError
from jido_tortoise_testing.adk_contract import AdkSessionContract, check_names


class Broken:
    """A handle on a store that is sound but for what a subclass overrides."""

    def __init__(self, shared: SimpleNamespace) -> None:
        self.inner = AdkSessionStore()
        #: What all handles on the same data have in common.
        self.shared = shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@dataclass(frozen=True)
class Animal:
    """A broken store, and the checks that must fail on it."""

    name: str
    cls: type[Broken]
    caught_by: tuple[str, ...]

    def make_store(self) -> Callable[[], Any]:
        """Make a function that makes handles on the data of the current database."""
        shared = SimpleNamespace()
        return lambda: self.cls(shared)


ZOO: dict[str, Animal] = {}
CHECKS = frozenset(check_names(AdkSessionContract))


def instead(name: str, methods: str, checks: str, function: Callable[..., Any]) -> None:
    """Put a store into the zoo some methods of which are replaced: `function(store, real, *args, **kwargs)`."""
    caught_by = tuple(f"test_{check}" for check in checks.split())
    assert name not in ZOO, f"two broken stores are called {name}"
    assert set(caught_by) <= CHECKS, f"{name}: {sorted(set(caught_by) - CHECKS)} are no checks"

    def replaced(method: str) -> Any:
        async def call(self: Broken, *args: Any, **kwargs: Any) -> Any:
            return await function(self, getattr(self.inner, method), *args, **kwargs)

        return call

    ZOO[name] = Animal(name, type(name, (Broken,), {method: replaced(method) for method in methods.split()}), caught_by)


def answering(name: str, methods: str, checks: str, change: Callable[[Any], Any]) -> None:
    """Put a store into the zoo that changes what a method answers."""

    async def changed(_: Broken, real: Any, *args: Any, **kwargs: Any) -> Any:
        return change(await real(*args, **kwargs))

    instead(name, methods, checks, changed)


def given(name: str, methods: str, checks: str, **changes: Callable[[Any], Any]) -> None:
    """Put a store into the zoo that changes the keyword arguments of a method that are given."""

    async def changed(_: Broken, real: Any, *args: Any, **kwargs: Any) -> Any:
        return await real(*args, **{key: changes.get(key, lambda value: value)(kwargs[key]) for key in kwargs})

    instead(name, methods, checks, changed)


def swallowing(name: str, methods: str, checks: str, error: type[Exception], answer: Any = None) -> None:
    """Put a store into the zoo that makes nothing of an error."""

    async def swallowed(_: Broken, real: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await real(*args, **kwargs)
        except error:
            return answer

    instead(name, methods, checks, swallowed)


def appending(name: str, checks: str, change: Callable[[Event], Event]) -> None:
    """Put a store into the zoo that stores another event than it was given."""

    async def changed(_: Broken, real: Any, session: Session, event: Event, **options: Any) -> Any:
        return await real(session, change(event) if isinstance(event, Event) else event, **options)

    instead(name, "append_event", checks, changed)


def with_delta(event: Event, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Event:
    """Answer an event with another delta."""
    return replace(event, actions=replace(event.actions, state_delta=change(dict(event.actions.state_delta))))


def _key_of(session: Session) -> dict[str, str]:
    return {"app_name": session.app_name, "user_id": session.user_id, "session_id": session.id}


# -- sessions -----------------------------------------------------------------------------------------------------

given("IgnoresIds", "create", "create_answers_the_session names_are_exact", session_id=lambda _: None)
answering("CountsFromOne", "create", "create_answers_the_session", lambda session: replace(session, rev=1))


async def _one_id(_: Broken, real: Any, **fields: Any) -> Any:
    try:
        return await real(**{**fields, "session_id": fields.get("session_id") or "default"})
    except AlreadyExistsError:
        return Session(app_name=fields["app_name"], user_id=fields["user_id"], id="default")


instead("GivesOneId", "create", "create_makes_an_id", _one_id)
answering(
    "AnswersLessThanItStores",
    "create",
    "get_answers_what_create_answered create_routes_its_state",
    lambda session: replace(session, state={key: value for key, value in session.state.items() if ":" not in key}),
)


async def _overwrites(store: Broken, real: Any, **fields: Any) -> Any:
    try:
        return await real(**fields)
    except AlreadyExistsError:
        await store.inner.delete(**{key: fields[key] for key in ("app_name", "user_id", "session_id")})
        return await real(**fields)


instead("CreatesAnew", "create", "create_refuses_a_duplicate many_create_one_session", _overwrites)


async def _half(store: Broken, real: Any, **fields: Any) -> Any:
    state = fields.get("state") or {}
    try:
        return await real(**fields)
    except (AlreadyExistsError, UnstorableError):
        ok = {key: value for key, value in state.items() if key.startswith("app:")}
        await store.inner.create(app_name=fields["app_name"], user_id="of nobody", state=ok)
        raise


instead("KeepsSharedStateOfTheRefused", "create", "create_refuses_a_duplicate unstorable_state_is_refused", _half)
given(
    "MergesUsers",
    "create get",
    "users_and_apps_have_sessions_of_their_own get_of_a_missing_session",
    user_id=lambda name: "all" if isinstance(name, str) and name else name,
)
swallowing("GetsNone", "get", "get_of_a_missing_session delete_takes_the_events_along", NotFoundError)


async def _other_reason(_: Broken, real: Any, **which: Any) -> Any:
    try:
        return await real(**which)
    except NotFoundError as error:
        raise NotFoundError(str(error), reason="missing") from error


instead("SaysAnotherReason", "get", "get_of_a_missing_session", _other_reason)
given("IgnoresCase", "create get", "names_are_exact", session_id=lambda name: name and str(name).lower())
given(
    "TakesAnyName",
    "create get delete",
    "names_that_cannot_be_stored",
    session_id=lambda name: str(name).replace("\0", "").encode(errors="replace").decode()[:255] or "none",
    user_id=lambda name: str(name).replace("\0", "").encode(errors="replace").decode()[:255] or "none",
    app_name=lambda name: str(name).replace("\0", "").encode(errors="replace").decode()[:255] or "none",
)


async def _nothing(*_: Any, **__: Any) -> None:
    return None


instead("DeletesNothing", "delete", "delete_takes_the_events_along append_to_a_missing_session", _nothing)


async def _must_be_there(store: Broken, real: Any, **which: Any) -> Any:
    await store.inner.get(**which)
    await real(**which)


instead("DeletesOnlyWhatIsThere", "delete", "delete_of_a_missing_session", _must_be_there)


async def _with_shared(_: Broken, real: Any, **which: Any) -> Any:
    from jido_tortoise.adk.models import AdkAppState, AdkUserState

    await real(**which)
    await AdkAppState.all().delete()
    await AdkUserState.all().delete()


instead("DeletesSharedState", "delete", "delete_leaves_what_is_shared", _with_shared)


async def _all_of_user(store: Broken, real: Any, **which: Any) -> Any:
    for session in await store.inner.list(app_name=which["app_name"], events=False):
        if session.id == which["session_id"]:
            await real(**{**which, "user_id": session.user_id})


instead("DeletesOfAllUsers", "delete", "delete_is_of_one_session", _all_of_user)
given("ListsTheApp", "list", "list_of_a_user", user_id=lambda _: None)


async def _first_user(_: Broken, real: Any, **which: Any) -> Any:
    return await real(**{"user_id": "ann", **which})


instead("ListsAnnAlone", "list", "list_of_an_app", _first_user)
answering("ListsBackwards", "list", "list_is_in_the_order_of_updates", lambda found: list(found)[::-1])
given("ListsWithEvents", "list", "list_without_events", events=lambda _: True)


async def _bare(_: Broken, real: Any, **which: Any) -> Any:
    return await real(**{**which, "events": False})


instead("ListsWithoutEvents", "list", "list_shows_sessions_as_get_does reading_after_a_deletion", _bare)
answering(
    "ListsWithoutState", "list", "list_without_events", lambda found: [replace(session, state={}) for session in found]
)

# -- state --------------------------------------------------------------------------------------------------------


def _unrouted(state: Any) -> Any:
    return state and {
        key.replace(":", "_", 1) if key.startswith(("app:", "user:")) else key: state[key] for key in state
    }


given("CreatesUnrouted", "create", "create_routes_its_state delete_leaves_what_is_shared", state=_unrouted)
given("CreatesWithoutPrefixes", "create", "the_sessions_own_keys_win prune_leaves_what_is_shared", state=_unrouted)
appending("AppendsUnrouted", "append_routes_its_delta other_keys_stay", lambda event: with_delta(event, _unrouted))


def _kept(state: Any) -> Any:
    return state and {key.replace("temp:", "temp_"): value for key, value in state.items()}


given("CreatesWhatIsTemporary", "create", "what_is_temporary_is_not_created", state=_kept)
appending("AppendsWhatIsTemporary", "what_is_temporary_is_not_appended", lambda event: with_delta(event, _kept))


async def _mutates(_: Broken, real: Any, session: Session, event: Event, **options: Any) -> Any:
    if isinstance(event.actions.state_delta, dict):
        event.actions.state_delta.pop("temp:t", None)
    return await real(session, event, **options)


instead("TrimsTheCallersEvent", "append_event", "what_is_temporary_is_not_appended", _mutates)
given(
    "DropsOtherPrefixes",
    "create",
    "other_prefixes_are_the_sessions_own",
    state=lambda state: state and {key: state[key] for key in state if not key.startswith(("odd:", "APP:"))},
)
appending(
    "TakesNoneForADeletion",
    "none_is_stored",
    lambda event: with_delta(event, lambda delta: {k: v for k, v in delta.items() if v is not None}),
)


async def _deep(store: Broken, real: Any, session: Session, event: Event, **options: Any) -> Any:
    state = (await store.inner.get(app_name="shop", user_id="ann", session_id=session.id)).state

    def merged(delta: dict[str, Any]) -> dict[str, Any]:
        both = {key: (state.get(key), value) for key, value in delta.items()}
        return {
            key: {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new
            for key, (old, new) in both.items()
        }

    return await real(session, with_delta(event, merged), **options)


instead("MergesDeep", "append_event", "values_are_replaced_whole", _deep)
answering(
    "ShowsUserStateWithPrefixes",
    "get_user_state",
    "user_state_without_prefix",
    lambda state: {f"user:{key}": value for key, value in state.items()},
)


async def _jsonable(_: Broken, real: Any, **fields: Any) -> Any:
    state = fields.get("state") or {}
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in state.items()}
    nested = {
        key: {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()} if isinstance(value, dict) else value
        for key, value in listed.items()
    }
    return await real(**{**fields, "state": nested})


instead("MakesListsOfTuples", "create", "state_keeps_its_types", _jsonable)


async def _shares(store: Broken, real: Any, **fields: Any) -> Any:
    session = await real(**fields)
    vars(store.shared).setdefault("given", {})[session.key] = fields.get("state") or {}
    return session


async def _shared_state(store: Broken, real: Any, **which: Any) -> Any:
    found = await real(**which)
    return replace(found, state=vars(store.shared).setdefault("given", {}).get(found.key, found.state))


class KeepsTheCallersState(Broken):
    """Answers the very dict that it was given."""

    async def create(self, **fields: Any) -> Any:
        return await _shares(self, self.inner.create, **fields)

    async def get(self, **which: Any) -> Any:
        return await _shared_state(self, self.inner.get, **which)


ZOO["KeepsTheCallersState"] = Animal(
    "KeepsTheCallersState", KeepsTheCallersState, ("test_a_callers_values_are_its_own",)
)
given(
    "MakesTextOfTheUnstorable",
    "create",
    "unstorable_state_is_refused",
    state=lambda state: state and {k: repr(v) if isinstance(v, list) and print in v else v for k, v in state.items()},
)
appending(
    "AppendsTheUnstorableAsText",
    "unstorable_delta_is_refused",
    lambda event: with_delta(event, lambda delta: {k: repr(v) if v is print else v for k, v in delta.items()}),
)

# -- events -------------------------------------------------------------------------------------------------------


async def _as_given(_: Broken, real: Any, session: Session, event: Event, **options: Any) -> Any:
    await real(session, event, **options)
    return session


instead(
    "AnswersTheSessionAsItWas",
    "append_event",
    "append_answers_the_session_with_the_event a_copy_goes_its_own_way",
    _as_given,
)


async def _in_place(_: Broken, real: Any, session: Session, event: Event, **options: Any) -> Any:
    after = await real(session, event, **options)
    for name in ("state", "events", "rev"):
        object.__setattr__(session, name, getattr(after, name))
    return after


instead("ChangesTheSession", "append_event", "append_changes_nothing_that_was_given", _in_place)


def _sorted_by(key: Callable[[Event], Any]) -> Callable[[Any], Any]:
    def change(found: Any) -> Any:
        if isinstance(found, Session):
            return replace(found, events=sorted(found.events, key=key))
        return [replace(session, events=sorted(session.events, key=key)) for session in found]

    return change


answering("SortsByTime", "get", "events_come_in_the_order_of_appends", _sorted_by(lambda event: event.timestamp))
answering("ListsSortedById", "list", "events_come_in_the_order_of_appends", _sorted_by(lambda event: event.id))


async def _latest(_: Broken, real: Any, **which: Any) -> Any:
    found = await real(**which)
    return replace(found, last_update_time=max([found.created_at, *(event.timestamp for event in found.events)]))


instead("KeepsTheLatestTime", "get", "the_last_event_says_the_time", _latest)
appending("StoresWhatIsPartial", "a_partial_event_is_not_stored", lambda event: replace(event, partial=False))
swallowing("AppendsToNothing", "append_event", "append_to_a_missing_session", NotFoundError)
appending(
    "StoresRepeats",
    "a_repeated_append_is_stored_once another_event_with_the_id every_field_is_stored an_event_without_an_id_has_one",
    lambda event: replace(event, id=Event().id) if event.id else event,
)


async def _first_wins(store: Broken, real: Any, session: Session, event: Event, **options: Any) -> Any:
    known = vars(store.shared).setdefault("ids", set())
    if event.id in known:
        return session
    known.add(event.id)
    return await real(session, event, **options)


instead("HasIdsForAll", "append_event", "two_sessions_may_have_an_id_each another_event_with_the_id", _first_wins)


async def _always_checks(_: Broken, real: Any, session: Session, event: Event, **__: Any) -> Any:
    return await real(session, event, check_stale=True)


instead(
    "AlwaysChecks",
    "append_event",
    "a_copy_without_the_last_events_may_append many_append_to_one_session",
    _always_checks,
)
appending(
    "ForgetsWhatHasNoColumn",
    "every_field_is_stored",
    lambda event: replace(event, extra={}, finish_reason=None),
)
appending("FillsInAnAuthor", "an_empty_event", lambda event: replace(event, author=event.author or "agent"))
swallowing("TakesAnyEvent", "append_event", "bad_events_are_refused", InvalidInputError)


async def _oldest(store: Broken, real: Any, *, num_recent_events: Any = None, **which: Any) -> Any:
    found = await real(**which)
    if num_recent_events is None:
        return found
    return replace(found, events=found.events[: max(0, num_recent_events)])


instead("GetsTheFirstEvents", "get", "the_last_events a_bad_range_is_refused reading_after_a_deletion", _oldest)


async def _inclusive(store: Broken, real: Any, *, after: Any = None, **which: Any) -> Any:
    found = await real(**which)
    return found if after is None else replace(found, events=[e for e in found.events if e.timestamp >= after])


instead("GetsTheMomentItself", "get", "events_after_a_moment", _inclusive)

# -- pages --------------------------------------------------------------------------------------------------------


async def _no_next(_: Broken, real: Any, **which: Any) -> Any:
    return SessionPage((await real(**which)).items, None)


instead("HasOnePage", "page_sessions", "pages_hold_each_session_once", _no_next)
given("PagesTheApp", "page_sessions", "pages_of_a_user a_cursor_is_of_its_list", user_id=lambda _: None)
given("PagesFromTheBeginning", "page_sessions", "pages_between_two_moments", updated_after=lambda _: None)
given("PagesToTheEnd", "page_sessions", "pages_between_two_moments", updated_before=lambda _: None)
given("PagesWhateverTheState", "page_sessions", "pages_where_the_state_says_so", where=lambda _: None)
given("PagesWithState", "page_sessions", "pages_show_state_without_events", with_state=lambda _: True)
given("PagesNewestFirst", "page_sessions", "a_session_that_moves_is_not_missed", newest_first=lambda _: True)


async def _by_place(store: Broken, real: Any, *, after: str | None = None, limit: int = 100, **which: Any) -> Any:
    found = (await real(**which, limit=1000)).items
    start = int(after) if after and after.isdecimal() else 0
    more = str(start + limit) if len(found) > start + limit else None
    return SessionPage(found[start : start + limit], more)


instead("PagesByPlace", "page_sessions", "a_session_that_moves_is_not_missed a_cursor_is_of_its_list", _by_place)

# -- care ---------------------------------------------------------------------------------------------------------

given("PrunesByNoAge", "prune", "prune_sessions_by_age", sessions_before=lambda _: None, keep_sessions=lambda n: n)


async def _all_users(_: Broken, real: Any, *, keep_sessions: int | None = None, **rules: Any) -> Any:
    return await real(**rules, keep_sessions=None if keep_sessions is None else max(0, keep_sessions - 1))


instead("KeepsOneLess", "prune", "prune_keeps_the_newest_sessions a_dry_run_deletes_nothing", _all_users)
given("PrunesEventsByOneMore", "prune", "prune_keeps_the_last_events", keep_events=lambda n: max(0, n - 1))


async def _forgets_state(store: Broken, real: Any, **rules: Any) -> Any:
    from jido_tortoise.adk.models import AdkSession

    pruned = await real(**rules)
    await AdkSession.all().update(state={})
    return pruned


instead("PrunesTheStateToo", "prune", "prune_keeps_the_last_events", _forgets_state)


async def _any_old(store: Broken, real: Any, *, events_before: Any = None, **rules: Any) -> Any:
    if events_before is None:
        return await real(**rules)
    gone = await AdkEvent.filter(timestamp__lt=events_before).delete()
    return Pruned(0, gone)


instead("PrunesFromTheMidst", "prune", "prune_events_by_age", _any_old)
given("PrunesWhenDry", "prune", "a_dry_run_deletes_nothing", dry_run=lambda _: False)


async def _everything(_: Broken, real: Any, **rules: Any) -> Any:
    return await real(**rules) if len(rules) > 1 else await real(**rules, keep_sessions=0)


instead("PrunesEverything", "prune", "prune_wants_a_rule", _everything)


async def _and_shared(_: Broken, real: Any, **rules: Any) -> Any:
    return await _with_shared(_, real, **rules)


instead("PrunesSharedState", "prune", "prune_leaves_what_is_shared", _and_shared)
given("DeletesAnotherInvocation", "delete_invocation", "delete_an_invocation", invocation_id=lambda name: name + "x")


async def _leaves_holes(_: Broken, __: Any, *, session_id: str, invocation_id: str, **which: Any) -> Any:
    return await AdkEvent.filter(session_id=session_id, invocation_id=invocation_id).delete()


instead(
    "DeletesWithoutANote",
    "delete_invocation",
    "delete_an_invocation reading_after_a_deletion",
    _leaves_holes,
)
swallowing("DeletesOfNobody", "delete_invocation", "delete_an_invocation_of_a_missing_session", NotFoundError, 0)


async def _same(store: Broken, real: Any, **which: Any) -> Any:
    which.pop("new_session_id", None)
    which.pop("until", None)
    return await store.inner.get(**which)


instead("CopiesNothing", "copy", "a_copy_goes_its_own_way a_copy_up_to_an_event a_copy_refuses_a_taken_id", _same)
given("CopiesAll", "copy", "a_copy_up_to_an_event", until=lambda _: None)


async def _over(store: Broken, real: Any, **which: Any) -> Any:
    target = {"app_name": which["app_name"], "user_id": which["user_id"], "session_id": which["new_session_id"]}
    await store.inner.delete(**target)
    return await real(**which)


instead("CopiesOver", "copy", "a_copy_refuses_a_taken_id", _over)


async def _deletes_back(store: Broken, real: Any, *, before_invocation_id: str, **which: Any) -> Any:
    await store.inner.delete_invocation(**which, invocation_id=before_invocation_id)
    return await store.inner.get(**which)


instead("RewindsByDeleting", "rewind", "rewind_appends_an_event rewind_before_what_is_not_there", _deletes_back)


async def _stateless(store: Broken, real: Any, **which: Any) -> Any:
    key = {name: which[name] for name in ("app_name", "user_id", "session_id")}
    session = await store.inner.get(**key)
    event = Event(
        actions=replace(Event().actions, extra={"rewind_before_invocation_id": which["before_invocation_id"]})
    )
    return await store.inner.append_event(session, event)


instead("RewindsNoState", "rewind", "rewind_takes_the_state_back rewind_before_what_is_not_there", _stateless)

# -- many at once -------------------------------------------------------------------------------------------------


async def _read_then_written(state: dict[str, Any], app_name: str, write: Callable[[], Any]) -> Any:
    """Write the app's state as it was read some time before."""
    from jido_tortoise.adk.models import AdkAppState

    known = await AdkAppState.get_or_none(app_name=app_name)
    old = dict(known.state) if known else {}
    await asyncio.sleep(0.001)
    answer = await write()
    own = {key[4:]: value for key, value in state.items() if key.startswith("app:")}
    await AdkAppState.filter(app_name=app_name).update(state={**old, **own})
    return answer


async def _append_once(_: Broken, real: Any, session: Session, event: Event, **options: Any) -> Any:
    delta = dict(event.actions.state_delta)
    return await _read_then_written(delta, session.app_name, lambda: real(session, event, **options))


instead("AppendsToWhatItRead", "append_event", "many_sessions_write_what_they_share", _append_once)


async def _create_once(_: Broken, real: Any, **fields: Any) -> Any:
    return await _read_then_written(fields.get("state") or {}, fields["app_name"], lambda: real(**fields))


instead("CreatesFromWhatItRead", "create", "many_create_with_what_they_share", _create_once)


async def _two_win(store: Broken, real: Any, **fields: Any) -> Any:
    try:
        return await real(**fields)
    except AlreadyExistsError:
        return await store.inner.get(**{key: fields[key] for key in ("app_name", "user_id", "session_id")})


instead("TellsAllThatTheyWon", "create", "many_create_one_session create_refuses_a_duplicate", _two_win)


async def _drops_some(store: Broken, real: Any, session: Session, event: Event, **options: Any) -> Any:
    count = vars(store.shared)["n"] = vars(store.shared).get("n", 0) + 1
    return session if count % 7 == 0 else await real(session, event, **options)


instead("DropsTheSeventhAppend", "append_event", "many_append_to_one_session", _drops_some)


async def _never_checks(_: Broken, real: Any, session: Session, event: Event, **__: Any) -> Any:
    return await real(session, event)


instead("NeverChecks", "append_event", "a_stale_copy_is_refused of_two_stale_copies_one_wins", _never_checks)


async def _checks_the_number(store: Broken, real: Any, session: Session, event: Event, **options: Any) -> Any:
    now = await store.inner.get(**_key_of(session))
    return await real(replace(session, identity=now.identity), event, **options)


instead("ChecksTheNumberAlone", "append_event", "a_copy_of_a_session_that_was_made_anew_is_refused", _checks_the_number)


async def _checks_wrongly(_: Broken, real: Any, session: Session, event: Event, **options: Any) -> Any:
    return await real(replace(session, rev=session.rev + 1) if options else session, event, **options)


instead("TakesAllForStale", "append_event", "a_current_copy_is_not_refused", _checks_wrongly)

# -- cancellation -------------------------------------------------------------------------------------------------


async def _event_then_state(store: Broken, real: Any, session: Session, event: Event, **options: Any) -> Any:
    from jido_tortoise.adk.models import AdkSession

    await real(session, with_delta(event, lambda _: {}), **options)
    await asyncio.sleep(0)
    await AdkSession.filter(id=session.id).update(state=dict(event.actions.state_delta))
    return await store.inner.get(**_key_of(session))


async def _user_then_session(store: Broken, real: Any, **fields: Any) -> Any:
    shared = {key: value for key, value in (fields.get("state") or {}).items() if key.startswith("user:")}
    if shared and fields["session_id"] not in [one.id for one in await store.inner.list(**_who(fields))]:
        await store.inner.create(**_who(fields), state=shared)
    await asyncio.sleep(0)
    return await real(**fields)


def _who(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in ("app_name", "user_id")}


async def _events_then_session(_: Broken, real: Any, **which: Any) -> Any:
    await AdkEvent.filter(**which).delete()
    await asyncio.sleep(0)
    await real(**which)


async def _swallows(_: Broken, real: Any, session: Session, *args: Any, **options: Any) -> Any:
    try:
        return await real(session, *args, **options)
    except asyncio.CancelledError:
        return session


instead("StoresTheStateAfterwards", "append_event", "cancelled_append", _event_then_state)
instead("StoresTheUserFirst", "create", "cancelled_create", _user_then_session)
instead("DeletesTheEventsFirst", "delete", "cancelled_delete", _events_then_session)
instead("SwallowsACancellation", "append_event", "cancelled_call_is_told", _swallows)
