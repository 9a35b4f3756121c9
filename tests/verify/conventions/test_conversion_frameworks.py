"""Weights between torch and every framework that is installed, both ways.

The layers are built by the frameworks themselves, see ``real_layers``, and by the adapters.
"""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from gatewise.reference.cells import cell_named
from gatewise.reference.layer import Layer
from gatewise.verify.cases.case import Case
from gatewise.verify.conventions import NoHome
from gatewise.verify.conventions.comparison import compare
from gatewise.verify.conventions.conversion import End, convert, infer, inputs, verify
from gatewise.verify.conventions.file_layout import Stored
from gatewise.verify.conventions.parameter_map import ConventionMap
from gatewise.verify.conventions.translation import stored_shapes
from gatewise.verify.numbers.arithmetic import ARITHMETICS
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.ledger import Mismatch
from gatewise.verify.subjects import subject_named, subjects
from gatewise.verify.subjects.called import under_test
from gatewise.verify.subjects.protocol import Inputs, SubjectUnavailable
from real_layers import REAL, by_torch

pytest.importorskip("torch")
pytest.importorskip("safetensors")


def end(name):
    subject = subject_named(name)
    stored = getattr(subject, "stored", Stored())
    return End(name, subject.convention, stored, subject.options, subject.dtypes)


def torch_name(name):
    convention = subject_named(name).convention
    kind = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}[convention.family]
    return f"torch:{kind}-relu" if convention.candidate == "relu" else f"torch:{kind}"


def there_is(name):
    """Skip where the framework is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            subject_named(name).version()
        except SubjectUnavailable as problem:
            pytest.skip(str(problem))


def size(name):
    options, dtypes = subject_named(name).options, subject_named(name).dtypes
    layers = 2 if options.layers else 1
    return Case(3, 2, 3, 4, layers=layers, bidirectional=options.bidirectional, dtype=dtypes[0])


def torch_file(name, case):
    """Return random weights of torch's layer that the subject can hold."""
    convention = end(torch_name(name)).convention
    shapes = stored_shapes(convention, case)
    named = {n: case.normal(n, shape, 0.5) for n, shape in shapes.items()}
    conditions = compare(convention, end(name).convention).forward.conditions
    H = case.H
    for key, array in named.items():
        if "b_hn = 0" in conditions and key.startswith("bias_hh"):
            array[2 * H :] = 0
        if "U_n is diagonal" in conditions and key.startswith("weight_hh"):
            array[2 * H :] *= np.eye(H, dtype=array.dtype)
        if "W_f = -W_i" in conditions:
            array[H : 2 * H] = -array[:H]
    return named


def run(name, case, arrays):
    """Run an adapter, as a worker does."""
    subject = subject_named(name)
    x, state = inputs(case, subject.convention.family)
    result = under_test(subject).build(case).forward(Inputs(arrays, x, state, None))
    return {"y": result.y} | {f"final {k}": s for k, s in enumerate(result.final)}


def carried(source, target, arrays):
    """Return the conversion, and the target's file."""
    done = convert(end(source), end(target), arrays)
    return done, end(target).stored.to_file(done.result)


FOREIGN = [
    name for name, s in subjects().items()
    if not name.startswith("torch") and "quantised" not in name and hasattr(s, "stored")
    and s.convention.candidate != "sigmoid"
]  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_there_and_back(name):
    """Weights to the bit; biases that are kept apart too, those added up but for the roundings."""
    case, origin = size(name), torch_name(name)
    arrays = torch_file(name, case)
    _, file = carried(origin, name, arrays)
    _, back = carried(name, origin, file)

    a, b = end(origin).convention, end(name).convention
    apart = [*map(set, a.bias)] == [*map(set, b.bias)] and not b.forget_offset
    for key, array in arrays.items():
        if apart or "weight" in key:
            assert np.array_equal(back[key], array), key
        elif key.startswith("bias_ih"):
            other = key.replace("ih", "hh")
            once, again = (np.float64(n[key]) + n[other] for n in (arrays, back))
            # one rounding of the sum, two more where a constant is subtracted and added again
            bound = 3 * np.finfo(case.dtype).eps * (np.abs(once) + 2 * bool(b.forget_offset))
            assert np.all(np.abs(once - again) <= bound), key


@pytest.mark.parametrize("name", FOREIGN)
def test_the_adapters_run_as_the_equations_say(name):
    there_is(name)
    case, origin = size(name), torch_name(name)
    there, file = carried(origin, name, torch_file(name, case))
    back, _ = carried(name, origin, file)
    verify(origin, name, there, run)
    verify(name, origin, back, run)

    if there.source.family != "rnn":
        wrong, _ = carried(origin, name, with_gates_swapped(there.arrays, case.H))
        with pytest.raises(Mismatch, match=name):
            verify(origin, name, replace(there, result=wrong.result), run)


def with_gates_swapped(arrays, H):
    """Return torch's arrays with the first two gates of x in each other's place."""
    rows = np.r_[H : 2 * H, :H]
    return {
        key: np.concatenate([array[rows], array[2 * H :]]) if "weight_ih" in key else array
        for key, array in arrays.items()
    }


def outputs(name, case, arrays, x):
    """Return the reference's outputs from zero states, with what rounding may make of them."""
    arithmetic = ARITHMETICS[case.dtype]
    convention, case, named = infer(end(name), arrays)
    p = ConventionMap(convention, case).to_reference(
        {n: Bounded.exact(a, arithmetic) for n, a in named.items()}
    )
    layer = Layer(cell_named(convention.cell), case.sizes, case.layers, case.bidirectional)
    return layer.forward(p, Bounded.exact(x, arithmetic)).y


@pytest.mark.parametrize("name", REAL)
def test_layers_of_the_frameworks_themselves(name):
    there_is(name)
    make, kind = REAL[name]
    case, origin = replace(size(name), dtype="float32"), torch_name(name)
    x = case.normal("x", (case.T, case.B, case.D))

    def from_its_own(arrays):
        file, y = make(kind, case, arrays, x)
        done, ported = carried(name, origin, file)
        _, by = by_torch(origin.partition(":")[2], done.case, ported, x)
        return ratio(y, by, outputs(name, case, file, x), outputs(origin, case, ported, x))

    shares = [from_its_own(None)]
    file = torch_file(name, case)  # no bias is 0 that need not be
    _, ported = carried(origin, name, file)
    _, y = make(kind, case, ported, x)
    _, by = by_torch(origin.partition(":")[2], case, file, x)
    shares += [
        ratio(y, by, outputs(name, case, ported, x), outputs(origin, case, file, x)),
        from_its_own(ported),
    ]
    print(f"\n{name}: {' '.join(f'{share:.3f}' for share in shares)} of the bound")
    assert max(shares) <= 1


def ratio(y, other, *bounds):
    """Return how far outputs are apart, in shares of both layers' bounds."""
    difference = np.abs(np.float64(y) - np.float64(other))
    both = sum(b.bound for b in bounds)
    return float(np.max(np.where(difference > 0, difference / np.maximum(both, 1e-300), 0)))


def test_a_gru_whose_b_hn_has_no_home():
    """Flax's nnx.GRUCell has none; no framework is needed to see that."""
    case = Case(3, 2, 3, 4)
    arrays = torch_file("flax-linen:GRU", case)
    with pytest.raises(NoHome, match=r"b_hn is not 0.*possible only when b_hn = 0"):
        carried("torch:GRU", "flax-nnx:GRU", arrays)
    arrays["bias_hh_l0"][8:] = 0
    carried("torch:GRU", "flax-nnx:GRU", arrays)


@pytest.mark.parametrize("name", [name for name in FOREIGN if name.endswith("-peephole")])
def test_peepholes(name):
    done, file = carried("torch:LSTM", name, torch_file(name, size(name)))
    new = [key for key in done.result if key.startswith("peephole")]
    assert new
    assert not any(done.result[key].any() for key in new)
    carried(name, "torch:LSTM", file)
    file = end(name).stored.to_file({**done.result, new[0]: done.result[new[0]] + 1})
    with pytest.raises(NoHome, match=r"p_. is not 0"):
        carried(name, "torch:LSTM", file)
