"""The edges at which PyTorch asks cuDNN for another algorithm, as its source has them."""

import pytest

from gatewise.bench.cost.shape import Shape
from gatewise.bench.speed.cliffs import Device, algorithm, edges

V100, T4, A100, A10 = Device(7, 0, 80), Device(7, 5, 40), Device(8, 0, 108), Device(8, 6, 72)
SMALL, PERSISTENT, STANDARD = "PERSIST_STATIC_SMALL_H", "PERSIST_STATIC", "STANDARD"


def chosen(cell, H, dtype="float16", device=A100, *, backward=False, T=50, B=16, **more):
    shape = Shape(T=T, B=B, D=more.pop("D", H), H=H, **more)
    return algorithm(cell, shape, dtype, device, backward=backward)


@pytest.mark.parametrize(
    ("cell", "widest", "widest_back"), [("rnn", 384, 256), ("lstm", 192, 128), ("gru", 192, 128)]
)
def test_small_widths(cell, widest, widest_back):
    """Up to an edge that is lower backward; beyond it another algorithm, whatever the dtype."""
    assert edges(cell) == (widest, 1024)
    for back, edge in ((False, widest), (True, widest_back)):
        assert chosen(cell, edge, "float32", backward=back) == SMALL
        assert chosen(cell, edge + 1, "float32", backward=back) == STANDARD
    assert chosen(cell, 64, "float64") == STANDARD


def test_persistent_kernels_take_float16_alone():
    """And widths of 128, one layer, one direction, at most 1024 units."""
    assert chosen("lstm", 768) == PERSISTENT
    for other in (
        chosen("lstm", 768, "bfloat16"),
        chosen("lstm", 768, "float32"),
        chosen("lstm", 1152),
        chosen("lstm", 760),
        chosen("lstm", 768, D=100),
        chosen("lstm", 768, layers=2),
        chosen("lstm", 768, directions=2),
        chosen("lstm", 768, B=12),
        chosen("lstm", 768, B=136),
        chosen("gru", 768),
        chosen("lstm-projected", 64),
        chosen("skip-lstm", 64),
    ):
        assert other == STANDARD


def test_devices():
    """Volta by rows and steps, Turing never, Ampere with 98 multiprocessors or more."""
    assert chosen("gru", 768, device=V100) == PERSISTENT
    assert chosen("gru", 768, device=V100, B=80) == STANDARD
    assert chosen("gru", 768, device=V100, T=12, B=64) == STANDARD
    assert chosen("lstm", 768, device=T4) == STANDARD
    assert chosen("lstm", 768, device=A10) == STANDARD
    assert chosen("rnn", 896, B=96) == STANDARD
    assert chosen("rnn", 768, B=96) == PERSISTENT
