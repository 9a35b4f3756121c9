"""A run of the speed bench: who is wrong, crashes, hangs or starves gets a status and no time."""

import json
from contextlib import closing

import pytest

from commands import invoke, refused
from gatewise.bench import run
from gatewise.bench.cost.shape import Shape
from gatewise.bench.speed import plan as planning
from gatewise.bench.speed import rows
from gatewise.bench.speed.analysis import analysed
from gatewise.bench.speed.contender import FORWARD, TRAINING
from gatewise.bench.speed.measurement import Request, measured
from gatewise.bench.speed.process import SpeedProcess
from gatewise.reports import figures
from gatewise.reports.section import Figure, Table
from gatewise.reports.sections.speed import section

WRONG = '''
import sys
sys.path.insert(0, {tests!r})
from plain_numpy import LSTM


class Right(LSTM):
    pass


class Swapped(LSTM):
    """Input and forget gate exchanged."""

    def forward(self, params, x, state, lengths=None):
        p = dict(params)
        p["U"] = p["U"][[1, 0, 2, 3]]
        return super().forward(p, x, state, lengths)


class NoCarry(LSTM):
    """Its gradient of c0 is that of a run without the last step."""

    def vjp(self, params, x, state, dy, dstate, lengths=None):
        dp, dx, (dh, dc) = super().vjp(params, x, state, dy, dstate, lengths)
        return dp, dx, (dh, 0 * dc)
'''


@pytest.fixture
def contenders(root, tmp_path):
    """The names of contenders in a file of their own."""
    path = tmp_path / "mine.py"
    path.write_text(WRONG.format(tests=str(root / "tests" / "doubles")), encoding="utf-8")
    return lambda *names: tuple(f"{path}:{name}" for name in names)


def group(subjects, passes=(FORWARD, TRAINING), **more):
    shape = Shape(T=6, B=3, D=4, H=5)
    return Request("a group", "lstm", shape, "float64", tuple(subjects), passes, **more)


def test_a_wrong_contender_gets_no_time(contenders):
    """Wrong forward: no time at all; wrong gradients: none in training. The others are timed."""
    found = measured(group(contenders("Swapped", "NoCarry", "Right")), lambda doing: None)
    told = {(e["subject"].rpartition(":")[2], e["of"]): e for e in found["entries"]}
    assert {key: e["status"] in ("OK", "NOISY") for key, e in told.items()} == {
        ("Swapped", FORWARD): False, ("Swapped", TRAINING): False,
        ("NoCarry", FORWARD): True, ("NoCarry", TRAINING): False,
        ("Right", FORWARD): True, ("Right", TRAINING): True,
    }  # fmt: skip
    for e in told.values():
        timed = e["status"] in ("OK", "NOISY")
        assert (e["timing"] is not None) == (e["gate"] is not None) == timed
        assert timed or e["status"] == rows.WRONG
    assert "y[" in told["Swapped", FORWARD]["message"]
    assert "gradient of initial c" in told["NoCarry", TRAINING]["message"]


def test_what_raises_is_told(root):
    bad = f"{root}/tests/doubles/faulty.py:Raises"
    found = measured(group([bad, "numpy:lstm"], passes=(FORWARD,)), lambda doing: None)
    (told, other) = found["entries"]
    assert (told["status"], told["timing"]) == (rows.UNSUPPORTED, None)
    assert "no kernel for this many steps" in told["message"]
    assert other["timing"]


def test_a_call_that_takes_too_long_is_not_timed(contenders):
    """It is proven right all the same."""
    found = measured(group(contenders("Right"), longest=1e-9), lambda doing: None)
    assert {e["status"] for e in found["entries"]} == {rows.TIMEOUT}
    assert all(e["gate"] and not e["timing"] for e in found["entries"])


@pytest.mark.parametrize(("name", "status", "said"), [
    ("Segfaults", rows.UNSUPPORTED, "SIGSEGV"),
    ("Hangs", rows.TIMEOUT, "no answer after"),
    ("EatsMemory", rows.OOM, "nable to allocate"),
])  # fmt: skip
def test_what_ends_its_process_is_told_and_the_others_are_timed(root, name, status, said):
    """The group is measured again without it."""
    bad, good = f"{root}/tests/doubles/faulty.py:{name}", "numpy:lstm"
    timeout = 15.0 if name == "Hangs" else 120.0
    with closing(SpeedProcess(threads=1, memory=1024, timeout=timeout)) as process:
        found = process.group(group([bad, good], passes=(FORWARD,)))
    told = {e["subject"]: e for e in found["entries"]}
    assert told[good]["status"] in ("OK", "NOISY")
    assert (told[bad]["status"], told[bad]["timing"]) == (status, None)
    assert said in told[bad]["message"]


def bench(*arguments):
    return invoke("bench speed", *arguments)


def test_the_command(here):
    done = bench("numpy:lstm", "numpy-fast:lstm", "--shapes", "H=8/16,B=1/2,T=4", "--pass",
                 "forward,training")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "A/A noise floor" in done.output
    (folder,) = (here / "runs").iterdir()
    read = run.read(folder)
    found = analysed(read)
    assert len(found) == 4 * 2 * 2
    assert all(row.entry.gate.ratio <= 1 for row in found)
    assert all(row.comparison for row in found if row.entry.subject == "numpy-fast:lstm")
    assert all(row.regime for row in found)

    lines = (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "rows.jsonl").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    again = bench("--resume", str(folder), "--json")
    assert again.exit_code == 0, again.output
    assert [row["id"] for row in json.loads(again.stdout)] == list(read.planned)
    _draw([run.read(folder)])


def _draw(runs):
    """Every part of the section is there, and every figure can be drawn."""
    told = section(runs)
    titles = [part.title for part in told.parts if isinstance(part, Table)]
    assert titles == ["Who is faster", "Every row", "Ceilings of this machine, measured"]
    drawn = [part for part in told.parts if isinstance(part, Figure)]
    assert [figure.id for figure in drawn] == [
        "speed-roofline", "speed-sizes", "speed-heat", "speed-errors", "speed-memory"
    ]  # fmt: skip
    if figures.available():
        assert all(figures.svg(figure.chart()).startswith("<svg") for figure in drawn)


def test_without_a_gpu(here, monkeypatch):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(planning, "_first", lambda *given: ())  # the machine is not the matter
    done = bench("cudnn:LSTM", "--shapes", "smoke")
    refused(done, 3, "cudnn:LSTM: UNSUPPORTED: there is no CUDA device that PyTorch can use")


def test_bad_options_are_a_sentence(here):
    for arguments in (["no:such"], ["--shapes", "H=1"], ["--pass", "up"], ["--cell", "x"]):
        done = bench(*arguments)
        assert (done.exit_code, "Traceback" in done.output) == (2, False)
