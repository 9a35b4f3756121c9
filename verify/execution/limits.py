"""What a subject may be given at most; beyond it clocks and systems have no numbers."""

LONGEST = 30 * 86400.0
"""Seconds that one check may take."""

MEMORY = 4096
"""MiB that a subject may take, by default."""

LARGEST_MEMORY = 2**24
"""MiB: 16 TiB."""
