"""What an exception says: a layer's own is a program, too, and may raise as it is told."""

from __future__ import annotations


def words(error: BaseException) -> str:
    """Return an exception's kind and message."""
    kind = type(error).__name__
    try:
        return f"{kind}: {error}"
    except Exception:
        return f"{kind} (its message cannot be read: that raises, too)"
