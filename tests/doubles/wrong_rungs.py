"""Rungs of the ladder with an error planted in them."""

from dataclasses import replace

import numpy as np

from gatewise.bench.speed.ladder import RUNGS


def wrong(place=0, forward=None, backward=None):
    """Return a rung that does something to what goes in, or to what comes out."""
    rung = RUNGS[place]
    return replace(
        rung,
        forward=(lambda *given: forward(rung, *given)) if forward else rung.forward,
        backward=(lambda *given: backward(rung, *given)) if backward else rung.backward,
    )


def _exchanged(rung, p, x, h0, c0):
    return rung.forward(p.map(lambda a: a[[1, 0, 2, 3]]), x, h0, c0)


def _no_state(rung, p, x, h0, c0):
    return rung.forward(p, x, 0 * h0, c0)


def _in_float32(rung, p, x, h0, c0):
    made = rung.forward(p, x.astype("float32").astype("float64"), h0, c0)
    return replace(made, x=x)


def _off(rung, p, x, h0, c0):
    made = rung.forward(p, x, h0, c0)
    return replace(made, y=made.y * (1 + 1e-10))


def _of_float32(rung, p, x, h0, c0):
    made = rung.forward(p, x, h0, c0)
    return replace(made, y=made.y.astype("float32"))


def forgets_dc(rung, p, made, dy, dh, dc):
    return rung.backward(p, made, dy, dh, 0 * dc)


def _late(rung, p, made, dy, dh, dc):
    return rung.backward(p, made, np.roll(dy, 1, axis=0), dh, dc)


def _one_bias(rung, p, made, dy, dh, dc):
    dp, *rest = rung.backward(p, made, dy, dh, dc)
    dp["b"][1] = dp["b"][0]
    return dp, *rest


WRONG = {
    "gates exchanged": wrong(forward=_exchanged),
    "h0 not read": wrong(2, forward=_no_state),
    "input rounded to float32": wrong(1, forward=_in_float32),
    "off by 1e-10": wrong(3, forward=_off),
    "returns float32": wrong(forward=_of_float32),
    "dc not read": wrong(4, backward=forgets_dc),
    "dy a step late": wrong(5, backward=_late),
    "db of one gate for another": wrong(2, backward=_one_bias),
}
