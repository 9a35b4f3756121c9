"""Submissions to a benchmark of kernels: honest ones, cheats, and how fast one is."""
