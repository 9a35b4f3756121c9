"""All measurements that need a GPU: checks, recordings, times, and gradients against lag.

``python -m gatewise.cli.gpu -o DIR [STEP ...]`` runs gatewise's own commands one after the
other, each within a time limit, together some ten minutes on one H200, and lists the files to keep:
runs and recordings below DIR. Runs can be resumed; recordings are complete or absent. Without
a GPU only the checks run; their report says *not tested*.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

LAYERS = ("RNN", "LSTM", "GRU")
TIMED = "float32,float16,bfloat16"
ENDED = 30.0
"""Seconds that an interrupted command has to write its state."""

FINE = (0, 1, 3)
"""The exit codes of commands that finished; 1 and 3 report findings."""


@dataclass(frozen=True)
class Step:
    """A command of gatewise, and its time limit in seconds."""

    name: str
    command: str
    seconds: float
    needs_gpu: bool = True


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
        Step("cudnn", f"verify cudnn:* --budget standard --dtype all {checks}", 130,
             needs_gpu=False),
        Step("others", "verify cudnn-unflattened:* torch-cuda:* --budget quick --dtype all "
             f"{checks}", 40, needs_gpu=False),
        *(Step(f"record-{name}", _record(folder, name), 60) for name in LAYERS),
        Step("sizes", f"bench speed cudnn:* {loops} --shapes H=128/129/192/193/256,B=16,T=50 "
             f"--dtype float32,float16 {times}", 50),
        Step("loops", "bench speed cudnn:* cudnn-graph:* torch-cuda:* torch-compile-cuda:* "
             f"--shapes H=64/256,B=1/16,T=16 {times}", 50),
        Step("decay", f"bench decay {layers} {dtypes} --hidden 64 {runs}", 20),
        Step("compiled", "verify torch-compile-cuda:* --budget quick --dtype float32 "
             f"--timeout 60 {checks}", 50, needs_gpu=False),
        Step("deepbench", "bench speed cudnn:LSTM cudnn-graph:LSTM torch-cuda:LSTM --pass forward "
             f"--shapes deepbench --dtype {TIMED} {times}", 50),
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
    codes = {step.name: carried_out(step) for step in chosen}
    _tell(folder, codes)
    if not gpu:
        sys.exit(3)
    if any(code not in FINE for code in codes.values()):
        sys.exit(2)


def has_gpu() -> bool:
    """Return whether PyTorch has a CUDA device."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def carried_out(step: Step) -> int | None:
    """Run a step's command; return its exit code, None if it exceeded its time."""
    arguments = [sys.executable, "-P", "-m", "gatewise", *shlex.split(step.command)]
    click.echo(f"\n{step.name}: gatewise {step.command}")
    started = time.monotonic()
    process = subprocess.Popen(arguments, start_new_session=True)
    try:
        code: int | None = process.wait(step.seconds)
    except subprocess.TimeoutExpired:
        code = None
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(ENDED)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    took = time.monotonic() - started
    result = f"exit code {code}" if code is not None else "stopped, as its time was over"
    click.echo(f"{step.name}: {result}, {took:.0f} s")
    return code


def _tell(folder: Path, codes: dict[str, int | None]) -> None:
    late = [name for name, code in codes.items() if code is None]
    wrong = [name for name, code in codes.items() if code is not None and code not in FINE]
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
