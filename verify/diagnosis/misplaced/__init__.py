"""Right numbers in the wrong place, and parameters read from the wrong place."""
