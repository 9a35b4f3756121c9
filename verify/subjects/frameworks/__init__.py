"""Adapters of frameworks, one file each; a new file with ``SUBJECTS`` is found by itself."""
