"""Layers that keep their state from one call to the next, until they are reset."""

from __future__ import annotations

from typing import Any

from .loader import UnknownSubject


def reset_method(value: Any, subject: str, name: str) -> str:
    """Return the name of the method that resets a layer; UnknownSubject if it has none."""
    if callable(getattr(value, name, None)):
        return name
    raise UnknownSubject(
        f"subject {subject!r}: stateful says that it keeps its state between calls; expected a "
        f"method {name}() that resets it, or the name of that method as reset"
    )
