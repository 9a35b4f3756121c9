"""Causes of failures that need no search: exceptions, randomness, writes to arguments."""
