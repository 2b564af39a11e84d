"""ADK sessions in the host's database: events, and the state that a session, a user and an app keep."""

from jido_tortoise.adk.pages import SessionPage
from jido_tortoise.adk.pruning import Pruned
from jido_tortoise.adk.store import AdkSessionStore
from jido_tortoise.adk.values import (
    Actions,
    Blob,
    Content,
    Event,
    FunctionCall,
    FunctionResponse,
    Part,
    Session,
)

__all__ = [
    "Actions",
    "AdkSessionStore",
    "Blob",
    "Content",
    "Event",
    "FunctionCall",
    "FunctionResponse",
    "Part",
    "Pruned",
    "Session",
    "SessionPage",
]
