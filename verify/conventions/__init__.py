"""Conventions: how recurrent layers are written, and the maps between them."""

from .convention import Convention
from .mapping import NoHome

__all__ = ["Convention", "NoHome"]
