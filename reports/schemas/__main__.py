"""``python -m gatewise.reports.schemas`` writes the schemas beside this file."""

from pathlib import Path

from . import write

write(Path(__file__).parent)
