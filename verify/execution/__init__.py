"""Execution of checks: sessions, the judge, and the processes in which subjects run."""
