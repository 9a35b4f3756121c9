"""All measurements that need a GPU: checks, recordings, times, and gradients against lag.

``python -m gatewise.cli.gpu -o DIR [STEP ...]`` runs gatewise's own commands, each within its
time: first those that check, at once, then those that measure, one after the other. It ends with
the files to keep: runs, recordings and logs below DIR. Runs can be resumed; recordings are
complete or absent. Without a GPU only the checks run; their report says *not tested*.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

LAYERS = ("RNN", "LSTM", "GRU")
TIMED = "float32,float16,bfloat16"
GRACE = 30.0
"""Seconds that an interrupted command has to write its state."""

FINISHED = (0, 1, 3)
"""The exit codes of commands that finished; 1 and 3 report findings."""


@dataclass(frozen=True)
class Step:
    """A command of gatewise, and the seconds that it may take.

    ``alone``: it measures times, so nothing else may run beside it, as checks may.
    """

    name: str
    command: str
    seconds: float
    needs_gpu: bool = True
    alone: bool = True


def steps(folder: Path) -> tuple[Step, ...]:
    """Return the commands; their runs and recordings go below ``folder``."""
    runs = f"--runs {shlex.quote(str(folder / 'runs'))}"
    jobs = max(1, min(8, (os.cpu_count() or 1) // 2))
    checks = f"--memory 0 --jobs {jobs} --no-diagnosis {runs}"
    times = f"--memory 0 --longest 5 {runs}"
    layers = " ".join(f"--subject cudnn:{name}" for name in LAYERS)
    dtypes = " ".join(f"--dtype {name}" for name in ("float32", "tf32", "float16", "bfloat16"))
    loops = " ".join(f"torch-cuda:{name}" for name in LAYERS)
    return (
        Step("cudnn", f"verify cudnn:* --budget standard --dtype all {checks}", 200,
             needs_gpu=False, alone=False),
        Step("others", "verify cudnn-unflattened:* torch-cuda:* --budget quick --dtype all "
             f"{checks}", 120, needs_gpu=False, alone=False),
        Step("compiled", "verify torch-compile-cuda:* --budget quick --dtype float32 "
             f"--timeout 60 {checks}", 120, needs_gpu=False, alone=False),
        *(Step(f"record-{name}", _record(folder, name), 120, alone=False) for name in LAYERS),
        Step("decay", f"bench decay {layers} {dtypes} --hidden 64 {runs}", 60, alone=False),
        Step("loops", "bench speed cudnn:* cudnn-graph:* torch-cuda:* torch-compile-cuda:* "
             f"--shapes H=64/256,B=1/16,T=16 {times}", 60),
        Step("sizes", f"bench speed cudnn:* {loops} --shapes H=128/129/192/193/256,B=16,T=50 "
             f"--dtype float32,float16 {times}", 60),
        Step("deepbench", "bench speed cudnn:LSTM cudnn-graph:LSTM torch-cuda:LSTM --pass forward "
             f"--shapes deepbench --dtype {TIMED} {times}", 60),
    )  # fmt: skip


def _record(folder: Path, name: str) -> str:
    place = shlex.quote(str(folder / f"cudnn-{name.lower()}"))
    return f"record cudnn:{name} -o {place} --dtype all --memory 0"


@click.command()
@click.argument("names", metavar="[STEP]...", nargs=-1)
@click.option("-o", "--output", "folder", required=True, type=click.Path(path_type=Path),
              help="Where runs and recordings go.")  # fmt: skip
def main(names: Sequence[str], folder: Path) -> None:
    """Run everything that needs a GPU, or the STEPs that are named."""
    available = steps(folder)
    if unknown := set(names) - {step.name for step in available}:
        raise click.UsageError(
            f"{', '.join(sorted(unknown))}: expected {', '.join(step.name for step in available)}"
        )
    gpu = has_gpu()
    if not gpu:
        click.echo("there is no CUDA device that PyTorch can use: nothing of it is tested here")
    chosen = [s for s in available if (not names or s.name in names) and (gpu or not s.needs_gpu)]
    folder.mkdir(parents=True, exist_ok=True)
    checks = [step for step in chosen if not step.alone]
    with ThreadPoolExecutor(max(1, len(checks))) as threads:
        results = threads.map(lambda step: run_step(step, folder / "logs"), checks)
    codes = {step.name: code for step, code in zip(checks, results, strict=True)}
    codes |= {step.name: run_step(step, folder / "logs") for step in chosen if step.alone}
    _print_files(folder, codes)
    if not gpu:
        sys.exit(3)
    if any(code not in FINISHED for code in codes.values()):
        sys.exit(2)


def has_gpu() -> bool:
    """Return whether PyTorch has a CUDA device."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def run_step(step: Step, logs: Path) -> int | None:
    """Run a step's command; return its exit code, None if it did not end within its time.

    What it says is kept in a file of its own below ``logs``, and printed when it has ended.
    """
    arguments = [sys.executable, "-P", "-m", "gatewise", *shlex.split(step.command)]
    logs.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with open(logs / f"{step.name}.txt", "w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            arguments, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code: int | None = process.wait(step.seconds)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        took = time.monotonic() - started
        log.seek(0)
        output = log.read()
    how = f"exit code {code}" if code is not None else "stopped, as its time was over"
    click.echo(f"\n{step.name}: gatewise {step.command}\n{output}{step.name}: {how}, {took:.0f} s")
    return code


def _print_files(folder: Path, codes: dict[str, int | None]) -> None:
    late = [name for name, code in codes.items() if code is None]
    wrong = [name for name, code in codes.items() if code is not None and code not in FINISHED]
    if late:
        click.echo(f"\nnot whole, as their time was over: {', '.join(late)}; what was measured is "
                   "kept, and --resume goes on")  # fmt: skip
    if wrong:
        click.echo(f"\ncould not run: {', '.join(wrong)}")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files) / 2**20
    places = sorted({path.parent for path in files})
    click.echo(f"\nto keep: {len(files)} files, {size:.1f} MiB")
    for place in places:
        click.echo(f"  {place}")


if __name__ == "__main__":
    main()
