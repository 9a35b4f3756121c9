"""The protocol between the judge and a subject's process: frames and messages.

A frame is a head (length, number of the question, checksum) and a MessagePack of one ``Question``
or one ``Answer``. Every answer has its question's number. Arrays are sent as bytes, with their gaps
in memory; gaps hold ``GAP``, so that code that reads them computes wrong numbers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from typing import IO, Any, TypeVar

import msgspec
import numpy as np

from ...reference.arrays import Floats
from ..cases.options import Options
from ..conventions.convention import Convention, Packed
from ..models.content import Content
from ..models.operation import Operation
from ..runs.exception_text import exception_text
from ..subjects.call_records import ArgumentRecord, ResultRecord
from .sandbox import with_memory

HEAD = struct.Struct("<4sQQI")
MARK = b"GW01"
LARGEST = 2**28
"""The most bytes of a frame, or of an array."""

SMALL, MEMORY_SHARE = 2**20, 4
"""The size in bytes up to which messages may unpack to any size, and the factor for larger ones."""

GAP = 1000
NUMBERS = "biufc"
"""The kinds of dtypes whose numbers are sent; of others the shape alone is."""

M = TypeVar("M", bound=msgspec.Struct)


class OutOfTurn(RuntimeError):
    """Received bytes are no answer to the question; the message describes them."""


class Packet(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """An encoded array; ``strides`` are in bytes, None for a contiguous array."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    strides: tuple[int, ...] | None = None
    writable: bool = True


class Meaning(msgspec.Struct, forbid_unknown_fields=True):
    """The meaning of a subject's parameters, as data for the judge's own map.

    ``kind``: ``explicit`` (the reference's layout), ``convention``, ``torch``, ``own`` names, a
    ``recurrence`` without equations, a ``problem`` of a benchmark, by its name, or a ``node`` of a
    file. A node's ``operation`` states its equations if no cell has them; its cases have ``fixed``
    fields, only the checks ``held_to`` apply, and ``content`` is what it is compared with. The kind
    is "" if the judge has to run the subject's own code; ``shared`` says why.
    """

    kind: str
    shared: str = ""
    convention: Convention | None = None
    arrays: tuple[Packed, ...] = ()
    states: dict[str, Any] = {}
    x: Any = "D"
    problem: str = ""
    operation: Operation | None = None
    fixed: tuple[tuple[str, int | bool | str], ...] = ()
    held_to: tuple[str, ...] = ()
    content: Content | None = None


class Portrait(msgspec.Struct, forbid_unknown_fields=True):
    """A subject's description of itself: what it offers, and the meaning of its parameters.

    ``form`` is the kind and cell that a recording stores, ``arguments`` are those of a declared
    function, ``quantised`` is the declared arithmetic.
    """

    name: str
    cells: tuple[str, ...]
    dtypes: tuple[str, ...]
    options: Options
    version: str
    meaning: Meaning
    form: tuple[str, str] | None = None
    arguments: tuple[str, ...] | None = None
    quantised: str = ""


class Question(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A question of the judge to a layer: ``ask`` names it, ``call`` numbers the call."""

    ask: str
    layer: int = 0
    call: int = 0
    text: str = ""
    like: str | None = None
    forbid: str = ""
    against: str = ""
    inputs: str = ""
    device: str = "cpu"
    widths: tuple[int, int] = (0, 0)
    arrays: dict[str, Floats] = {}
    arguments: ArgumentRecord | None = None
    tangents: ArgumentRecord | None = None
    cotangents: tuple[tuple[Floats | None, tuple[Floats | None, ...]], ...] = ()
    training: bool = False


class Answer(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An answer of the subject: ``problem`` names the kind of refusal, "" for none.

    ``imported``: the subject was imported and is being tried; the actual answer follows.
    ``written`` holds arguments that the call changed, by their place among ``arrays_in`` them,
    ``earlier`` the results of earlier calls that it changed, by call number and place;
    ``borrowed`` names code of gatewise that the subject uses.
    """

    problem: str = ""
    text: str = ""
    imported: bool = False
    layer: int = 0
    portrait: Portrait | None = None
    shapes: dict[str, Any] = {}
    results: tuple[ResultRecord, ...] = ()
    arrays: dict[str, Floats] = {}
    written: dict[int, Floats] = {}
    earlier: dict[int, dict[int, Floats]] = {}
    borrowed: tuple[str, ...] = ()


def send(stream: IO[bytes], number: int, message: msgspec.Struct) -> None:
    """Write one frame."""
    body = msgspec.msgpack.encode(message, enc_hook=_packet)
    stream.write(HEAD.pack(MARK, len(body), number, zlib.crc32(body)))
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes], number: int | None, kind: type[M]) -> tuple[int, M]:
    """Read one frame; return its number and its message.

    EOFError if the stream ends before it; OutOfTurn if it has an unexpected number, is no frame, or
    holds anything else than a ``kind``.
    """
    head = stream.read(HEAD.size)
    if not head:
        raise EOFError
    if len(head) < HEAD.size:
        raise OutOfTurn(f"{len(head)} bytes that are no frame")
    mark, length, got, checksum = HEAD.unpack(head)
    if mark != MARK or length > LARGEST:
        raise OutOfTurn("bytes that are no frame")
    if number is not None and got != number:
        raise OutOfTurn(f"an answer to question {got}, where question {number} was asked")
    body = stream.read(length)
    if len(body) < length:
        raise EOFError
    if zlib.crc32(body) != checksum:
        raise OutOfTurn("a frame whose checksum is not that of its bytes")
    try:
        with with_memory(MEMORY_SHARE * length) if length > SMALL else nullcontext():
            return got, msgspec.msgpack.decode(body, type=kind, dec_hook=_array)
    except MemoryError as error:
        raise OutOfTurn(f"{length} bytes that unpack to far more") from error
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        raise OutOfTurn(f"a frame that is no {kind.__name__.lower()} ({error})") from error


def _packet(value: object) -> Packet:
    """Encode an array in a message; NotImplementedError for anything else."""
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(f"no part of a message: {type(value).__name__}")
    return pack(value)


def _array(kind: type[Any], value: object) -> Floats:
    """Decode an array in a message; OutOfTurn if it is none."""
    return unpack(msgspec.convert(value, Packet))


def pack(value: object) -> Packet:
    """Encode an array; of an array without numbers only dtype and shape."""
    array = np.asarray(value)
    native = array.dtype.isnative  # another byte order is another dtype
    name = array.dtype.name if native else array.dtype.str
    shape, writable = array.shape, bool(array.flags.writeable)
    if array.dtype.kind not in NUMBERS and name != "bfloat16":
        return Packet(name, shape, b"")
    if array.flags.c_contiguous or min(array.strides, default=0) < 0:
        return Packet(name, shape, np.ascontiguousarray(array).tobytes(), None, writable)
    reach = sum((n - 1) * stride for n, stride in zip(shape, array.strides, strict=True))
    buffer = np.full(reach // array.itemsize + 1, GAP, array.dtype)
    np.lib.stride_tricks.as_strided(buffer, shape, array.strides)[...] = array
    return Packet(name, shape, buffer.tobytes(), array.strides, writable)


def unpack(packet: Packet) -> Floats:
    """Decode an array; OutOfTurn if its bytes do not fit its shape.

    An array of a dtype without numbers is returned as an empty array of objects.
    """
    try:
        return _unpacked(packet)
    except (ValueError, SyntaxError, OverflowError) as error:  # NumPy's, of what is no array
        raise OutOfTurn(f"an array that is none ({exception_text(error)})") from error


def _unpacked(packet: Packet) -> Floats:
    try:
        dtype = _dtype(packet.dtype)
    except TypeError:
        return np.empty(packet.shape, object) if _fits(packet.shape) else np.empty((), object)
    size = int(np.prod(packet.shape, dtype=object)) * dtype.itemsize
    if min(packet.shape, default=0) < 0 or size > LARGEST:
        raise OutOfTurn(f"an array of shape {packet.shape}")
    if packet.strides is None:
        if size != len(packet.data):
            raise OutOfTurn(f"{len(packet.data)} bytes for an array of shape {packet.shape}")
        array = np.frombuffer(bytearray(packet.data), dtype).reshape(packet.shape)
    else:
        array = _with_gaps(packet, dtype)
    if not packet.writable:
        array.flags.writeable = False
    return array


def _with_gaps(packet: Packet, dtype: np.dtype[Any]) -> Floats:
    strides = packet.strides or ()
    pairs = list(zip(packet.shape, strides, strict=True))
    reach = sum((n - 1) * stride for n, stride in pairs) + dtype.itemsize
    if min(strides) < 0 or min(packet.shape) < 1 or reach > len(packet.data):
        raise OutOfTurn(f"strides {strides} in {len(packet.data)} bytes")
    buffer = np.frombuffer(bytearray(packet.data), dtype)
    return np.lib.stride_tricks.as_strided(buffer, packet.shape, strides)


MANY = 2**24


def _fits(shape: Sequence[int]) -> bool:
    return min(shape, default=0) >= 0 and int(np.prod(shape, dtype=object)) < MANY


def _dtype(name: str) -> np.dtype[Any]:
    """Return a dtype of numbers by its name; TypeError for another."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)  # type: ignore[no-any-return]
    dtype = np.dtype(name)
    if dtype.kind not in NUMBERS:
        raise TypeError(name)
    return dtype
