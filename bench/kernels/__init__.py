"""Submissions to a benchmark of kernels: honest ones, cheats, and their speed."""
