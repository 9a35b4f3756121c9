"""Number systems are held to the shapes of their signatures; a wrong one turns these tests red."""

import numpy as np
import pytest

import shapes
from gatewise.reference.functions import sigmoid, tanh
from gatewise.verify.numbers.arithmetic import FLOAT32
from gatewise.verify.numbers.bounded import Bounded, _rounded
from gatewise.verify.numbers.complex_step import derivative
from gatewise.verify.numbers.enclosure import balls, distance

ones = np.ones


@pytest.mark.parametrize(("call", "said"), [
    (lambda: derivative(lambda x: (x,), ones((2, 3)), ones(3)), "derivative: direction"),
    (lambda: distance(ones((2, 3)), balls(ones((1, 3)))), "distance: enclosed"),
    (lambda: _rounded(ones((2, 3)), ones(3), FLOAT32), "_rounded: propagated"),
])  # fmt: skip
def test_a_wrong_shape_is_refused(call, said):
    with pytest.raises(shapes.WrongShape, match=said):
        call()


def test_functions_of_every_number_system_are_checked():
    with shapes.checking() as calls:
        before = calls()
        tanh(Bounded.exact(ones((2, 3)), FLOAT32))
        sigmoid(balls(ones((2, 3))))
    assert calls() >= before + 2


def test_a_number_system_is_no_array_of_plain_numbers():
    with pytest.raises(TypeError, match="take its value"):
        np.asarray(Bounded.exact(ones(3), FLOAT32))


MADE = """
from typing import Annotated
import numpy as np

Row = Annotated[np.ndarray, "H"]

def outer(array):
    def inner(row: Row) -> Row:
        return row
    return inner(array)
"""


def test_a_function_that_another_one_makes_is_checked():
    namespace = {}
    exec(shapes._Loader("made", "made.py").source_to_code(MADE, "made.py"), namespace)
    assert namespace["outer"](ones(3)).shape == (3,)
    with shapes.checking(), pytest.raises(shapes.WrongShape, match="inner: row"):
        namespace["outer"](ones((2, 3)))
