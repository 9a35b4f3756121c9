"""Layouts of rows of different lengths, other than padding at the end."""

PACKED, LEFT_PADDED = "packed", "left-padded"
RAGGED = (PACKED, LEFT_PADDED)
"""Rows one after another with their boundaries (``cu_seqlens``), or padded in front (a mask)."""
