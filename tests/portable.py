"""The suite under several instruction sets, threads and Pythons; ``nox -s portable`` runs it.

Each library takes its kernels by the processor it finds; the variables here have it take those of
another, and it is asked what it took. Processors are those of x86-64.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gatewise.bench.timing.environment import THREADS
from gatewise.reports.comparison import Change, compare
from gatewise.verify.runs.run import read

OUT = Path("reports/out/portable")
SUBJECTS = ("torch:RNN", "torch:LSTM", "torch:GRU")

_DISPATCH = np.show_config(mode="dicts")["SIMD Extensions"]
BASELINE = " ".join([*_DISPATCH.get("found", []), *_DISPATCH.get("not found", [])])
"""All that NumPy has beyond its baseline: to disable what a NumPy does not have is an error."""

LIBRARIES: tuple[tuple[dict[str, str], dict[str, str]], ...] = (
    ({"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": BASELINE},
     {"OPENBLAS_CORETYPE": "Haswell"}),
    ({"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
     {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"}),
    ({"ONEDNN_MAX_CPU_ISA": "SSE41"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    (dict.fromkeys(THREADS, "1"), dict.fromkeys(THREADS, "2")),
)  # fmt: skip
"""NumPy's, ATen's and oneDNN's kernels and the threads: of each an old and a newer choice."""

CHOICES = {
    "oldest": (0, 0, 0, 0), "old-numpy": (0, 1, 1, 1), "old-aten": (1, 0, 1, 1),
    "old-onednn": (1, 1, 0, 1), "haswell": (1, 1, 1, 0),
}  # fmt: skip
"""Which choice each setting makes; any two choices, of two libraries, meet in one of them."""

SETTINGS = {
    name: {
        variable: value
        for options, c in zip(LIBRARIES, chosen, strict=True)
        for variable, value in options[c].items()
    }
    for name, chosen in CHOICES.items()
}
OWN = "as it is"
"""The machine's own setting. Its suite is ``nox -s tests``, its verdicts the others are held to."""

PYTHONS = ("python3.12", "python3.13")

EXPOSED = (
    "bench/decay/test_decay.py", "bench/decay/test_horizon.py", "bench/decay/test_theory.py",
    "bench/speed/test_ladder.py", "reference/test_against_documents.py",
    "reference/test_against_documents_around.py", "reference/test_documents.py",
    "reference/test_edges.py", "reference/test_fast.py", "reference/test_topologies.py",
    "reference/test_validation.py", "verify/numbers/test_bounded_rules.py",
    "verify/numbers/test_dual.py", "verify/numbers/test_number_systems.py",
)  # fmt: skip
"""The quick half: tests of numbers, most exposed to how a machine rounds."""

WITHOUT_TORCH = (
    *EXPOSED, "reference/test_catalogue.py", "reference/test_transcriptions.py",
    "reports/test_schemas.py", "verify/cases", "verify/conventions/test_formula.py",
    "verify/numbers/test_ledger.py", "verify/proofs",
)  # fmt: skip
"""What a Python is tested with for which no torch is installed."""

PROBE = """
import numpy, torch
simd = numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
print("NumPy:", simd[-1] if simd else "baseline")
print("ATen:", torch.backends.cpu.get_cpu_capability())
print("threads:", torch.get_num_threads())
with torch.no_grad():
    torch.nn.LSTM(2, 2)(torch.zeros(1, 1, 2))
"""
TAKEN = {
    "OPENBLAS_CORETYPE": {"Nehalem": "Core: Nehalem", "Haswell": "Core: Haswell"},
    "NPY_DISABLE_CPU_FEATURES": {BASELINE: "NumPy: baseline"},
    "ATEN_CPU_CAPABILITY": {"default": "ATen: DEFAULT", "avx2": "ATen: AVX2"},
    "ONEDNN_MAX_CPU_ISA": {"SSE41": "isa:Intel SSE4.1", "AVX2": "isa:Intel AVX2"},
    "OMP_NUM_THREADS": {"1": "threads: 1", "2": "threads: 2"},
}
"""What the libraries say, told to say what they took, where they took what a variable asks."""


@dataclass(frozen=True)
class Row:
    """How the suite went under a setting; ``note`` says what was not tested, or differs."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    note: str = ""
    red: bool = False

    def __str__(self) -> str:
        counts = f"{self.passed:7} {self.failed:7} {self.skipped:8} {self.seconds:8.0f}"
        return f"{self.name:12} {counts}  {self.note}".rstrip()


def main() -> int:
    """Run what is asked for; return 1 where something is red."""
    parser = argparse.ArgumentParser(prog="nox -s portable --", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*SETTINGS, *PYTHONS]))
    parser.add_argument("--quick", action="store_true", help="the tests of numbers alone")
    asked = parser.parse_args()
    every = ["oldest", "haswell"] if asked.quick else [*SETTINGS, *PYTHONS]
    names = asked.names or every
    if unknown := [name for name in names if name not in {*SETTINGS, *PYTHONS}]:
        parser.error(f"{', '.join(unknown)}: expected {', '.join([*SETTINGS, *PYTHONS])}")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    rows = [under(name, EXPOSED if asked.quick else ()) for name in names if name in SETTINGS]
    if rows:
        own = verified(OWN, {})
        rows = [compared(row, differing(own, OUT / row.name)) for row in rows]
    rows += [with_python(name) for name in names if name in PYTHONS]
    print(*told(rows), sep="\n")
    return int(any(row.red for row in rows))


def under(name: str, paths: Sequence[str]) -> Row:
    """Run tests, all if none are named, and the layers' checks under a setting."""
    variables = SETTINGS[name]
    if refused := not_taken(variables):
        print(f"{name}: without effect on this machine: {refused}")
        return Row(name, note="not tested: see above", red=True)
    row = tested(name, sys.executable, paths, variables)
    verified(name, variables)
    return row


def not_taken(variables: Mapping[str, str]) -> str:
    """Return which variables had no effect, by what the libraries say themselves."""
    talking = {**os.environ, "OPENBLAS_VERBOSE": "2", "ONEDNN_VERBOSE": "1", **variables}
    done = subprocess.run([sys.executable, "-P", "-c", PROBE], env=talking,
                          capture_output=True, text=True, check=False)  # fmt: skip
    said = done.stdout + done.stderr
    expected = {name: TAKEN[name][value] for name, value in variables.items() if name in TAKEN}
    return ", ".join(name for name, words in expected.items() if words not in said)


def tested(name: str, python: str, paths: Sequence[str], variables: Mapping[str, str]) -> Row:
    """Run pytest and count."""
    print(f"\n{name}: {' '.join(f'{k}={v}' for k, v in variables.items())}", flush=True)
    found, started = OUT / f"{name}.xml", time.monotonic()
    chosen = [f"tests/{path}" for path in paths]
    compiled = str((OUT / f"{name}-compiled").resolve())  # another setting's does not fit this one
    done = subprocess.run(
        [python, "-P", "-m", "pytest", "-q", "-n", "auto", "--dist", "worksteal",
         f"--junit-xml={found}", *chosen],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "TORCHINDUCTOR_CACHE_DIR": compiled,
             **variables}, check=False,
    )  # fmt: skip
    row = Row(name, seconds=time.monotonic() - started, red=done.returncode != 0)
    if not found.exists():
        return replace(row, note=f"pytest ended with {done.returncode}")
    suites = ET.parse(found).getroot().iter("testsuite")
    tests, *others = np.sum([[int(suite.get(kind, "0")) for kind in
                              ("tests", "failures", "errors", "skipped")] for suite in suites],
                            axis=0).tolist()  # fmt: skip
    return replace(row, passed=tests - sum(others), failed=sum(others[:2]), skipped=others[2])


def verified(name: str, variables: Mapping[str, str]) -> Path:
    """Hold torch's layers to the checks; return the folder of the run, whatever its verdicts."""
    folder = OUT / name
    command = [sys.executable, "-P", "-m", "gatewise", "verify", *SUBJECTS, "--budget", "quick",
               "--seed", "0", "--runs", str(folder)]  # fmt: skip
    log = OUT / f"{name}.verify.txt"
    with log.open("w", encoding="utf-8") as file:
        subprocess.run(command, env={**os.environ, **variables}, stdout=file, stderr=file,
                       check=False)  # fmt: skip
    return folder


def differing(own: Path, other: Path) -> list[Change] | None:
    """Return the verdicts that differ between runs in two folders; None where one is missing."""
    made = [sorted(folder.glob("*/run.json")) for folder in (own, other)]
    if not all(made):
        return None
    runs = [read(found[-1].parent) for found in made]
    changes = compare(runs[0], runs[1], (own.name, other.name)).changes
    return [change for change in changes if change.kind == "check"]


def compared(row: Row, changes: list[Change] | None) -> Row:
    """Add what the checks say to what the tests say."""
    if changes is None:
        return replace(row, note=row.note or "no verdicts", red=True)
    if not changes:
        return replace(row, note="same verdicts")
    print(f"\n{row.name}: verdicts that are not those of the machine {OWN}")
    print(*(f"  {c.what}: {c.before}, {c.after} here" for c in changes), sep="\n")
    return replace(row, note=f"{len(changes)} VERDICTS DIFFER", red=True)


def with_python(name: str) -> Row:
    """Run what needs no torch on another Python; where that is not there, say so."""
    try:
        subprocess.run([name, "-c", ""], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return Row(name, note="not there: not tested")
    folder = OUT / name
    python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    subprocess.run([name, "-m", "venv", str(folder)], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "-c", "constraints.txt", "-e",
                    ".[report,test]"], check=True)  # fmt: skip
    return replace(tested(name, python, WITHOUT_TORCH, {}), note="what needs torch: not tested")


def told(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table, 80 columns wide at most."""
    yield f"\n{'setting':12} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}"
    yield from map(str, rows)


if __name__ == "__main__":
    sys.exit(main())
