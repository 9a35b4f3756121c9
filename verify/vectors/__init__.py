"""Test vectors that travel: numbers with bounds, and the mistakes that each of them catches."""
