"""What the toolkit itself raises; each message names the cure."""

from __future__ import annotations

#: What a test is told that reaches for the database without a sandbox.
CURE = (
    "Ask for the fixture jido_db (or jido, jido_storage), or mark the test with @pytest.mark.jido_db: then it has a"
    " database of its own, and Tortoise.init() gives it."
)


class JidoSandboxError(RuntimeError):
    """A sandbox was asked for something that it must not, or cannot, do."""
