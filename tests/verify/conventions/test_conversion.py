"""Weights carried from one framework's file to another's, and held to the equations there."""

import json
import struct

import numpy as np
import pytest
import torch

import gatewise
from commands import invoke
from gatewise.verify.api import NotVerified, converter
from gatewise.verify.conventions import NoHome
from gatewise.verify.conventions.conversion import End, Unfit, convert, infer, only, read, write
from gatewise.verify.execution.tasks import Named
from gatewise.verify.numbers.ledger import Mismatch
from gatewise.verify.subjects import subject_named


def arrays_of(module):
    return {name: p.detach().numpy().copy() for name, p in module.state_dict().items()}


def torch_arrays(kind="LSTM", dtype=torch.float64, **options):
    torch.manual_seed(0)
    return arrays_of(getattr(torch.nn, kind)(3, 4, dtype=dtype, **options))


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def test_there_and_back_to_the_bit(other):
    arrays = torch_arrays(num_layers=2, bidirectional=True)
    there = gatewise.convert(arrays, source="torch:LSTM", target=other("two"))
    back = gatewise.convert(there, source=other("two"), target="torch:LSTM")

    assert not same(there, arrays)
    assert same(back, arrays)


def test_one_bias_and_names_of_its_own(other):
    made = gatewise.convert(torch_arrays(num_layers=2), source="torch:LSTM", target=other("lstm"))
    assert set(made) == {f"layer{k}/{n}" for k in (0, 1) for n in ("kernel", "recurrent", "bias")}
    assert made["layer0/kernel"].shape == (3, 16)

    back = gatewise.convert(made, source=other("lstm"), target="torch:LSTM")
    again = gatewise.convert(back, source="torch:LSTM", target=other("lstm"))
    assert same(made, again)
    assert np.array_equal(back["bias_ih_l0"], back["bias_hh_l0"])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_converted_weights_in_torch_itself(kind):
    arrays = torch_arrays(kind)
    made = gatewise.convert(arrays, source=f"torch:{kind}", target=f"torch:{kind}Cell")

    assert set(made) == {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}
    layer = getattr(torch.nn, kind)(3, 4, dtype=torch.float64)
    cell = getattr(torch.nn, f"{kind}Cell")(3, 4, dtype=torch.float64)
    layer.load_state_dict({n: torch.tensor(a) for n, a in arrays.items()})
    cell.load_state_dict({n: torch.tensor(a) for n, a in made.items()})
    x = torch.randn(1, 2, 3, dtype=torch.float64)
    h = cell(x[0])
    torch.testing.assert_close(layer(x)[0][0], h[0] if kind == "LSTM" else h)


@pytest.mark.parametrize("options", [{"bias": False}, {"proj_size": 2}, {"dtype": torch.float32}])
def test_options_are_inferred(options):
    arrays = torch_arrays(**options)
    made = gatewise.convert(arrays, source="torch:LSTM", target="torch:LSTM")
    added = made.keys() - arrays.keys()  # torch's own two biases, where there were none
    assert same({name: made[name] for name in arrays}, arrays)
    assert not any(made[name].any() for name in added)
    assert len(added) == (0 if options.get("bias", True) else 2)
    end = End("torch:LSTM", subject_named("torch:LSTM").convention)
    convention, case, _ = infer(end, arrays)
    assert (case.D, case.H, case.P) == (3, 4, options.get("proj_size", 0))
    assert case.bias is options.get("bias", True)
    assert convention.projected is bool(case.P)


def test_a_gru_whose_b_hn_has_no_home(other):
    arrays = torch_arrays("GRU")
    with pytest.raises(NoHome, match=r"l0: b_hn is not 0.*possible only when b_hn = 0"):
        gatewise.convert(arrays, source="torch:GRU", target=other("gru"))
    arrays["bias_hh_l0"][8:] = 0
    gatewise.convert(arrays, source="torch:GRU", target=other("gru"))


@pytest.mark.parametrize(("source", "target", "kind", "said"), [
    ("torch:GRU", "gru_before", "GRU", "U_n is not diagonal.*possible only when U_n is diagonal"),
    ("torch:LSTM", "gru", "LSTM", "is another family than"),
    ("torch:LSTM", "one_layer", "LSTM", "does not offer more than one layer"),
])  # fmt: skip
def test_refusals(other, source, target, kind, said):
    with pytest.raises(NoHome, match=said):
        gatewise.convert(torch_arrays(kind, num_layers=2), source=source, target=other(target))


def test_peepholes(other):
    """They are 0 where they are new; where there is no slot they must be."""
    made = gatewise.convert(torch_arrays(), source="torch:LSTM", target=other("peephole"))
    assert not made["peephole_l0"].any()
    made["peephole_l0"][5] = 0.5
    with pytest.raises(NoHome, match="p_f is not 0"):
        gatewise.convert(made, source=other("peephole"), target="torch:LSTM")


def test_two_gates_swapped_in_the_new_file(other):
    """The verification reads what was written: a wrong file does not pass."""
    with converter(Named("torch:LSTM"), Named(other("lstm"))) as made:
        done, result = made.convert(torch_arrays())
        assert "as the equations say" in made.verify(done, result)
        kernel = result["layer0/kernel"]
        result["layer0/kernel"] = kernel[:, np.r_[4:8, 0:4, 8:16]]
        with pytest.raises(Mismatch, match=r"target: (y|final)"):
            made.verify(done, result)


def test_a_target_that_is_not_what_it_says(other):
    with pytest.raises(Mismatch, match="target: "):
        gatewise.convert(torch_arrays(), source="torch:LSTM", target=other("wrong"))


def test_a_target_that_is_not_installed_or_dies(other):
    with pytest.raises(NotVerified, match="other is not installed"):
        gatewise.convert(torch_arrays(), source="torch:LSTM", target=other("missing"))
    with pytest.raises(NotVerified, match="exit code 7"):
        gatewise.convert(torch_arrays(), source="torch:LSTM", target=other("exits"))
    gatewise.convert(torch_arrays(), source="torch:LSTM", target=other("missing"), unverified=True)


BROKEN = {
    "missing": (lambda a: a.pop("weight_hh_l0"), r"weight_hh_l0 \[16, 4\] is missing"),
    "none": (lambda a: a.clear(), "weight_ih_l0 is missing: there are none"),
    "extra": (lambda a: a.update(more=np.ones(3)), "more belong to no array of torch:LSTM"),
    "shape": (lambda a: a.update(weight_hh_l0=np.ones((16, 5))), r"expected shape \[16, 4\]"),
    "axes": (lambda a: a.update(weight_ih_l0=np.ones(16)), "expected as many axes"),
    "dtype": (lambda a: a.update(bias_ih_l0=np.ones(16, "f")), "expected float64 like the others"),
    "nan": (lambda a: a.update(bias_ih_l0=np.full(16, np.nan)), "not finite"),
    "one bias": (lambda a: a.pop("bias_hh_l0"), r"bias_hh_l0 \[16\] is missing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_arrays_that_are_not_the_sources(name):
    spoil, said = BROKEN[name]
    arrays = torch_arrays()
    spoil(arrays)
    end = End("torch:LSTM", subject_named("torch:LSTM").convention)
    with pytest.raises(Unfit, match=said):
        convert(end, end, arrays)


@pytest.fixture
def run(here):
    return invoke


def test_the_command(run, tmp_path, other):
    arrays = torch_arrays()
    write(tmp_path / "a.safetensors", arrays)
    there = run("convert a.safetensors -o b.safetensors --from torch:LSTM --to", other("two"))
    back = run("convert b.safetensors -o c.safetensors --to torch:LSTM --from", other("two"))

    assert (there.exit_code, back.exit_code) == (0, 0)
    assert "both layers run as the equations say" in there.stdout
    assert "written: b.safetensors (4 arrays)" in there.stdout
    assert same(read(tmp_path / "c.safetensors"), arrays)
    assert {p.name for p in tmp_path.iterdir()} == {f"{k}.safetensors" for k in "abc"}


@pytest.mark.parametrize(("target", "code", "said"), [
    ("gru", 1, "cannot be converted: l0: b_hn is not 0"),
    ("missing", 3, "not verified: "),
    ("wrong", 1, "target: "),
    ("exits", 3, "exit code 7"),
    ("nothing", 2, "there is no nothing"),
])  # fmt: skip
def test_where_nothing_is_written(run, tmp_path, other, target, code, said):
    kind = "GRU" if target == "gru" else "LSTM"
    write(tmp_path / "a.safetensors", torch_arrays(kind))
    line = f"convert a.safetensors -o b.safetensors --from torch:{kind} --to"
    result = run(line, other(target))

    assert result.exit_code == code
    assert said in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_unverified(run, tmp_path, other):
    write(tmp_path / "a.safetensors", torch_arrays())
    line = "convert a.safetensors -o b.safetensors --unverified --from torch:LSTM --to"
    result = run(line, other("missing"))

    assert result.exit_code == 0
    assert "not verified: " in result.stdout
    assert "other is not installed" in result.stdout
    assert (tmp_path / "b.safetensors").exists()


def header(value, body=b""):
    text = json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(("content", "said"), [
    (b"", "not a safetensors file"),
    (b"\x80\x04K\x01.", "not a safetensors file"),
    (struct.pack("<Q", 2**60), "not a safetensors file"),
    (header({"a": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 8]}}, b"8" * 8),
     "not a safetensors file"),
    (header({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"1234"),
     "a is BF16; expected one of F32, F64"),
])  # fmt: skip
def test_files_that_are_none(run, tmp_path, content, said):
    """Nothing of a file is run; what is wrong with it is one sentence."""
    (tmp_path / "a.safetensors").write_bytes(content)
    result = run("convert --from torch:LSTM --to torch:LSTM a.safetensors -o b.safetensors")

    assert result.exit_code == 3
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_same_file_is_not_overwritten(run, tmp_path):
    result = run("convert --from torch:LSTM --to torch:LSTM a -o ./a")
    assert result.exit_code == 2
    assert "must be another one" in result.stderr


def keras_arrays(gates, biases=(), D=3, H=4):
    rng = np.random.default_rng(0)
    shapes = {"kernel": (D, gates * H), "recurrent_kernel": (H, gates * H),
              "bias": (*biases, gates * H)}  # fmt: skip
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def cell_arrays(gates, D=3, H=4):
    rng = np.random.default_rng(0)
    shapes = {"kernel": (D + H, gates * H), "bias": (gates * H,)}
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}


@pytest.mark.parametrize(("gates", "biases", "fits"), [
    (4, (), "keras:LSTM"), (3, (2,), "keras:GRU"), (3, (), "keras:GRU-reset-before"),
    (1, (), "keras:RNN"),
])  # fmt: skip
@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_bare_arrays_of_keras(run, tmp_path, gates, biases, fits, suffix):
    arrays = keras_arrays(gates, biases)
    path = tmp_path / f"a.{suffix}"
    np.savez(path, **arrays) if suffix == "npz" else write(path, arrays)
    outcomes = [
        run(f"convert a.{suffix} -o {k}.safetensors --unverified --from {source} --to {fits}")
        for k, source in enumerate(("keras", fits))
    ]

    for k, result in enumerate(outcomes):
        assert result.exit_code == 0, result.output
        assert f"read as one layer of {fits} (" in result.stdout
        made = read(tmp_path / f"{k}.safetensors")
        assert same({name.rpartition("/")[2]: array for name, array in made.items()}, arrays)


def test_bare_arrays_of_keras_are_the_same_numbers_in_torch():
    arrays = keras_arrays(4)
    end = End("keras:LSTM", subject_named("keras:LSTM").convention,
              subject_named("keras:LSTM").stored)  # fmt: skip
    torchs = End("torch:LSTM", subject_named("torch:LSTM").convention)
    made = convert(end, torchs, arrays).result
    layer = torch.nn.LSTM(3, 4)
    layer.load_state_dict({name: torch.tensor(array) for name, array in made.items()})
    x = torch.randn(1, 2, 3)
    i, _, g, _ = np.split(x[0].numpy() @ arrays["kernel"] + arrays["bias"], 4, axis=1)
    c = 1 / (1 + np.exp(-i)) * np.tanh(g)

    np.testing.assert_allclose(layer(x)[1][1][0].detach().numpy(), c, rtol=1e-5, atol=1e-6)


def test_a_cells_kernel_and_bias():
    first, second = (
        End(name, subject_named(name).convention)
        for name in ("tensorflow:BlockLSTM", "tensorflow:BlockLSTMV2")
    )
    _, case, named = infer(first, cell_arrays(4))

    assert (case.D, case.H) == (3, 4)
    assert len(named) == 2
    with pytest.raises(Unfit, match=(
        r"may be several layers of tensorflow: give --from tensorflow:BlockLSTM for LSTM, gates "
        r"i g f o.*f \+ 1; --from tensorflow:BlockLSTMV2 for LSTM, gates i f g o"
    )):  # fmt: skip
        only("tensorflow", [first, second], cell_arrays(4))
    with pytest.raises(Unfit, match="are no arrays of a layer of tensorflow"):
        only("tensorflow", [first, second], {"kernel": np.ones((3, 16), "float32")})


@pytest.mark.parametrize(("content", "said"), [
    (b"PK nothing", "not an .npz file of numbers"), (b"", "not an .npz file of numbers"),
])  # fmt: skip
def test_an_npz_that_is_none(tmp_path, content, said):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(Unfit, match=said):
        read(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", kernel=np.array([{}], object))
    with pytest.raises(Unfit, match=said):
        read(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", kernel=np.ones(3, int))
    with pytest.raises(Unfit, match="kernel is int64; expected one of float32, float64"):
        read(tmp_path / "c.npz")
