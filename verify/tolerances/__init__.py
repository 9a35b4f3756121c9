"""Tolerances: the spread of correct implementations, and the mistakes that a tolerance passes.

``evaluation`` computes like some correct implementation; ``certificate`` derives the smallest
tolerance that none exceeds, and measures the share that is used; ``grade`` judges a tolerance.
"""
