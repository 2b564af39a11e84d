"""What the toolkit itself raises; each message names the cure."""

from __future__ import annotations


class JidoSandboxError(RuntimeError):
    """A sandbox was asked for something that it must not, or cannot, do."""
