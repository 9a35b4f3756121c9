"""What the judge and a subject's process say to each other arrives as it was, or not at all."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.verify.cases.options import Options
from gatewise.verify.execution.channel import (
    GAP,
    HEAD,
    Answer,
    Meaning,
    OutOfTurn,
    Packet,
    Portrait,
    Question,
    pack,
    receive,
    send,
    unpack,
)
from gatewise.verify.models.content import Content, Layer
from gatewise.verify.subjects.call_records import ResultRecord
from gatewise.verify.subjects.protocol import Pulled, Result

ARRAYS = {
    "contiguous": np.arange(6.0).reshape(2, 3),
    "gapped": np.arange(12.0).reshape(2, 6)[:, ::2],
    "transposed": np.arange(6.0, dtype=np.float32).reshape(2, 3).T,
    "broadcast": np.broadcast_to(np.arange(3.0), (4, 3)),
    "backwards": np.arange(6.0)[::-1],
    "empty": np.zeros((0, 3)),
    "scalar": np.float64(2.5),
    "complex": np.ones((2, 2), np.complex128) * 1j,
    "integers": np.arange(4),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_arrives_as_it_was(name):
    array = np.asarray(ARRAYS[name])

    arrived = unpack(pack(array))

    assert arrived.dtype == array.dtype
    assert np.array_equal(arrived, array)
    assert arrived.shape == array.shape
    assert arrived.flags.writeable == array.flags.writeable
    if array.size and min(array.strides, default=0) >= 0:
        assert arrived.strides == array.strides


def test_halves_arrive():
    """Also those that NumPy alone does not know."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.arange(4).astype(ml_dtypes.bfloat16)
    assert unpack(pack(array)).dtype == array.dtype


def test_who_reads_a_gap_is_noticed():
    """What lies between the entries is no number of the array's, and not what was there."""
    packet = pack(np.zeros((2, 6))[:, ::2])
    assert GAP in np.frombuffer(packet.data)


def test_what_has_no_numbers_arrives_without_them():
    assert unpack(pack(np.array([None, "x"], object))).dtype == object


@pytest.mark.parametrize("packet", [
    Packet("float64", (2, 2), b"1234"),
    Packet("float64", (-1,), b""),
    Packet("float64", (10**30,), b""),
    Packet("float64", (2,), bytes(16), (800,)),
    Packet("float64", (2,), bytes(16), (-8,)),
    Packet("float64", (2, 2), bytes(32), (8,)),
    Packet("float64", (), bytes(8), ()),
    Packet("float64", (1,), bytes(9), (8,)),
    Packet("float64", (1,) * 70, bytes(8)),
    Packet("O", (0, 2**62, 2**62), b""),
    Packet("f8, (", (1,), bytes(8)),
], ids=["short", "negative", "huge", "beyond", "before", "few strides", "no strides", "a rest",
        "axes", "too big", "no dtype"])  # fmt: skip
def test_a_false_array_is_refused(packet):
    """Its bytes have to be those of its shape: nobody reads beyond them."""
    with pytest.raises(OutOfTurn):
        unpack(packet)


def framed(message, number=7):
    stream = io.BytesIO()
    send(stream, number, message)
    return stream.getvalue()


def test_a_frame_arrives():
    assert receive(io.BytesIO(framed(Question("load", text="x"))), None, Question)[1].text == "x"
    assert receive(io.BytesIO(framed(Answer(text="y"))), 7, Answer) == (7, Answer(text="y"))


def test_gradients_are_returned_as_they_were():
    arrays = iter(np.arange(40.0).reshape(10, 1, 4))
    named = {"w": next(arrays), "b": next(arrays)}
    pulled = Pulled(next(arrays), (next(arrays), next(arrays)), named, next(arrays),
                    (next(arrays), next(arrays)))  # fmt: skip
    there = ResultRecord.of(pulled).result

    assert isinstance(there, Pulled)
    assert vars(there) == vars(pulled)
    assert type(ResultRecord.of(Result(pulled.y, pulled.final)).result) is Result


def test_what_a_node_is_compared_with_arrives():
    weights = {"weight_ih_l0": np.ones((4, 2), np.float16)}
    layer = Layer(
        "a", "rnn", ({"W_a": np.arange(6.0).reshape(3, 2).T},), {"clip": "0"}, names=("a",)
    )
    content = Content(weights, number=1, file=(layer, layer), calls=({"x": np.ones(2)},))
    portrait = Portrait(
        "a", ("rnn",), ("float16",), Options(), "", Meaning("node", content=content)
    )

    _, answer = receive(io.BytesIO(framed(Answer(portrait=portrait))), 7, Answer)
    there = answer.portrait.meaning.content

    assert (there.number, there.file[1].facts, there.source) == (1, {"clip": "0"}, ())
    assert there.weights["weight_ih_l0"].dtype == np.float16
    np.testing.assert_array_equal(there.file[0].passes[0]["W_a"], layer.passes[0]["W_a"])
    np.testing.assert_array_equal(there.calls[0]["x"], [1, 1])


@pytest.mark.parametrize(("data", "message"), [
    (framed(Answer(), 6), "an answer to question 6, where question 7 was asked"),
    (b"{}\n", "3 bytes that are no frame"),
    (b"x" * 100, "bytes that are no frame"),
    (framed(Answer(text="abc"))[:-1] + b"x", "checksum"),
    (framed(Question("load")), "a frame that is no answer"),
    (HEAD.pack(b"GW01", 2**60, 7, 0), "bytes that are no frame"),
])  # fmt: skip
def test_anything_else_is_out_of_turn(data, message):
    with pytest.raises(OutOfTurn, match=message):
        receive(io.BytesIO(data), 7, Answer)


@given(st.binary(max_size=200), st.integers(0, 60), st.integers(0, 255))
def test_damaged_frames_are_refused(noise, at, byte):
    whole = bytearray(framed(Answer(text="abc", arrays={"y": np.ones(2)})))
    whole[at % len(whole)] ^= byte
    for data in (noise, bytes(whole), bytes(whole[: at % len(whole)])):
        try:
            number, answer = receive(io.BytesIO(data), 7, Answer)
        except (OutOfTurn, EOFError):
            continue
        assert (number, answer.text) == (7, "abc")
        assert not byte
