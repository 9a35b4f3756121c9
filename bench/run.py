"""A bench's run: a folder with ``run.json`` (what was planned) and ``rows.jsonl``."""

from ..verify.runs.records import typed as from_json
from ..verify.runs.run import BenchRun, append, drop_torn_line
from ..verify.runs.run import read_bench as read
from ..verify.runs.run import start_bench as start

__all__ = ["BenchRun", "append", "drop_torn_line", "from_json", "read", "start"]
