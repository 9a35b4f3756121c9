"""One call of somebody's layer, taken apart so that a fault can meddle with it.

Whatever layout the layer has, a fault sees outputs as (T, B, width) and states as (passes, B,
width), and hands them back in the form in which they came.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .anatomy import Part, parts
from .substitution import substituted

State = tuple[Any, ...] | None
Forward = Callable[..., Any]


class NotExpressible(Exception):
    """A fault that cannot be planted in this layer from outside; the message says why."""


class NotReached(Exception):
    """A fault that this call does not come across; the message says why."""


class AsGiven:
    """In the place of a state: the one that the caller gave."""


AS_GIVEN = AsGiven()


@dataclass(frozen=True)
class Outputs:
    """What a call returns: outputs of all steps, and the final states, (h,) or (h, c)."""

    y: Any
    final: tuple[Any, ...]


@dataclass(frozen=True)
class Call:
    """``forward(module, *args, **kwargs)`` of a layer of one kind, and how to make it again.

    ``memory`` is the module's own, for faults that carry something from call to call.
    """

    kind: str
    module: Any
    forward: Forward
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    way: str = "tensors"
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def torch(self) -> Any:
        """The package; their code has imported it by now."""
        import torch

        return torch

    @cached_property
    def names(self) -> list[str]:
        """The names of the call's arguments, after the module."""
        parameters = list(inspect.signature(self.forward).parameters.values())[1:]
        return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    def _argument(self, place: int) -> Any:
        if place < len(self.args):
            return self.args[place]
        return self.kwargs.get(self.names[place]) if place < len(self.names) else None

    @property
    def given(self) -> Any:
        """The inputs as they came, a tensor or a PackedSequence."""
        return self._argument(0)

    @cached_property
    def state(self) -> State:
        """The initial states, (h,) or (h, c); None if the layer shall take its own."""
        given = self._argument(1)
        if given is None:
            return None
        state = tuple(given) if isinstance(given, tuple | list) else (given,)
        if all(s is None for s in state):
            return None
        if len(state) != self.states or not all(self.torch.is_tensor(s) for s in state):
            raise NotExpressible("its initial state is not that of torch.nn." + self.kind)
        return state

    @property
    def states(self) -> int:
        """The number of states that go from step to step."""
        return 2 if self.kind == "LSTM" else 1

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parameters that could be recognised."""
        return parts(self.module, self.kind)

    @property
    def packed(self) -> bool:
        """Whether rows have lengths of their own."""
        return isinstance(self.given, self.torch.nn.utils.rnn.PackedSequence)

    @property
    def unbatched(self) -> bool:
        """Whether there is one row, and no axis for it."""
        return not self.packed and self.given.ndim == 2

    @property
    def batch_first(self) -> bool:
        """Whether the layer takes (B, T, D)."""
        return bool(getattr(self.module, "batch_first", False))

    @property
    def directions(self) -> int:
        """1, or 2 if the layer also reads backwards."""
        stated = getattr(self.module, "bidirectional", None)
        if isinstance(stated, bool):
            return 1 + stated
        return 1 + max((part.direction for part in self.parts), default=0)

    @property
    def levels(self) -> int:
        """How many layers stand one upon another."""
        stated = getattr(self.module, "num_layers", None)
        if isinstance(stated, int):
            return stated
        return 1 + max((part.level for part in self.parts), default=0)

    @property
    def dropout(self) -> float:
        """The rate between levels; 0 if there is but one."""
        stated = getattr(self.module, "dropout", 0.0)
        rate = getattr(stated, "p", stated)  # a number, or a torch.nn.Dropout
        return float(rate) if isinstance(rate, int | float) and self.levels > 1 else 0.0

    @property
    def lengths(self) -> list[int]:
        """The number of steps of each row."""
        if not self.packed:
            T, B = self.x.shape[:2]
            return [T] * B
        _, lengths = self.torch.nn.utils.rnn.pad_packed_sequence(self.given)
        return list(lengths.tolist())

    @cached_property
    def x(self) -> Any:
        """The inputs as (T, B, D), padded."""
        return self.opened(self.given)

    def opened(self, value: Any) -> Any:
        """Return inputs or outputs as (T, B, width)."""
        if self.packed and not self.torch.is_tensor(value):
            return self.torch.nn.utils.rnn.pad_packed_sequence(value)[0]
        if self.unbatched:
            return value.unsqueeze(1)
        return value.transpose(0, 1) if self.batch_first else value

    def closed(self, tensor: Any, like: Any) -> Any:
        """Return (T, B, width) in the form of ``like``."""
        if self.torch.is_tensor(like):
            return self.plain(tensor)
        if like.sorted_indices is not None:
            tensor = tensor.index_select(1, like.sorted_indices)
        rows = [tensor[t, :n] for t, n in enumerate(like.batch_sizes.tolist())]
        return like._replace(data=self.torch.cat(rows))

    def plain(self, tensor: Any) -> Any:
        """Return (T, B, width) as the layer takes it without lengths."""
        if not self.packed and self.unbatched:
            return tensor.squeeze(1)
        return tensor.transpose(0, 1) if self.batch_first else tensor

    def offers(self) -> set[str]:
        """Return which of what faults may need this call has."""
        roles = {part.role for part in self.parts}
        given = self.state is not None
        found = {
            "parameters": bool(roles) and bool(self.way),
            "bias": "b" in roles,
            "two biases": "bu" in roles,
            "levels": self.levels > 1,
            "directions": self.directions > 1,
            "lengths": self.packed,
            "state": given,
            "no state": not given,
            "dropout": self.dropout > 0,
            "float64": self.x.dtype == self.torch.float64,
            "gradients": self.torch.is_grad_enabled(),
        }
        return {need for need, has in found.items() if has}

    def run(
        self,
        *,
        x: Any = None,
        state: State | AsGiven = AS_GIVEN,
        parameters: Mapping[Any, Any] | None = None,
        way: str | None = None,
    ) -> Outputs:
        """Call the layer, with other inputs, initial states or parameters if they are given.

        ``x`` is in the form that the layer takes.
        """
        given = {0: self.given if x is None else x}
        if not isinstance(state, AsGiven):
            given[1] = self._one(state)
        args, kwargs = self._arguments(given)
        if not parameters:
            return self._parsed(self.forward(self.module, *args, **kwargs))
        with substituted(self.module, parameters, way or self.way):
            return self._parsed(self.forward(self.module, *args, **kwargs))

    def _one(self, state: State) -> Any:
        if state is None or self.states == 2:
            return state
        return state[0]

    def _arguments(self, given: Mapping[int, Any]) -> tuple[list[Any], dict[str, Any]]:
        args, kwargs = list(self.args), dict(self.kwargs)
        for place, value in sorted(given.items()):
            if place < len(args):
                args[place] = value
            elif place < len(self.names):
                kwargs[self.names[place]] = value
            elif value is not None:
                raise NotExpressible("its call takes no initial state")
        return args, kwargs

    def _parsed(self, result: Any) -> Outputs:
        if not isinstance(result, tuple) or len(result) != 2:
            raise NotExpressible("its call does not return (outputs, final state)")
        y, final = result
        final = tuple(final) if isinstance(final, tuple | list) else (final,)
        if len(final) != self.states or not all(self.torch.is_tensor(s) for s in final):
            raise NotExpressible(f"its final state is not that of torch.nn.{self.kind}")
        return Outputs(y, final)

    def result(self, outputs: Outputs) -> Any:
        """Return outputs as the layer's call returns them."""
        return outputs.y, self._one(outputs.final)

    def in_pieces(
        self,
        ends: Sequence[int],
        carry: Callable[[int, tuple[Any, ...]], State],
        parameters: Mapping[int, Mapping[Any, Any]] | None = None,
    ) -> Outputs:
        """Run the steps up to each end, and the rest, one piece after another.

        ``carry`` says with which state a piece begins, given its number and the final state of
        the piece before it; ``parameters`` are what single pieces are to compute with.
        """
        if self.packed or self.directions > 1:
            raise NotExpressible("runs of two directions or of packed rows cannot be cut in time")
        T = self.x.shape[0]
        if T == 0:
            raise NotReached("there are no steps")
        edges = [0, *(end for end in ends if 0 < end < T), T]
        outputs: list[Any] = []
        state, final = self.state, ()
        for number, (start, end) in enumerate(itertools.pairwise(edges)):
            if number:
                state = carry(number, final)
            piece = self.plain(self.x[start:end])
            ran = self.run(x=piece, state=state, parameters=(parameters or {}).get(number))
            outputs.append(self.opened(ran.y))
            final = ran.final
        return Outputs(self.plain(self.torch.cat(outputs)), final)
