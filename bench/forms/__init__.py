"""Rounding errors of forms of linear recurrences, beside their bounds."""
