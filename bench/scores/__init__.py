"""Scores of gatewise itself: its diagnosis, its checks, its reference's speed."""
