"""Run files: headers, verdicts, diagnoses, and the deviations that a user accepts."""
