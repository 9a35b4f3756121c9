"""Arrays of anybody's file: all of them, or a sentence."""

import os
import zipfile

import numpy as np
import pytest

from gatewise.verify.runs.npz import read_npz

HEAD = "{'descr': '%s', 'fortran_order': False, 'shape': %s}"


def member(shape, data=b"", dtype="<f8"):
    header = (HEAD % (dtype, shape)).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00v\x00" + header + data


def archive(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as files:
        for name, data in members.items():
            files.writestr(name, data)
    return bytearray(path.read_bytes())


def marked(data, offset, value):
    """An archive whose one member has another field, in both places where fields stand."""
    data[data.find(b"PK\x03\x04") + offset] = value
    data[data.find(b"PK\x01\x02") + offset + 2] = value
    return data


def test_all_arrays_are_read(tmp_path):
    arrays = {"W/x": np.arange(6.0).reshape(2, 3), "n": np.array(3)}
    np.savez_compressed(tmp_path / "a.npz", **arrays)

    read = read_npz(tmp_path / "a.npz")

    assert {n: a.tolist() for n, a in read.items()} == {n: a.tolist() for n, a in arrays.items()}


def damaged(path, kind):
    whole = archive(path, {"x.npy": member("(4, 2)", bytes(64))})
    squeezed = archive(path, {"x.npy": member("(4, 2)", bytes(64))}, zipfile.ZIP_LZMA)
    head = squeezed.find(b"x.npy") + 5
    path.write_bytes({
        "encrypted": lambda: marked(whole, 6, 1),
        "an unknown method": lambda: marked(whole, 8, 99),
        "bad lzma": lambda: squeezed[: head + 9] + b"\xff" * 9 + squeezed[head + 18 :],
        "a huge shape": lambda: archive(path, {"x.npy": member("(1099511627776, 1024)")}),
        "no array": lambda: archive(path, {"x": b"text"}),
        "no archive": lambda: b"\x93NUMPY",
        "many": lambda: archive(path, {f"{k}.npy": member("(0,)") for k in range(4097)}),
        "pickled": lambda: archive(path, {"x.npy": member("(1,)", b"N.", "|O")}),
    }[kind]())  # fmt: skip


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="there is no such file"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(("kind", "said"), [
    ("encrypted", "password required"), ("an unknown method", "not supported"),
    ("bad lzma", "Corrupt input data"), ("a huge shape", "it declares 8.39e.06 GiB"),
    ("no array", "x: it is no array"),
    ("no archive", "it is no npz file"), ("many", "more than 4096 arrays"),
    ("pickled", "x: it holds pickled objects"),
])  # fmt: skip
def test_anything_else_is_a_sentence(tmp_path, kind, said):
    damaged(tmp_path / "a.npz", kind)
    with pytest.raises(ValueError, match=said) as refused:
        read_npz(tmp_path / "a.npz")
    assert str(refused.value).isprintable()
