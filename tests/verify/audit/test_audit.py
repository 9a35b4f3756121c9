"""The suite audit: faults planted in a class from outside, and what a suite sees of them."""

import json
import subprocess
import textwrap
from contextlib import contextmanager, nullcontext

import pytest
import torch

from commands import invoke, refused, said
from gatewise.verify.audit import suite
from gatewise.verify.audit.parameters import NotReadable, parameters
from gatewise.verify.audit.substitute import NoTarget, Substitute, guess, not_applicable
from gatewise.verify.audit.suite import Row, SuiteRun, choose, judged
from gatewise.verify.audit.trial import shows
from gatewise.verify.mutants import mutants
from gatewise.verify.mutants.replaceable_layer import ReplaceableLayer
from gatewise.verify.subjects.torch_module import one_thread
from preloaded import FORKS
from thorough_suite import everything, unmasked

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
def run(here, monkeypatch, server):
    """Run the command in a folder with files of these names and contents; suites run in forks."""
    if FORKS:
        monkeypatch.setattr(suite, "subprocess", server.double)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def command(*arguments, **files):
        for name, text in files.items():
            (here / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        return invoke("audit", *arguments)

    return command


def test_a_weak_suite_misses_what_a_strong_one_sees(run, tmp_path):
    weak = run(*("--tests", "test_weak.py", "--target", "mine:MyLSTM", "--mutants", "S10,L12,J01"),
               mine=LAYER, test_weak=WEAK)  # fmt: skip
    both = run(
        *("--tests", ".", "--target", "mine.py:MyLSTM", "--mutants", "S10,L01,L12,C02", "--json"),
        test_strong=STRONG,
    )
    document = json.loads(both.stdout)
    rows = {row["mutant"]: row for row in document["mutants"]}

    assert weak.exit_code == 1
    assert "0 of 2 mutants killed (0 %), 1 not planted" in weak.output
    assert "S10 survived" in weak.output
    assert "looks at this: The final hidden state is the output" in weak.output
    assert "return the final states as (h, c), not (c, h)." in weak.output
    assert "never reached: no call has forward-mode derivatives" in " ".join(weak.output.split())
    assert both.exit_code == 0
    assert (document["killed"], document["planted"]) == (2, 2)
    assert document["like"] == "torch.nn.LSTM"
    assert rows["L01"]["by"] == ["test_strong.py::test_as_torch"]
    assert rows["C02"]["result"] == "not applicable"
    assert rows["C02"]["why"] == "it is a mistake of gru, not of lstm"
    assert rows["L12"]["result"] == "not planted"
    assert rows["L12"]["why"] == "the class does not offer two directions"
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["mine.py", "test_strong.py", "test_weak.py"]  # and nothing was left behind


def test_a_layer_that_never_returns_or_crashes(run):
    """Only the processes of their tests hang and crash, where the tests reach the mistake."""
    result = run(
        *("--tests", ".", "--target", "torch.nn:LSTM", "--mutants", "P02,P04", "--json"),
        *("--timeout", "6"),
        test_both="""
            import torch
            def test_long():
                assert torch.nn.LSTM(2, 3)(torch.ones(5, 1, 2))[0].shape == (5, 1, 3)
        """,
    )
    rows = {row["mutant"]: row for row in json.loads(result.stdout)["mutants"]}

    assert result.exit_code == 0
    assert rows["P02"]["result"] == "timed out"
    assert rows["P04"]["result"] == "killed"
    assert rows["P04"]["why"] == "pytest was ended by SIGSEGV"


def test_a_class_that_computes_something_else_is_no_target(run, monkeypatch):
    """The right layer has to be able to stand in its place: weak tests would not notice.

    Their tests run in fresh processes here, as they do for users.
    """
    monkeypatch.setattr(suite, "subprocess", subprocess)
    result = run(*("--tests", "test_weak.py", "--target", "mine:MyLSTM", "--mutants", "S10"),
                 mine=LAYER.replace("i, f, g, o", "f, i, g, o"), test_weak=WEAK)  # fmt: skip

    assert result.exit_code == 3
    output = said(result)
    assert "mine:MyLSTM does not compute what torch.nn.LSTM computes with its parameters" in output
    assert "y differs by" in output


def test_tests_that_the_right_layer_fails_are_no_suite(run):
    """What only the class itself can pass, as a second derivative, is told before any mutant."""
    result = run(
        *("--tests", "test_second.py", "--target", "mine:MyLSTM", "--mutants", "S10"),
        mine=LAYER,
        test_second="""
            import torch
            from mine import MyLSTM

            def test_second_derivative():
                x = torch.randn(5, 2, 3, requires_grad=True)
                d, = torch.autograd.grad(MyLSTM(3, 4)(x)[0].sum(), x, create_graph=True)
                torch.autograd.grad(d.sum(), x)
        """,
    )

    refused(result, 3, "not with a right layer in the place of the class")


@pytest.mark.parametrize(("arguments", "message", "code"), [
    (["--tests", "nowhere", "--target", "mine:MyLSTM"], "Path 'nowhere' does not exist", 2),
    (["--tests", "."], "name tests and a class: --tests PATH --target MODULE:CLASS", 2),
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
    forward = "    def forward(self, x): pass\n"
    mine = f"class GRU:\n{forward}class Odd:\n{forward}class LSTM: pass\n"
    right = "import mine\ndef test(): pass\n"
    result = run(*arguments, mine=mine, test_right=right, test_wrong="def test(): assert 0\n")
    assert result.exit_code == code, result.output
    assert message in said(result)
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
    """Whether numbers are equal to a list, bit for bit; no more are computed than it takes."""
    return all(
        (a.dtype == b.dtype and torch.equal(a.nan_to_num(7), b.nan_to_num(7)))
        if torch.is_tensor(a) else a == b
        for a, b in zip(left, right, strict=True)
    )  # fmt: skip


@contextmanager
def planted(substitute):
    """Put a substitute into its class, and take it out again."""
    target, own = substitute.target, "forward" in vars(substitute.target)
    before = target.forward
    substitute.install()
    try:
        yield substitute
    finally:
        if own:
            target.forward = before
        else:
            del target.forward


def noted(kind, mutant=None):
    """Return a substitute in the class of a kind, and what it notes."""
    met = {}
    note = lambda what, about: met.setdefault(what, []).append(about)  # noqa: E731
    return Substitute(CLASSES[kind], kind, note, mutant), met


@pytest.fixture(scope="module")
def substituted():
    """What right layers show through the substitute."""
    numbers = {}
    for kind, layer in CLASSES.items():
        with planted(noted(kind)[0]):
            numbers[kind] = list(everything(layer, kind))
    return numbers


@pytest.mark.parametrize("kind", CLASSES)
def test_the_right_layer_stands_in_the_place_of_the_class(kind, right):
    substitute, met = noted(kind)
    with planted(substitute):
        numbers = list(everything(CLASSES[kind], kind))

    assert len(numbers) == len(right[kind])
    for a, b in zip(unmasked(numbers), unmasked(right[kind]), strict=True):
        if torch.is_tensor(a):
            torch.testing.assert_close(a, b)
        else:
            assert a == b
    assert "forward" not in vars(CLASSES[kind])
    assert set(met) == {"called", "substituted"}


PLANTED = [
    (m, next(kind for kind in CLASSES if not not_applicable(m, kind)))
    for m in mutants()
    if not m.isolated and any(not not_applicable(m, kind) for kind in CLASSES)
]
REFUSED = {"Q16": "torch.nn's layers refuse input of no steps"}


@pytest.mark.parametrize(("mutant", "kind"), PLANTED, ids=lambda value: getattr(value, "id", value))
def test_a_thorough_suite_sees_every_mutant(mutant, kind, substituted):
    substitute, met = noted(kind, mutant)
    with planted(substitute):
        try:
            seen = not same(everything(CLASSES[kind], kind), substituted[kind])
        except RuntimeError as error:
            seen = mutant.id == "P01" and str(error) == "no kernel for this batch"

    assert seen is (mutant.id not in REFUSED)
    assert ("shown" in met) is seen
    assert substitute.shown is seen


@pytest.mark.parametrize(("kind", "count"), [("LSTM", 110), ("GRU", 104), ("RNN", 87)])
def test_how_many_are_planted(kind, count):
    reasons = [not_applicable(m, kind) for m in mutants()]
    assert reasons.count("") == count
    assert len(PLANTED) - len(REFUSED) >= 110


def test_parameters_are_told_by_shape():
    namespace = {}
    exec(textwrap.dedent(LAYER), namespace)
    layer = namespace["MyLSTM"](3, 4)
    held = {name: (p.transposed, p.shape) for name, p in parameters(layer, "LSTM").items()}

    assert held == {
        "weight_ih_l0": (True, (16, 3)), "weight_hh_l0": (True, (16, 4)),
        "bias_ih_l0": (False, (16,)),
    }  # fmt: skip
    for kind, other in (("GRU", layer), ("LSTM", torch.nn.Linear(3, 4))):
        with pytest.raises(NotReadable, match="neither the names nor the shapes"):
            parameters(other, kind)


@pytest.mark.parametrize(("id", "offered"), [("S10", True), ("L12", False), ("Q16", False)])
def test_a_class_offers_what_it_takes(id, offered):
    """What no test has used is tried; what the class refuses, a mutant cannot be blamed for."""
    namespace = {}
    exec(textwrap.dedent(LAYER), namespace)
    layer = namespace["MyLSTM"]
    (mutant,) = choose([id])
    with planted(Substitute(layer, guess(layer), lambda what, about: None, mutant)) as substitute:
        layer(3, 4)
        assert shows(substitute) is offered


@pytest.mark.parametrize("options", [
    {"proj_size": 2}, {"bias": False}, {"num_layers": 2, "batch_first": True},
])  # fmt: skip
def test_options_that_the_layer_has(options):
    layer = Plain(3, 4, **options).double()
    x = torch.randn(5, 2, 3).double().requires_grad_()
    wanted = [x, *layer.parameters()]
    numbers = []
    for held in (False, True):
        substitute, met = noted("LSTM")
        with planted(substitute) if held else nullcontext():
            y, (h, c) = layer(x)
            numbers.append([y, h, c, *torch.autograd.grad((y.sin().sum() + c.sum()), wanted)])
    for a, b in zip(*numbers, strict=True):
        torch.testing.assert_close(a, b)
    assert set(met) == {"called", "substituted"}


@pytest.mark.parametrize("strided", [False, True])
def test_strides_are_those_of_the_callers_layout(strided):
    """With the batch first, contiguous cotangents are no reason to misread strides."""
    substitute, met = noted("LSTM", choose(["G13"])[0])
    with planted(substitute):
        y, _ = Plain(2, 4, batch_first=True)(torch.randn(5, 3, 2))
        given = torch.randn(4, 3, 5).permute(2, 1, 0)
        y.backward(given if strided else given.contiguous())
    assert ("shown" in met) is strided


def test_a_refusal_stays_a_refusal():
    """Where the layer raises, it raises with a mistake in it, too; tests may be waiting for it."""
    substitute, _ = noted("LSTM", choose(["L01"])[0])
    with planted(substitute), pytest.raises(RuntimeError, match="input_size"):
        Plain(2, 3)(torch.zeros(4, 1, 7))


def test_an_error_of_the_substitute_is_no_kill(monkeypatch):
    """What only the substitute does not manage is told, and the right numbers are returned."""
    layer, x = Plain(2, 3), torch.ones(4, 1, 2)
    expected = layer(x)[0]
    monkeypatch.setattr(ReplaceableLayer, "record", lambda layer, inputs: {}["ours"])
    substitute, met = noted("LSTM", choose(["L01"])[0])
    with planted(substitute):
        assert torch.equal(layer(x)[0], expected)
    assert met["not readable"] == ["KeyError: 'ours'"]
    assert "shown" not in met


def test_targets_that_are_none():
    with pytest.raises(NoTarget, match="no class with a method forward"):
        Substitute(len, "LSTM", lambda what, about: None)
    assert guess(Plain) == "LSTM"
    assert guess(int) == ""

    class Other(torch.nn.LSTM):
        def forward(self, x):
            return x

    met = {}
    with planted(Substitute(Other, "LSTM", lambda what, about: met.setdefault(what, about))):
        Other(2, 3)(torch.zeros(1, 1, 2))
    assert met["not readable"] == "its call does not return (outputs, final state)"


@pytest.mark.parametrize(("code", "notes", "result", "why"), [
    (1, {"shown": [""], "failed": ["a", "a", "b"]}, "killed", ""),
    (0, {"shown": [""]}, "survived", ""),
    (None, {"called": [""]}, "timed out", "counts as killed"),
    (-11, {"shown": [""]}, "killed", "SIGSEGV"),
    (0, {"substituted": [""], "offered": [""]}, "survived", "never reached: no call has dropout"),
    (0, {"substituted": [""]}, "not planted", "does not offer dropout"),
    (0, {"not readable": ["odd"]}, "not planted", "odd"),
    (0, {}, "not planted", "was not called"),
    (1, {"substituted": [""], "failed": ["a"]}, "not planted", "now and then"),
])  # fmt: skip
def test_what_becomes_of_a_mutant(code, notes, result, why):
    """Only a mutant that was shown can be killed."""
    row = judged(Row("L01", "", "", "", ""), ("dropout",), SuiteRun(code, "", 1.0, notes))
    assert row.result == result
    assert why in row.why
    assert row.by == (["a", "b"] if code == 1 and "shown" in notes else [])
