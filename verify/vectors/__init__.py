"""Test vectors for other programs: numbers with bounds, and the mistakes that they catch."""
