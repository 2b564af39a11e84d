"""The one hot path: gapless numbered rows under a head row, appended in one step.

Agents' threads, ADK sessions and recorded sessions are all this; `table.JournalTable` says which tables and columns.

- On PostgreSQL an append is one autocommit statement; the head's row lock orders writers, so that without an expected
  counter it never conflicts.
- On SQLite it is one job in the connection's thread, under BEGIN IMMEDIATE; inside a transaction under a savepoint.
- A refused append has written nothing and leaves the transaction around it usable.
"""

from jido_tortoise.journal.operations import append, copy, delete, load, read_head, read_rows, repair, trim, walk
from jido_tortoise.journal.table import Append, Column, Follower, Head, JournalTable, Refused, Sibling, Touch, Written

__all__ = [
    "Append",
    "Column",
    "Follower",
    "Head",
    "JournalTable",
    "Refused",
    "Sibling",
    "Touch",
    "Written",
    "append",
    "copy",
    "delete",
    "load",
    "read_head",
    "read_rows",
    "repair",
    "trim",
    "walk",
]
