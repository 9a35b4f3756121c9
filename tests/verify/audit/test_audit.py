"""The suite audit: faults planted in a class from outside, and what a suite sees of them."""

import json
import textwrap

import pytest
import torch
from click.testing import CliRunner

from gatewise.cli import main
from gatewise.verify.audit import catalogue
from gatewise.verify.audit.anatomy import parts
from gatewise.verify.audit.call import Call, NotExpressible
from gatewise.verify.audit.planting import NoTarget, Planting, guess
from gatewise.verify.audit.probing import offers, way
from gatewise.verify.audit.running import Ran, Row, judged
from gatewise.verify.subjects.torch_module import one_thread
from thorough_suite import everything

LAYER = """
    import torch


    class MyLSTM(torch.nn.Module):
        def __init__(self, D, H, bias=True):
            super().__init__()
            self.kernel = torch.nn.Parameter(torch.empty(D, 4 * H).uniform_(-1, 1))
            self.recurrent = torch.nn.Parameter(torch.empty(H, 4 * H).uniform_(-1, 1))
            self.bias = torch.nn.Parameter(torch.ones(4 * H)) if bias else None
            self.hidden_size = H

        def forward(self, x, state=None):
            if state is None:
                state = (x.new_zeros(1, x.shape[1], self.hidden_size),) * 2
            h, c = state[0][0], state[1][0]
            ys = []
            for x_t in x:
                s = x_t @ self.kernel + h @ self.recurrent
                i, f, g, o = (s if self.bias is None else s + self.bias).chunk(4, -1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                ys.append(h)
            return torch.stack(ys), (h[None], c[None])
"""
WEAK = """
    import torch
    from mine import MyLSTM

    def test_shapes():
        y, (h, c) = MyLSTM(3, 4)(torch.randn(5, 2, 3))
        assert y.shape == (5, 2, 4)
        assert h.shape == c.shape == (1, 2, 4)
"""
STRONG = """
    import torch
    from mine import MyLSTM

    def test_as_torch():
        mine, theirs = MyLSTM(3, 4), torch.nn.LSTM(3, 4, bias=True)
        with torch.no_grad():
            theirs.weight_ih_l0.copy_(mine.kernel.t())
            theirs.weight_hh_l0.copy_(mine.recurrent.t())
            theirs.bias_ih_l0.copy_(mine.bias)
            theirs.bias_hh_l0.zero_()
        x, state = torch.randn(5, 2, 3), (torch.randn(1, 2, 4), torch.randn(1, 2, 4))
        for a, b in zip(mine(x, state)[1], theirs(x, state)[1]):
            torch.testing.assert_close(a, b)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command in a folder with files of these names and contents."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def command(*arguments, **files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        return CliRunner().invoke(main, ["audit", *arguments], catch_exceptions=False)

    return command


def test_a_weak_suite_misses_what_a_strong_one_sees(run, tmp_path):
    """Exit 1 and what would catch the mutants; with a test that compares numbers, exit 0."""
    weak = run(
        *("--tests", "test_weak.py", "--target", "mine:MyLSTM", "--mutants", "S10,C03"),
        mine=LAYER,
        test_weak=WEAK,
    )
    both = run(
        *("--tests", ".", "--target", "mine.py:MyLSTM", "--mutants", "S10,L01,C03,C02", "--json"),
        test_strong=STRONG,
    )
    found = json.loads(both.stdout)
    rows = {row["mutant"]: row for row in found["mutants"]}

    assert weak.exit_code == 1
    assert "0 of 1 mutants killed (0 %), 1 not planted" in weak.output
    assert "S10 would be caught by the final state" in weak.output
    assert both.exit_code == 0
    assert (found["killed"], found["planted"], found["like"]) == (2, 2, "torch.nn.LSTM")
    assert rows["L01"]["by"] == ["test_strong.py::test_as_torch"]
    assert rows["C02"]["why"] == "it is one of GRU"
    assert rows["C03"]["result"] == "not planted"
    assert "does not offer an input bias and a recurrent bias" in rows["C03"]["why"]
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["mine.py", "test_strong.py", "test_weak.py"]  # and nothing was left behind


@pytest.mark.parametrize(("arguments", "message", "code"), [
    (["--tests", "nowhere", "--target", "mine:MyLSTM"], "Path 'nowhere' does not exist", 2),
    (["--tests", "."], "Missing option '--target'", 2),
    (["--tests", ".", "--target", "mine"], "expected MODULE:CLASS", 2),
    (["--tests", ".", "--target", "mine:A", "--mutants", "X1"], "mutant 'X1' is not known", 2),
    (["--tests", ".", "--target", "mine:A", "--pytest-args", "'"], "No closing quotation", 2),
    (["--tests", "test_right.py", "--target", "mine:A"], "there is no A in mine", 2),
    (["--tests", "test_right.py", "--target", "mine:LSTM"], "no class with a method forward", 2),
    (["--tests", "test_right.py", "--target", "nothing:A"], "there is no module nothing", 2),
    (["--tests", "test_right.py", "--target", "no.py:A"], "there is no file", 2),
    (["--tests", "test_right.py", "--target", "mine:Odd"], "does not say whether it is an LSTM", 2),
    (["--tests", "test_right.py", "--target", "mine.py:GRU"], "never call mine.py:GRU", 3),
    (["--tests", "test_wrong.py", "--target", "mine:GRU"], "do not pass without a mutant", 3),
    (["--tests", "mine.py", "--target", "mine:GRU"], "there are no tests", 3),
])  # fmt: skip
def test_what_cannot_be_audited(run, arguments, message, code):
    """One sentence, and the exit code says whose mistake it is."""
    mine = "class GRU:\n    def forward(self, x): pass\nclass Odd(GRU): pass\nclass LSTM: pass\n"
    right = "import mine\ndef test(): pass\n"
    mine = mine.replace("class Odd(GRU)", "class Odd")
    mine = mine.replace("class Odd: pass", "class Odd:\n    def forward(self, x): pass")
    result = run(*arguments, mine=mine, test_right=right, test_wrong="def test(): assert 0\n")

    assert result.exit_code == code
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output


class Plain(torch.nn.LSTM):
    """The class that faults are planted in here; it inherits its forward."""


class PlainGRU(torch.nn.GRU):
    """The same for GRU."""


class PlainRNN(torch.nn.RNN):
    """The same for RNN."""


CLASSES = {"LSTM": Plain, "GRU": PlainGRU, "RNN": PlainRNN}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Threads that wait for each other are slow."""
    with one_thread(torch):
        yield


@pytest.fixture(scope="module")
def right():
    """What right layers show."""
    return {kind: list(everything(layer, kind)) for kind, layer in CLASSES.items()}


def same(left, right):
    """Whether numbers are equal to a list, bit for bit; no more are asked for than it takes."""
    return all(
        torch.equal(a, b) if torch.is_tensor(a) else a == b
        for a, b in zip(left, right, strict=True)
    )  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES)
def test_the_wrapping_changes_nothing(kind, right):
    """Without a fault all numbers are as before, and afterwards the class is what it was."""
    met = []
    with Planting(CLASSES[kind], kind, lambda what, about: met.append(what)) as planting:
        told = list(everything(CLASSES[kind], kind))
        assert way(planting) == "tensors"
        assert offers(planting) == set(catalogue.NEEDS)

    assert same(told, right[kind])
    assert "forward" not in vars(CLASSES[kind])
    assert set(met) == {"called", "seen", "planted"}


@pytest.mark.parametrize("fault", catalogue.faults(), ids=lambda fault: fault.id)
def test_every_fault_can_be_seen(fault, right):
    """A suite that looks at everything sees it; a fault that nothing shows is none."""
    kind = fault.kinds[0]
    met = {}
    with Planting(
        CLASSES[kind],
        kind,
        lambda what, about: met.setdefault(what, []).append(about),
        plant=fault.plant,
        needs=fault.needs,
    ):
        seen = not same(everything(CLASSES[kind], kind), right[kind])

    assert "planted" in met
    assert not [why for why in met.get("not expressible", []) if "Error" in why]
    assert seen


def test_every_fault_is_documented():
    """Who reads the table learns what is wrong, and what to do about it."""
    for fault in catalogue.faults():
        assert fault.statement.endswith("."), fault.id
        assert fault.caught_by, fault.id
        assert not fault.models or fault.models.count("#") == 1


def test_parameters_are_told_by_shape():
    """Transposed matrices under any name, one bias, and nothing where it does not add up."""
    namespace = {}
    exec(textwrap.dedent(LAYER), namespace)
    layer = namespace["MyLSTM"](3, 4)
    found = [(part.role, part.axis, part.hidden) for part in parts(layer, "LSTM")]

    assert found == [("W", 1, 4), ("U", 1, 4), ("b", 0, 4)]
    assert parts(layer, "GRU") == ()
    assert parts(torch.nn.Linear(3, 4), "LSTM") == ()


def test_a_class_offers_what_it_takes():
    """What no test has used is tried; what the class refuses, a mutant cannot ask for."""
    namespace = {}
    exec(textwrap.dedent(LAYER), namespace)
    layer = namespace["MyLSTM"]
    with Planting(layer, guess(layer), lambda what, about: None) as planting:
        layer(3, 4)(torch.randn(5, 2, 3))
        offered = offers(planting)

    assert offered == {"parameters", "bias", "state", "no state", "float64", "gradients"}


def test_a_refusal_stays_a_refusal():
    """Where the layer raises, it raises with a fault in it, too; tests may be waiting for that."""
    fault = next(f for f in catalogue.faults() if f.id == "L01")
    with (
        Planting(Plain, "LSTM", lambda what, about: None, plant=fault.plant),
        pytest.raises(RuntimeError, match="input_size"),
    ):
        Plain(2, 3)(torch.zeros(4, 1, 7))


def test_an_error_of_the_planting_is_no_kill():
    """What only the planting does not manage is told, and the right numbers are returned."""
    met = []

    def broken(call):
        raise KeyError("ours")

    layer, x = Plain(2, 3), torch.ones(4, 1, 2)
    expected = layer(x)[0]
    with Planting(Plain, "LSTM", lambda *note: met.append(note), plant=broken):
        assert torch.equal(layer(x)[0], expected)
    assert ("not expressible", "KeyError: 'ours'") in met


def test_targets_that_are_none():
    """No class, or one that nobody calls."""
    with pytest.raises(NoTarget, match="no class with a method forward"):
        Planting(len, "LSTM", lambda what, about: None)
    assert guess(Plain) == "LSTM"
    assert guess(int) == ""
    with pytest.raises(NotExpressible, match="does not return"):
        Call("LSTM", None, lambda module, x: x, (torch.zeros(1, 1, 1),), {}).run()


@pytest.mark.parametrize(("code", "notes", "result", "why"), [
    (1, {"planted": [""], "failed": ["a", "a", "b"]}, "killed", ""),
    (0, {"planted": [""]}, "survived", ""),
    (None, {"planted": [""]}, "timed out", "counts as killed"),
    (-11, {"planted": [""]}, "killed", "SIGSEGV"),
    (0, {"not reached": ["never so"]}, "survived", "never reached: never so"),
    (0, {"not expressible": ["odd"]}, "not planted", "odd"),
    (0, {}, "not planted", "not called this time"),
    (1, {"failed": ["a"]}, "not planted", "now and then"),
])  # fmt: skip
def test_what_becomes_of_a_mutant(code, notes, result, why):
    """Only a mutant that was met can be killed."""
    row = judged(Row("L01", "", "", ""), Ran(code, "", 1.0, notes))

    assert row.result == result
    assert why in row.why
    assert row.by == (["a", "b"] if code == 1 and "planted" in notes else [])
