"""Timing of calls, and comparison of their times.

``measure`` times one call and keeps every sample. ``compare`` times two calls side by side and says
FASTER, SLOWER, SAME or AMBIGUOUS. ``rounds`` does that with any number of calls. ``noise_floor``
compares a call with itself: nothing smaller is called a difference. ``corrected`` pays for looking
at many comparisons. ``python -m gatewise.bench.scores.false_calls`` counts wrong verdicts.
"""
