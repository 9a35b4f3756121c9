"""Tolerances: how far right implementations lie apart, and what a tolerance lets through.

``evaluation`` computes as some right implementation might; ``certificate`` derives the smallest
tolerance that none exceeds, and measures what of it is used; ``grade`` judges somebody's own.
"""
