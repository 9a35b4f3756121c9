"""What forms of linear recurrences lose in rounding, beside their bounds."""
