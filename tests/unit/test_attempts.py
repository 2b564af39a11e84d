"""What was pushed aside by others is tried again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jido_tortoise import seams
from jido_tortoise.attempts import ATTEMPTS, repeated
from jido_tortoise.errors import ConflictError, InvalidInputError


@pytest.fixture(autouse=True)
def pauses() -> Iterator[list[float]]:
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    with seams.replaced(sleep=sleep):
        yield made


class Pushed:
    """Fails so often before it answers, and tells how often it was tried."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or ConflictError("others were faster", reason="stale")
        self.tried = 0

    async def __call__(self) -> str:
        self.tried += 1
        if self.tried > self.failures:
            return "done"
        raise self.error


async def test_the_first_that_nobody_pushes_aside_is_answered(pauses: list[float]) -> None:
    attempt = Pushed(3)
    assert await repeated(attempt, ConflictError) == "done"
    assert attempt.tried == 4
    assert len(pauses) == 3


async def test_the_last_attempt_raises(pauses: list[float]) -> None:
    attempt = Pushed(ATTEMPTS)
    with pytest.raises(ConflictError) as caught:
        await repeated(attempt, ConflictError)
    assert caught.value is attempt.error
    assert attempt.tried == ATTEMPTS
    assert len(pauses) == ATTEMPTS - 1


async def test_no_two_pause_alike_and_all_longer_and_longer(pauses: list[float]) -> None:
    """Two that were in step are not after it; and nobody waits long."""
    for _ in range(2):
        with pytest.raises(ConflictError):
            await repeated(Pushed(ATTEMPTS), ConflictError)
    assert len(set(pauses)) == len(pauses)
    most = [min(0.004 * 2**n, 0.1) for n in range(ATTEMPTS - 1)] * 2
    assert all(0 <= pause <= longest for pause, longest in zip(pauses, most, strict=True))


async def test_what_is_none_of_the_errors_is_raised_at_once(pauses: list[float]) -> None:
    attempt = Pushed(1, InvalidInputError("no"))
    with pytest.raises(InvalidInputError):
        await repeated(attempt, ConflictError)
    assert (attempt.tried, pauses) == (1, [])


async def test_an_error_that_does_not_count_is_raised_at_once(pauses: list[float]) -> None:
    attempt = Pushed(1)
    with pytest.raises(ConflictError):
        await repeated(attempt, ConflictError, when=lambda error: error.reason == "stale_run")
    assert (attempt.tried, pauses) == (1, [])
