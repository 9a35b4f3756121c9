"""The largest limits that users may set; clocks and systems cannot represent more."""

MOST_SECONDS = 30 * 86400.0
"""The longest time limit of a check in seconds."""

MEMORY = 4096
"""MiB that a subject may take, by default."""

LARGEST_MEMORY = 2**24
"""The largest memory limit in MiB: 16 TiB."""
