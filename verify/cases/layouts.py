"""How rows of different lengths lie, other than padded behind."""

PACKED, LEFT_PADDED = "packed", "left-padded"
RAGGED = (PACKED, LEFT_PADDED)
"""One after another with their boundaries (``cu_seqlens``), and padded in front with a mask."""
