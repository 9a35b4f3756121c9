"""The text of an exception. Exceptions of user code may themselves raise when printed."""

from __future__ import annotations

LONGEST_TEXT = 2000


def exception_text(error: BaseException) -> str:
    """Return an exception's class and message, as text that can be written and printed."""
    kind = type(error).__name__
    try:
        text = f"{kind}: {error}"
    except Exception:
        return f"{kind} (its message cannot be read: that raises, too)"
    text = text.encode("utf-8", "backslashreplace").decode()
    printable = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
    return printable if len(printable) <= LONGEST_TEXT else f"{printable[:LONGEST_TEXT]}…"
