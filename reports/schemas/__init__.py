"""JSON Schemas of gatewise's runs, for programs that read them.

They are derived from the classes with which gatewise reads runs, and a test compares them:
``python -m gatewise.reports.schemas`` writes them again.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from ...bench.claims.ledger import Row as ClaimRow
from ...bench.decay.rows import KINDS
from ...bench.evidence.plan import LayerRow
from ...bench.evidence.plan import MutantRow as SumsOfMutantRow
from ...bench.forms.plan import Row as FormsRow
from ...bench.memory.plan import Row as MemoryRow
from ...bench.scores import kill_matrix
from ...bench.scores.kill_matrix import Row as MutantRow
from ...bench.speed.rows import Group
from ...verify.recordings import files as files_of_recordings
from ...verify.runs import run as run_files
from ...verify.runs.diagnosis import Diagnosis
from ...verify.runs.records import schema
from ...verify.runs.status import STATUSES
from ...verify.runs.verdict import Verdict
from ...verify.subjects.program import LINES
from ...verify.vectors import files as files_of_vectors

ROWS: dict[str, tuple[Any, ...]] = {
    "claims": (ClaimRow,),
    "decay": tuple(KINDS.values()),
    "evidence": (LayerRow, SumsOfMutantRow),
    "forms": (FormsRow,),
    "memory": (MemoryRow,),
    "speed": (Group,),
}
"""The row types of each kind of bench; for speed, those of groups."""

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def generate() -> dict[str, dict[str, Any]]:
    """Return the schema of every kind of file, by its name in this folder."""
    verdict = schema(Verdict)
    verdict["properties"]["status"] = {"enum": list(STATUSES)}
    verdict["required"] = list(verdict["properties"])
    schemas = {
        "run": _header(run_files.CheckHeader, run_files.SCHEMA),
        "verdict": verdict,
        "diagnosis": schema(Diagnosis),
        "recording": _header(files_of_recordings.Recording, files_of_recordings.SCHEMA),
        "program": _lines(),
        "vectors": _header(files_of_vectors.Vectors, files_of_vectors.SCHEMA),
        "bench": _header(run_files.BenchHeader, run_files.BENCH_SCHEMA),
        "row": _row({}),
        f"row-{kill_matrix.KIND}": _row({"row": schema(MutantRow)}),
        **{f"row-{kind}": schema(*rows) for kind, rows in ROWS.items()},
    }
    return {name: {"$schema": DRAFT, **fields} for name, fields in schemas.items()}


def stored() -> dict[str, dict[str, Any]]:
    """Return the schemas of the package's files."""
    texts = {f.name: f.read_text(encoding="utf-8") for f in files(__name__).iterdir()
             if f.name.endswith(".json")}  # fmt: skip
    return {name.removesuffix(".json"): json.loads(text) for name, text in texts.items()}


def write(folder: Path) -> None:
    """Write all schemas to a folder."""
    for name, fields in generate().items():
        (folder / f"{name}.json").write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


def _header(kind: Any, version: str) -> dict[str, Any]:
    document = schema(kind)
    document["properties"]["schema"] = {"const": version}
    return document


def _lines() -> dict[str, Any]:
    """Return the schema of the lines that programs in other languages read and write."""
    references, parts = msgspec.json.schema_components(LINES, ref_template="#/$defs/{name}")
    return {"anyOf": list(references), "$defs": parts}


def _row(extra: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a bench's row: the common fields, and ``extra``, all required."""
    properties = {"id": {"type": "string"}, "status": {"type": "string"}, **extra}
    return {"type": "object", "properties": properties, "required": list(properties)}
