"""Right recurrences that no catalogue holds, as people write them: what ``recurrences`` mutates.

Each file holds one class ``Layer`` that is declared without equations.
"""
