"""What is on disk: a run's header, its verdicts, and what may be known before it."""
