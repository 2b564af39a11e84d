"""Bad input: refused before anything is written, with the name of what is wrong; nothing is poisoned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from jido_tortoise.agents.storage import ThreadWrite
from jido_tortoise.agents.thread import Entry
from jido_tortoise.errors import ConflictError, InvalidEntryError, InvalidInputError, JidoError
from jido_tortoise_testing.contract.base import Checks, FullStorage, loaded, needs, note, notes, numbers

#: What no name of a thread, an entry or a kind may be.
BAD_NAMES: dict[str, Any] = {
    "empty": "",
    "256 characters": "x" * 256,
    "a NUL": "a\0b",
    "a lone surrogate": "a\ud800b",
    "bytes": b"t",
    "an int": 7,
    "a tuple": ("t",),
}


class Unprintable:
    """A value whose text cannot be had."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


Call = Callable[[Any], Awaitable[object]]


async def assert_refused(call: Call, bad: dict[str, Any], error: type[JidoError] = InvalidInputError) -> None:
    """Call with each of the bad values, and find each of them refused."""
    for name, value in bad.items():
        refusal = await _refusal(call, value, error)
        assert refusal is not None, f"{name} was accepted"
        assert refusal.facts.keys() >= {"path", "expected", "got"}, name


async def _refusal(call: Call, value: object, error: type[JidoError]) -> JidoError | None:
    try:
        await call(value)
    except error as refusal:
        return refusal
    return None


async def assert_entries_refused(storage: FullStorage, bad: dict[str, Any]) -> None:
    """Append each of the bad entries alone, after and before a good one; the journal stays as it is, and usable."""
    await storage.append_thread("t", note("first"))
    before = await loaded(storage, "t")
    await assert_refused(lambda entry: storage.append_thread("t", [entry]), bad, InvalidEntryError)
    await assert_refused(lambda entry: storage.append_thread("t", [note(1), entry, note(2)]), bad, InvalidEntryError)
    await assert_refused(lambda entry: storage.append_thread("new", [note(1), entry]), bad, InvalidEntryError)
    assert await loaded(storage, "t") == before
    assert await storage.load_thread("new") is None
    assert (await storage.append_thread("t", note("last"))).rev == 2
    assert numbers(await storage.load_thread("t")) == ["first", "last"]


async def _entries() -> AsyncIterator[dict[str, Any]]:
    yield note(1)


async def _load(storage: FullStorage, name: str, value: Any) -> None:
    await storage.load_thread("t", **{name: value})


class EntryInputChecks(Checks):
    """An entry that is not one is refused; every field is looked at before the first write (H7)."""

    async def test_what_is_no_entry(self, storage: FullStorage) -> None:
        """Text, numbers, None, pairs and lists of lists are no entries (corner cases)."""
        bad = {"text": "note", "int": 1, "none": None, "pairs": [("kind", "note")], "list": [note(1)], "bytes": b"x"}
        await assert_entries_refused(storage, bad)

    async def test_what_is_no_list_of_entries(self, storage: FullStorage) -> None:
        """None, text, numbers, sets and asynchronous iterators are no list of entries, and make no journal."""
        bad = {"none": None, "text": "note", "int": 1, "set": {1}, "bytes": b"x", "async": _entries(), "false": False}
        await assert_refused(lambda entries: storage.append_thread("t", entries), bad, InvalidEntryError)
        assert await storage.load_thread("t") is None

    async def test_unknown_key_of_an_entry(self, storage: FullStorage) -> None:
        """A mapping with a key that no entry has is refused: a chat message does not become an empty note."""
        bad = {"message": {"role": "user", "content": "hi"}, "typo": {"kind": "note", "playload": {}}, "int": {1: "x"}}
        await assert_entries_refused(storage, bad)
        with pytest.raises(InvalidEntryError, match="role"):
            await storage.append_thread("t", {"role": "user", "content": "hi"})

    async def test_bad_kind(self, storage: FullStorage) -> None:
        """A kind is a text of 1 to 255 characters without NUL and lone surrogates."""
        await assert_entries_refused(storage, {name: {"kind": bad} for name, bad in BAD_NAMES.items()})

    async def test_bad_entry_id(self, storage: FullStorage) -> None:
        """An entry's id is a text of 1 to 255 characters without NUL and lone surrogates."""
        await assert_entries_refused(storage, {name: {"id": bad} for name, bad in BAD_NAMES.items()})

    async def test_bad_payload(self, storage: FullStorage) -> None:
        """A payload is a map with string keys (corner cases: another one poisons Jido's threads)."""
        bad = {
            "list": [1],
            "text": "x",
            "int": 0,
            "keys": {1: "x"},
            "empty list": [],
            "true": True,
            "pairs": [("a", 1)],
        }
        await assert_entries_refused(storage, {name: {"payload": value} for name, value in bad.items()})

    async def test_bad_refs(self, storage: FullStorage) -> None:
        """Refs are a map with string keys."""
        bad = {"list": ["x"], "text": "x", "int": 0, "keys": {("a", 1): "x"}, "empty list": [], "true": True}
        await assert_entries_refused(storage, {name: {"refs": value} for name, value in bad.items()})

    async def test_bad_time(self, storage: FullStorage) -> None:
        """A time is an int of milliseconds or an aware datetime."""
        bad = {"naive": datetime(2026, 1, 1), "text": "2026-01-01", "float": 1.5, "true": True, "huge": 2**63}
        await assert_entries_refused(storage, {name: {"at": value} for name, value in bad.items()})

    async def test_bad_number(self, storage: FullStorage) -> None:
        """A number, although it is ignored, is an int from 0 on."""
        bad = {"text": "0", "float": 1.0, "negative": -1, "true": True}
        await assert_entries_refused(storage, {name: {"seq": value} for name, value in bad.items()})

    async def test_path_to_a_bad_field(self, storage: FullStorage) -> None:
        """The refusal names the entry and the field."""
        with pytest.raises(InvalidEntryError) as caught:
            await storage.append_thread("t", [note(0), note(1), {"kind": ""}])
        assert caught.value.path == "entries[2].kind"
        assert caught.value.reason == "invalid_entry"

    async def test_entry_spoiled_after_its_making(self, storage: FullStorage) -> None:
        """A payload that was changed after its Entry was made is looked at when it is appended."""
        entry = Entry("note", {"n": 1})
        payload: dict[Any, Any] = entry.payload
        payload[7] = "a key that is no string"
        with pytest.raises(InvalidInputError):
            await storage.append_thread("t", [note(0), entry])
        assert await storage.load_thread("t") is None


class InputChecks(Checks):
    """Names of journals, metadata and ranges are looked at before anything is done."""

    async def test_bad_thread_id_of_an_append(self, storage: FullStorage) -> None:
        """A thread id is a text of 1 to 255 characters without NUL and lone surrogates; others make no journal."""
        bad = {**BAD_NAMES, "none": None}
        await assert_refused(lambda name: storage.append_thread(name, note(1)), bad)
        await assert_refused(lambda name: storage.append_thread(name, []), bad)

    async def test_bad_thread_id_of_a_load(self, storage: FullStorage) -> None:
        """A load refuses such an id, rather than find nothing."""
        await assert_refused(lambda name: storage.load_thread(name), {**BAD_NAMES, "none": None})

    async def test_bad_thread_id_of_a_delete(self, storage: FullStorage) -> None:
        """A delete refuses such an id, rather than do nothing."""
        await assert_refused(lambda name: storage.delete_thread(name), {**BAD_NAMES, "none": None})

    @needs("head")
    async def test_bad_thread_id_of_a_head(self, storage: FullStorage) -> None:
        """A look at the head refuses such an id."""
        await assert_refused(lambda name: storage.get_thread_head(name), {**BAD_NAMES, "none": None})

    @needs("trim")
    async def test_bad_thread_id_of_a_trim(self, storage: FullStorage) -> None:
        """A trim refuses such an id."""
        await assert_refused(lambda name: storage.trim_thread(name, before=1), {**BAD_NAMES, "none": None})

    @needs("copy")
    async def test_bad_thread_id_of_a_copy(self, storage: FullStorage) -> None:
        """A copy refuses such an id on either side."""
        await storage.append_thread("t", note(1))
        await assert_refused(lambda name: storage.copy_thread(name, "copy"), {**BAD_NAMES, "none": None})
        await assert_refused(lambda name: storage.copy_thread("t", name), {**BAD_NAMES, "none": None})

    @needs("atomic_save")
    async def test_bad_thread_id_of_a_save(self, storage: FullStorage) -> None:
        """A save refuses such an id, and stores no checkpoint."""
        await assert_refused(
            lambda name: storage.save("k", {}, thread=ThreadWrite(id=name, entries=[note(1)])), BAD_NAMES
        )
        assert await storage.get_checkpoint("k") is None

    async def test_bad_metadata(self, storage: FullStorage) -> None:
        """Metadata are a map with string keys; others make no journal (corner cases: they poison Jido's threads)."""
        bad = {"list": [1], "text": "x", "int": 1, "keys": {1: "x"}, "pairs": [("a", 1)], "true": True}
        await assert_refused(lambda metadata: storage.append_thread("t", note(1), metadata=metadata), bad)
        assert await storage.load_thread("t") is None
        assert (await storage.append_thread("t", note(1), metadata={"fine": 1})).rev == 1

    async def test_bad_range_of_a_load(self, storage: FullStorage) -> None:
        """A range is given in ints from 0 on."""
        await storage.append_thread("t", notes(3))
        for name in ("from_seq", "limit", "tail"):
            bad = {"negative": -1, "text": "1", "float": 1.0, "true": True}
            await assert_refused(partial(_load, storage, name), bad)

    async def test_tail_goes_with_no_other_range(self, storage: FullStorage) -> None:
        """A tail cannot be combined with a first number or a limit."""
        await storage.append_thread("t", notes(3))
        for range_ in ({"tail": 1, "from_seq": 1}, {"tail": 1, "limit": 1}, {"tail": 1, "from_seq": 1, "limit": 1}):
            with pytest.raises(InvalidInputError):
                await storage.load_thread("t", **range_)

    @needs("trim")
    async def test_bad_border_of_a_trim(self, storage: FullStorage) -> None:
        """A trim's border is an int from 0 on; with another one nothing is dropped."""
        await storage.append_thread("t", notes(3))
        bad = {"negative": -1, "text": "1", "float": 1.0, "true": True, "none": None}
        await assert_refused(lambda border: storage.trim_thread("t", before=border), bad)
        assert len(await loaded(storage, "t")) == 3

    @needs("copy")
    async def test_bad_border_of_a_copy(self, storage: FullStorage) -> None:
        """A copy's border is an int from 0 on; with another one no journal is made."""
        await storage.append_thread("t", notes(3))
        bad = {"negative": -1, "text": "1", "float": 1.0, "true": True}
        await assert_refused(lambda border: storage.copy_thread("t", "copy", upto=border), bad)
        assert await storage.load_thread("copy") is None

    @needs("list")
    async def test_bad_range_of_a_walk(self, storage: FullStorage) -> None:
        """A walk's numbers are ints from 0 on, and its page holds at least one entry."""
        await storage.append_thread("t", notes(3))

        async def walk(name: str, value: Any) -> None:
            async for _ in storage.iter_entries("t", **{name: value}):
                pass

        for name in ("from_seq", "upto", "page"):
            await assert_refused(partial(walk, name), {"negative": -1, "text": "1", "true": True})
        await assert_refused(partial(walk, "page"), {"zero": 0})

    @needs("list")
    async def test_bad_range_of_a_list(self, storage: FullStorage) -> None:
        """A page of a list holds at least one checkpoint, and its filters are texts."""
        bad: dict[str, Any] = {"zero": 0, "negative": -1, "text": "1", "float": 1.0, "true": True, "none": None}
        await assert_refused(lambda limit: storage.list_checkpoints(limit=limit), bad)
        for name in ("agent_type", "partition"):
            wrongs: list[Any] = [7, b"x", ("a",)]
            for wrong in wrongs:
                with pytest.raises(InvalidInputError):
                    await storage.list_checkpoints(**{name: wrong})
                with pytest.raises(InvalidInputError):
                    await storage.count_checkpoints(**{name: wrong})

    @needs("atomic_save")
    async def test_bad_data_of_a_save(self, storage: FullStorage) -> None:
        """A save's data are a map with string keys; the journal stays as it is when they are not."""
        bad = {"list": [1], "none": None, "text": "x", "keys": {1: "x"}, "pairs": [("a", 1)]}
        await assert_refused(lambda data: storage.save("k", data), bad)
        await assert_refused(lambda data: storage.save("k", data, thread=ThreadWrite(id="t", entries=[note(1)])), bad)
        assert await storage.get_checkpoint("k") is None
        assert await storage.load_thread("t") is None

    @needs("atomic_save")
    async def test_bad_guards_of_a_save(self, storage: FullStorage) -> None:
        """A save's expected version and revision are ints from 0 on, or None."""
        bad: dict[str, Any] = {"text": "1", "float": 1.0, "true": True, "negative": -1}
        entries = [note(1)]
        await assert_refused(lambda version: storage.save("k", {}, expected_version=version), bad)
        await assert_refused(
            lambda rev: storage.save("k", {}, thread=ThreadWrite(id="t", entries=entries, expected_rev=rev)), bad
        )
        assert await storage.get_checkpoint("k") is None
        assert await storage.load_thread("t") is None

    @needs("atomic_save")
    async def test_bad_entries_of_a_save(self, storage: FullStorage) -> None:
        """A save with an entry that is none stores neither checkpoint nor journal (H2)."""
        for bad in ([note(1), "x"], [note(1), {"role": "user"}], [note(1), {"payload": [1]}], "x", None):
            with pytest.raises(InvalidEntryError):
                await storage.save("k", {}, thread=ThreadWrite(id="t", entries=bad))  # type: ignore[arg-type]
        assert await storage.get_checkpoint("k") is None
        assert await storage.load_thread("t") is None

    async def test_refusals_of_what_cannot_be_printed(self, storage: FullStorage) -> None:
        """Bad input is refused in the same way when it cannot be printed, or its key cannot."""
        bad = {"digits": 10**5_000, "text": Unprintable()}
        await assert_refused(lambda value: storage.put_checkpoint("k", 1, expected_version=value), bad)
        await assert_refused(lambda value: storage.append_thread("t", [], expected_rev=value), bad)
        await assert_refused(lambda value: storage.append_thread(value, []), bad)
        await assert_refused(lambda value: storage.append_thread("t", {"payload": [value]}), bad)
        if "compare_and_set" in storage.capabilities:
            with pytest.raises(ConflictError):
                await storage.put_checkpoint(10**5_000, 1, expected_version=7)

    async def test_refusals_have_reason_and_facts(self, storage: FullStorage) -> None:
        """Bad input is a ValueError of this library that says where, what was expected and what was given."""
        with pytest.raises(InvalidInputError, match="expected") as caught:
            await storage.append_thread("", note(1))
        assert isinstance(caught.value, ValueError)
        assert not caught.value.retryable
        assert caught.value.reason == "invalid_input"
        assert caught.value.got == ""
