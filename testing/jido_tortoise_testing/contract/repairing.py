"""Repair: looks that find nothing wrong change nothing (what is wrong, each storage must break in its own tests)."""

from __future__ import annotations

from jido_tortoise import codec
from jido_tortoise_testing.contract.base import Checks, FullStorage, loaded, needs, notes


class RepairChecks(Checks):
    """With `repair` a journal's head can be rebuilt, and a checkpoint be read that cannot be decoded."""

    @needs("repair")
    async def test_sound_journal_is_left_alone(self, storage: FullStorage, second: FullStorage) -> None:
        """A repair of a journal with which nothing is wrong says so, and changes nothing."""
        await storage.append_thread("t", notes(3), metadata={"title": "x"})
        before = await loaded(storage, "t")
        assert await storage.repair_thread("t") is None
        assert await loaded(second, "t") == before

    @needs("repair", "trim")
    async def test_trimmed_journal_is_sound(self, storage: FullStorage) -> None:
        """Neither dropped entries nor an empty journal are damage."""
        await storage.append_thread("t", notes(3))
        for before in (2, 3):
            await storage.trim_thread("t", before=before)
            assert await storage.repair_thread("t") is None
        assert (await storage.append_thread("t", notes(1), expected_rev=3)).rev == 4

    @needs("repair")
    async def test_repair_of_nothing(self, storage: FullStorage) -> None:
        """A repair of a journal that is not there makes none."""
        assert await storage.repair_thread("missing") is None
        assert (await storage.append_thread("missing", notes(1), expected_rev=0)).rev == 1

    @needs("repair")
    async def test_raw_checkpoint(self, storage: FullStorage, second: FullStorage) -> None:
        """A checkpoint's text is read as it is stored, with its version; None where nothing is."""
        await storage.put_checkpoint("k", 1)
        await storage.put_checkpoint("k", {"n": (1, 2)})
        raw = await second.read_raw_checkpoint("k")
        assert raw is not None
        assert (codec.loads(raw[0]), raw[1]) == ({"n": (1, 2)}, 2)
        assert await storage.read_raw_checkpoint("missing") is None
