"""What a database's error means, on every engine."""

from __future__ import annotations

from typing import Final

#: Serialization failure and deadlock (PostgreSQL), lock wait timeout and deadlock (MySQL).
_PASSING: Final = frozenset({"40001", "40P01", "1205", "1213"})
_STATEMENT_TIMEOUT: Final = "57014"  # PostgreSQL.
_NO_TABLE: Final = frozenset({"42P01", "1146"})


def _code(error: Exception) -> str:
    """Return what the engine calls *error*: its SQLSTATE, or MySQL's number; empty in SQLite."""
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or next(iter(error.args), None)
    return str(code) if isinstance(code, int) or (isinstance(code, str) and len(code) == 5) else ""


def name_of(error: Exception) -> str:
    """Return class and code. Never the text: that may quote a row, or a password."""
    return f"{type(error).__name__} {_code(error)}".rstrip()


def is_passing(error: Exception) -> bool:
    """Say whether the same may work in a moment: a deadlock, a conflict or, in SQLite, another writer."""
    # "database is locked"; of a database in memory that connections share, "database table is locked".
    text = str(error)
    return _code(error) in _PASSING or (text.startswith("database ") and "is locked" in text)


def is_slow(error: Exception) -> bool:
    """Say whether a lock or a statement took too long."""
    return _code(error) == _STATEMENT_TIMEOUT or is_passing(error)


def is_missing_table(error: Exception) -> bool:
    """Say whether the table does not exist."""
    return _code(error) in _NO_TABLE or str(error).startswith("no such table")
