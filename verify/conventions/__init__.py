"""Conventions: how recurrent layers are written, and the maps between them."""

from .convention import Convention
from .parameter_map import NoHome

__all__ = ["Convention", "NoHome"]
