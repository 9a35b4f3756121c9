"""What an exception says: a layer's own is a program, too, and may raise as it is told."""

from __future__ import annotations

LONGEST = 2000


def words(error: BaseException) -> str:
    """Return an exception's kind and message, as text that can be written and printed."""
    kind = type(error).__name__
    try:
        said = f"{kind}: {error}"
    except Exception:
        return f"{kind} (its message cannot be read: that raises, too)"
    said = said.encode("utf-8", "backslashreplace").decode()
    shown = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in said)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
