"""Command lines and files of all kinds: an answer, or one sentence and the exit code for it.

GATEWISE_FUZZ says how many of each are tried; by hand, thousands. What would take long (layers'
processes, benches, audits) is left out: it is what stands around it that is tried.
"""

import json
import os
import random
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from commands import invoke
from gatewise.bench import run as run_of_benches
from gatewise.bench.scores import kill_matrix
from gatewise.cli import COMMANDS, main, mutants
from gatewise.verify.audit.suite import Auditor, CouldNotRun
from gatewise.verify.execution.isolation import Isolated, ProcessEnded
from gatewise.verify.proofs import runner
from hostile import TEXTS, alter
from pools import Pool, install

COUNT = int(os.environ.get("GATEWISE_FUZZ", "40"))
PUBLISHED = Path(__file__).parents[2] / "reports/results/published/runs"
VALUES = (
    *(text.replace("\x00", "").replace("\ud800", "\udcff") for text in TEXTS),
    "nan", "inf", "-1", "0", "1e300", "1e10", "9" * 400, "²", "{}", "[" * 10**5, '{"T": 1}',
    '{"T":1,"B":1,"D":1,"H":1}', "/dev/full", "/dev/null", "/dev/zero", "/proc/self/mem", ".", "..",
    "/", "there", "there.json", "there.npz", "there.xml", "there.toml", "a" * 5000, "a/" * 3000,
    "torch:LSTM", "torch:*", "there:*", "a.py:", ":b", "recording:there", "recording:",
    "mutant:", "mutant:G01[lstm]", "T=1", "T=4,H=9", "secret", "--", "-h",
)  # fmt: skip


@pytest.fixture
def here(here, monkeypatch):
    """An empty folder in which nothing takes long."""

    def ended(*_, **__):
        raise ProcessEnded("the process ended itself with exit code 1")

    def stopped(*_, **__):
        raise CouldNotRun("the suite could not be run")

    monkeypatch.setattr(Isolated, "_ask", ended)
    monkeypatch.setattr(Auditor, "baseline", stopped)
    monkeypatch.setattr(run_of_benches, "carry_out", lambda *_: ())
    monkeypatch.setattr(kill_matrix, "decide", lambda *_, **__: ())
    monkeypatch.setattr(mutants, "_see", lambda *_, **__: None)
    monkeypatch.setattr(runner, "choose", chosen)
    install(monkeypatch, Pool(other="failed"))
    return here


def chosen(patterns):
    raise ValueError("no proof is tried here")


def harmless(arguments):
    """It ends with a documented exit code, and says why in few words."""
    shown = str(arguments)[:2000]
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"{shown}: {result.exception!r:.500}") from result.exception
    assert "Traceback" not in result.output, f"{shown}: {result.output[-3000:]}"
    assert "gatewise itself failed" not in result.output, f"{shown}: {result.output[-1500:]}"
    assert result.exit_code in (0, 1, 2, 3), shown
    if result.exit_code == 2:
        assert len(result.output) < 4000, shown
    return result


def command_lines():
    """Return every command with its parameters, those of groups among them."""
    found = []
    for name in sorted(COMMANDS):
        command = main.get_command(None, name)
        if isinstance(command, click.Group):
            found += [((name, each), command.get_command(None, each).params)
                      for each in command.list_commands(None)]  # fmt: skip
        else:
            found.append(((name,), command.params))
    return found


LINES = command_lines()


def drawn(draw):
    """Return a command line of real options, most of whose values are odd."""
    names, params = draw.choice(LINES)
    line = [*names]
    for param in params:
        if isinstance(param, click.Argument):
            count = draw.choice([0, 1, 1, 1, 2]) if param.nargs == -1 else 1
            values = [draw.choice(VALUES) for _ in range(count)]
            line += [value if not value.startswith("-") else f"./{value}" for value in values]
        elif draw.random() < (0.9 if param.required else 0.2):
            option = draw.choice(param.opts)
            line += [option] if param.is_flag else [option, draw.choice(VALUES)]
    return line


@pytest.mark.parametrize("part", range(10))
def test_command_lines(here, part):
    shutil.copytree(PUBLISHED / run_of("checks"), here / "there")
    for name in ("there.json", "there.npz", "there.xml", "there.toml"):
        (here / name).write_text('{"a": [1]}')
    draw = random.Random(part)
    for _ in range(max(1, COUNT // 10)):
        harmless(drawn(draw))


def run_of(kind):
    """Return the name of a published run of a kind."""
    for header in sorted(PUBLISHED.glob("*/run.json")):
        if json.loads(header.read_text()).get("kind", "checks") == kind:
            return header.parent.name
    raise LookupError(kind)


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """A small run of checks that was made here."""
    folder = tmp_path_factory.mktemp("right")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        install(patch, Pool(other="failed"))
        result = invoke("verify torch:LSTM --check smoke,forward,final --no-diagnosis")
    assert result.exit_code == 1
    (run,) = (folder / "runs").iterdir()
    return run


def damaged(draw, source, folder):
    """Write a copy of a run in which some value, line or byte is another; return it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    path = draw.choice(sorted(p for p in folder.iterdir() if p.is_file()))
    data = path.read_bytes()
    how = draw.choice(["value", "value", "value", "bytes", "cut", "lost", "folder", "twice"])
    if how == "value":
        lines = [data.decode()] if path.name == "run.json" else data.decode().splitlines()
        number = draw.randrange(len(lines))
        value = json.loads(lines[number])
        alter(value, draw)
        lines[number] = json.dumps(value)
        path.write_text("".join(f"{line}\n" for line in lines))
    elif how == "bytes":
        spoilt = bytearray(data)
        for _ in range(draw.randint(1, 5)):
            spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
        path.write_bytes(spoilt)
    elif how == "cut":
        path.write_bytes(data[: draw.randrange(len(data))])
    elif how == "twice":
        path.write_bytes(data + data)
    else:
        path.unlink()
        if how == "folder":
            path.mkdir()
    return folder


@pytest.mark.parametrize("part", range(10))
def test_damaged_runs(here, right, part):
    draw = random.Random(part)
    for _ in range(max(1, COUNT // 10)):
        run = damaged(draw, right, here / "run")
        form = draw.choice([".html", ".md", ".md", ".xml", ".json"])
        reported = harmless(["report", str(run), "-o", f"a{form}"])
        compared = harmless(["compare", str(right), str(run)])
        resumed = harmless(["verify", "--resume", str(run), "--no-diagnosis"])
        assert reported.exit_code in (0, 2, 3)
        assert compared.exit_code in (0, 2, 3)
        assert resumed.exit_code in (1, 2, 3), "a layer that failed passes"


BENCHES = {
    "claims": ("claims",), "cost": ("bench", "cost"), "decay": ("bench", "decay"),
    "evidence": ("evidence",), "forms": ("bench", "forms"), "memory": ("bench", "memory"),
    "mutants": ("mutants",), "speed": ("bench", "speed"),
}  # fmt: skip
"""What goes on with each kind of run."""


@pytest.fixture(scope="module")
def benches(tmp_path_factory):
    """The published runs of benches, with few of their rows."""
    folder, found = tmp_path_factory.mktemp("benches"), {}
    for header in sorted(PUBLISHED.glob("*/run.json")):
        said = json.loads(header.read_text())
        if said.get("kind") in BENCHES:
            run = found[said["kind"]] = folder / said["kind"]
            run.mkdir(exist_ok=True)
            said["planned"] = said["planned"][:20]
            (run / "run.json").write_text(json.dumps(said))
            rows = (header.parent / "rows.jsonl").read_text(encoding="utf-8").splitlines(True)
            (run / "rows.jsonl").write_text("".join(rows[:4]), encoding="utf-8")
    assert len(found) > 3
    return found


@pytest.mark.parametrize("part", range(10))
def test_damaged_benches(here, benches, part):
    draw = random.Random(part)
    for _ in range(max(1, COUNT // 10)):
        kind = draw.choice(sorted(benches))
        run = damaged(draw, benches[kind], here / "run")
        harmless(["report", str(run), "-o", "a.md"])
        harmless(["compare", str(benches[kind]), str(run)])
        harmless([*BENCHES[kind], "--resume", str(run), "--json"])


def test_an_undamaged_run_is_told_and_gone_on_with(here, right):
    """Or what is above would show nothing."""
    run = shutil.copytree(right, here / "run")
    assert harmless(["report", str(run), "-o", "a.html"]).exit_code == 0
    assert harmless(["compare", str(right), str(run)]).exit_code == 0
    assert harmless(["verify", "--resume", str(run), "--no-diagnosis"]).exit_code == 1
