"""Programs that have their parameters inside, and are made anew only for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .protocol import Inputs


class OncePerParameters:
    """The last program that ``make`` made, as long as it is for the same parameters.

    The inputs' ``form`` is part of what a program is made for: whether it takes a state, lengths.
    """

    def __init__(self, make: Callable[[Inputs], Any], form: Callable[[Inputs], object]) -> None:
        self.make, self.form = make, form
        self.key: object = None
        self.made: Any = None

    def __call__(self, inputs: Inputs) -> Any:
        """Return the program for these parameters."""
        parameters = tuple((name, a.tobytes()) for name, a in sorted(inputs.parameters.items()))
        key = parameters, self.form(inputs)
        if key != self.key:
            self.made = self.make(inputs)
            self.key = key
        return self.made


def what_is_given(inputs: Inputs) -> object:
    """Say which of the optional inputs there are."""
    return inputs.state is None, inputs.lengths is None
