"""Identification finds the convention of a layer from nothing but what it returns."""

from dataclasses import asdict, dataclass, replace
from itertools import permutations, product
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from gatewise.reference.cells import cell_named
from gatewise.verify.cases.options import Options
from gatewise.verify.conventions import Convention, family
from gatewise.verify.identification.identification import Identification, differing, identify
from gatewise.verify.identification.probe import Unreadable
from gatewise.verify.numbers.ledger import Mismatch
from gatewise.verify.subjects import adapted, subject_named
from gatewise.verify.subjects.protocol import Result
from some_conventions import forward

ORDERS = ["".join(letters) for letters in permutations("ifgo")]


@dataclass(frozen=True)
class Built:
    case: object
    subject: "Layer"

    def forward(self, inputs):
        c, sizes = self.subject.convention, self.case.sizes
        named = {name.removesuffix("_l0"): array for name, array in inputs.parameters.items()}
        count = 2 if c.family == "lstm" else 1
        widths = [sizes.projected if c.projected else sizes.H, sizes.H][:count]
        shape = (1, inputs.x.shape[1])
        state = inputs.state or tuple(np.zeros((*shape, w), self.case.dtype) for w in widths)
        state = tuple(s[0] for s in state)[:: self.subject.turn]
        y, final = forward(c, sizes, named, inputs.x, state)
        final = tuple(s[None] for s in final)[:: self.subject.turn]
        return Result(*self.subject.spoil(y, final))


@dataclass(frozen=True)
class Layer:
    """A layer of any convention: what identification sees of a framework."""

    convention: Convention
    options: Options = Options()  # noqa: RUF009
    dtypes: tuple = ("float64", "float32")
    name: str = "test:Layer"
    turn: int = 1
    extra: tuple = ()

    @property
    def cells(self):
        return (self.convention.cell or self.convention.family,)

    def cell(self, case):
        return self.cells[0]

    def parameter_map(self, case):
        own = family.stored_shapes(self.convention, case.sizes)
        shapes = {f"{n}_l0": shape for n, shape in own.items()} | dict(self.extra)
        return SimpleNamespace(shapes=lambda: shapes)

    def build(self, case):
        return Built(case, self)

    def spoil(self, y, final):
        return y, final


def found(convention, **others):
    return identify(Layer(convention, **others))


def assert_found(convention, **others):
    """It is found, alone, and nothing else comes near."""
    result = found(convention, **others)
    assert [differing(c, convention) for c in result.fits] == [()]
    assert result.as_stated
    assert result.undetermined == ()
    assert result.separation > 1e3


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_an_lstm(order):
    """With no, one and two biases, either way round, offsets 0 and 1."""
    biases = ((), (order,), (order, order))
    for bias, layout, offset in product(biases, ("out-in", "in-out"), (0.0, 1.0)):
        assert_found(Convention("lstm", order, bias, layout, forget_offset=offset))


@pytest.mark.parametrize("order", ["".join(letters) for letters in permutations("rzn")])
def test_every_order_of_a_gru(order):
    """With every number of biases, reset side, polarity, either way round."""
    reset = order.replace("n", "m")
    biases = {"after": ((), (order,), (order, reset)), "before": ((), (order,), (order, order))}
    for side, update, layout in product(biases, ("keep", "take"), ("out-in", "in-out")):
        for bias in biases[side]:
            assert_found(Convention("gru", order, bias, layout, reset=side, update=update))


@pytest.mark.parametrize("candidate", ["tanh", "relu", "sigmoid"])
def test_rnns(candidate):
    """Activation, biases, and the square kernel's transposition, which no shape tells."""
    for bias, layout, recurrent in product(((), ("a",), ("a", "a")), ("out-in", "in-out"),
                                           ("", "in-out", "out-in")):  # fmt: skip
        assert_found(Convention("rnn", "a", bias, layout, candidate=candidate,
                                recurrent_layout=recurrent))  # fmt: skip


UNUSUAL = {
    "recurrent order": Convention("gru", "rzn", ("mrzn",), recurrent_order="nrz"),
    "U not transposed": Convention("lstm", "ifgo", ("ifgo",), recurrent_layout="stacked in-out"),
    "W not transposed": Convention("lstm", "ifgo", ("ifgo",), "beside out-in"),
    "interleaved": Convention("lstm", "igfo", ("igfo",), "interleaved"),
    "joint": Convention("lstm", "igfo", ("igfo",), "joint", forget_offset=1.0),
    "gate axis": Convention("gru", "zrn", ("zrn", "m"), "gates"),
    "gate axis, out-in": Convention("lstm", "ofig", ("ofig",), "gates out-in"),
    "separate": Convention("lstm", "ifgo", ("ifgo",), "separate in-out"),
    "separate, U transposed": Convention("lstm", "ifgo", ("ifgo",), "separate out-in",
                                         recurrent_layout="separate in-out"),
    "offset": Convention("lstm", "ifgo", ("ifgo",), forget_offset=2.5),
    "negative offset": Convention("lstm", "ifgo", ("ifgo",), forget_offset=-0.75),
    "biases in another order": Convention("lstm", "ifgo", ("ogfi", "iofg")),
    "b_hn alone": Convention("gru", "rzn", ("rzn", "m"), "in-out"),
    "four biases": Convention("gru", "zrn", ("zrnm",)),
    "hard sigmoid": Convention("lstm", "ifgo", ("ifgo",), gate="hard sigmoid 0.2"),
    "other hard sigmoid": Convention("gru", "zrn", ("zrn",), gate="hard sigmoid 1/6"),
    "sigmoid candidate": Convention("gru", "zrn", ("zrn",), candidate="sigmoid"),
    "no output activation": Convention("lstm", "iofg", ("iofg",), output="identity"),
    "peepholes": Convention("lstm", "iofg", ("iofg",), peepholes="iof"),
    "peepholes, o sees the old": Convention("lstm", "ifgo", ("ifgo",), peepholes="foi",
                                            output_peephole="old"),
    "peepholes without o": Convention("lstm", "ifgo", ("ifgo",), peepholes="fi"),
    "coupled": Convention("lstm", "goi", ("goi",), coupled=True),
    "projected": Convention("lstm", "igfo", ("igfo",), projected=True),
    "relu candidate": Convention("gru", "zrn", ("zrn",), candidate="relu", reset="before"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_conventions(name):
    convention = UNUSUAL[name]
    if name == "relu candidate":
        convention = replace(convention, recurrent_order="nzr")
    assert_found(convention)


@pytest.mark.parametrize("convention", [
    Convention("lstm", "igfo", ("igfo",), forget_offset=1.0),
    Convention("gru", "zrn", ("zrn", "zrm"), update="take"),
    Convention("rnn", "a", ("a",), "in-out", recurrent_layout="out-in"),
], ids=lambda c: c.family)  # fmt: skip
def test_float32_and_no_initial_state(convention):
    """Bounds follow the arithmetic; without an initial state the second step tells."""
    assert_found(convention, dtypes=("float32",))
    assert_found(convention, options=Options(state=False))
    assert_found(convention, options=Options(state=False, bias=False), dtypes=("float32",))


def test_what_cannot_be_told_apart():
    """Where the candidate has the gates' activation, i and g are the same function."""
    convention = Convention("lstm", "ifgo", ("ifgo",), candidate="sigmoid")
    result = found(convention)

    assert {(c.order, c.bias) for c in result.fits} == {
        ("ifgo", ("ifgo",)), ("gfio", ("gfio",))}  # fmt: skip
    assert result.undetermined == ("order", "bias")
    assert result.as_stated
    assert result.nearest.order == "ifgo"  # the stated one first


def test_an_array_without_influence():
    convention = Convention("lstm", "ifgo", ("ifgo",))
    result = found(convention, extra=(("bias_more_l0", (24,)),))
    assert result.unused == ("bias_more_l0",)
    assert result.fits == (convention,)


def test_states_in_the_other_order():
    result = found(Convention("lstm", "ifgo", ("ifgo",)), turn=-1)
    assert result.swapped
    assert not result.as_stated
    assert len(result.fits) == 1


@pytest.mark.parametrize("name", ["torch:LSTM", "torch:GRU", "torch:RNN", "torch:RNN-relu",
                                  "torch:LSTMCell", "torch:GRUCell", "torch:RNNCell"])  # fmt: skip
def test_torch(name):
    result = identify(subject_named(name))
    assert result.as_stated
    assert len(result.fits) == 1


@pytest.mark.parametrize("cell", ["rnn", "rnn-relu", "lstm", "lstm-projected", "lstm-coupled",
                                  "lstm-peephole", "lstm-peephole-old", "lstm-sigmoid-candidate",
                                  "gru", "gru-keeps-old", "gru-takes-new"])  # fmt: skip
def test_explicit_subjects(cell):
    """The reference's own cells behind explicit gates: the layout is an axis of gates."""

    class Explicit:
        def forward(self, params, x, state):
            y = []
            for x_t in x:
                state, _ = cell_named(cell).step(params, x_t, state)
                y.append(state[0])
            return np.stack(y), state

    Explicit.cell = cell
    result = identify(adapted(Explicit, "explicit", None))

    assert {c.cell for c in result.fits} == {cell}
    assert {c.layout for c in result.fits} == {"gates"}
    assert any(c.order == "".join(cell_named(cell).gates) for c in result.fits)


class Wrong(Layer):
    """The outputs of step 0 are off by 1e-6."""

    def spoil(self, y, final):
        return y, (final[0] + 1e-6, *final[1:])


def test_nothing_fits():
    result = identify(Wrong(Convention("lstm", "igfo", ("igfo",))))

    assert result.fits == ()
    assert not result.as_stated
    assert result.ratio > 1e3
    assert 1e-7 < result.residual < 1e-5
    assert result.nearest.order == "igfo"
    assert result.separation > 1e3


def test_a_wrong_statement():
    class Misstated(Layer):
        def build(self, case):
            return Built(case, replace(self, convention=Convention("lstm", "figo", ("figo",))))

    result = identify(Misstated(Convention("lstm", "ifgo", ("ifgo",))))

    assert [c.order for c in result.fits] == ["figo"]
    assert result.as_stated is False
    assert differing(result.nearest, result.stated) == ("order", "bias")


def test_arrays_of_no_convention():
    with pytest.raises(Unreadable, match=r"weight_more_l0 \[7, 9\]"):
        found(Convention("lstm", "ifgo"), extra=(("weight_more_l0", (7, 9)),))


def test_cells_of_no_convention():
    with pytest.raises(Unreadable, match=r"its cell \(skip-lstm\) has no conventions"):
        identify(Skip(Convention("lstm", "ifgo")))


class Skip(Layer):
    """A cell that conventions do not describe."""

    cells = ("skip-lstm",)


def test_a_layer_that_returns_nan():
    class Broken(Layer):
        def spoil(self, y, final):
            return y * np.nan, final

    with pytest.raises(Mismatch, match="expected a finite number"):
        identify(Broken(Convention("lstm", "ifgo")))


def test_json():
    result = found(Convention("gru", "zrn", ("zrn",)))
    assert msgspec.convert(asdict(result), Identification) == result
