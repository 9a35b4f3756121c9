"""Faults of initial and final states (S)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .call import Call, NotExpressible, NotReached, Outputs
from .catalogue import fault

STATE = "an initial state that is not 0, and numbers to compare with"
FINAL = "the final state against the last outputs, or a sequence run in two pieces"


def _started(call: Call, change: Callable[[Any], Any]) -> Outputs:
    """Run with every initial state (passes, B, H) changed."""
    assert call.state is not None  # noqa: S101 - the fault needs one
    return call.run(state=tuple(change(s) for s in call.state))


def by_pass(call: Call, state: Any) -> Any:
    """Return a state (passes, ...) as (levels, directions, ...)."""
    if state.shape[0] != call.levels * call.directions:
        raise NotExpressible("its states are not stacked as those of torch.nn." + call.kind)
    return state.reshape(call.levels, call.directions, *state.shape[1:])


@fault("S01", models="opencv/opencv#23475", needs=("state",), caught_by=STATE)
def initial_hidden_state_ignored(call: Call) -> Outputs:
    """The initial hidden state is not read."""
    assert call.state is not None  # noqa: S101 - the fault needs one
    h, *others = call.state
    return call.run(state=(h * 0, *others))


@fault(
    "S01b", models="opencv/opencv#23475", kinds=("LSTM",), needs=("state",),
    caught_by="an initial cell state that is not 0, and numbers to compare with",
)  # fmt: skip
def initial_cell_state_ignored(call: Call) -> Outputs:
    """The initial cell state is not read."""
    assert call.state is not None  # noqa: S101 - the fault needs one
    h, c = call.state
    return call.run(state=(h, c * 0))


@fault(
    "S02",
    models="tracel-ai/burn#2701",
    caught_by="more than one step, and numbers to compare with",
)
def every_step_from_the_initial_state(call: Call) -> Outputs:
    """Every step reads the initial state, not the previous one."""
    if call.x.shape[0] < 2:
        raise NotReached("there is never a second step")
    return call.in_pieces(range(1, call.x.shape[0]), lambda number, final: call.state)


@fault(
    "S04",
    models="PaddlePaddle/Paddle#27644",
    needs=("state", "directions"),
    caught_by="an initial state that differs between directions, and numbers to compare with",
)
def one_state_for_both_directions(call: Call) -> Outputs:
    """The backward direction starts from the forward direction's state."""
    return _started(
        call, lambda s: by_pass(call, s)[:, :1].expand_as(by_pass(call, s)).reshape(s.shape)
    )  # fmt: skip


@fault(
    "S05",
    models="pytorch/pytorch#95137",
    needs=("state", "levels"),
    caught_by="two levels, and an initial state that differs between them",
)
def one_state_for_all_levels(call: Call) -> Outputs:
    """Every level starts from the state of the lowest."""
    return _started(
        call, lambda s: by_pass(call, s)[:1].expand_as(by_pass(call, s)).reshape(s.shape)
    )  # fmt: skip


@fault(
    "S06",
    models="llvm/torch-mlir#4741",
    needs=("state",),
    caught_by="two rows with initial states of their own",
)
def one_state_for_all_rows(call: Call) -> Outputs:
    """Every row starts from the state of row 0."""
    if call.unbatched or call.x.shape[1] < 2:
        raise NotReached("there is never a second row")
    return _started(call, lambda s: s[:, :1].expand_as(s).contiguous())


@fault(
    "S08",
    models="tensorflow/tensorflow#46620",
    needs=("no state",),
    caught_by="the same call twice, without an initial state",
)
def state_kept_between_calls(call: Call) -> Outputs:
    """Without an initial state, a call starts where the one before it ended."""
    shape = (call.x.shape[1], call.unbatched, call.x.dtype)
    before, kept = call.memory.get("kept", (shape, None))
    outputs = call.run() if kept is None or before != shape else call.run(state=kept)
    call.memory["kept"] = shape, tuple(s.detach() for s in outputs.final)
    return outputs


@fault(
    "S09",
    models="keras-team/keras#23464",
    caught_by="x (and the initial state) compared with a copy made before the call",
)
def arguments_written_into(call: Call) -> Outputs:
    """The final state is written over the initial state; without one, x is scaled in place."""
    if call.packed:
        raise NotExpressible("packed rows are a copy already")
    x = call.given
    if call.state is None:
        outputs = call.run(x=x.clone())
        _overwrite(x, x * 0.5)
        return outputs
    outputs = call.run(state=tuple(s.clone() for s in call.state))
    for given, final in zip(call.state, outputs.final, strict=True):
        _overwrite(given, final)
    return outputs


def _overwrite(given: Any, new: Any) -> None:
    """Write into a caller's tensor behind autograd's back, as a kernel does."""
    if 0 in given.stride() and given.numel():
        raise NotExpressible("an expanded tensor cannot be written into")
    given.data.copy_(new.detach())


@fault(
    "S10",
    models="microsoft/nni#2842",
    kinds=("LSTM",),
    caught_by=FINAL,
)
def cell_state_returned_first(call: Call) -> Outputs:
    """The final states come as (c, h)."""
    outputs = call.run()
    return Outputs(outputs.y, outputs.final[::-1])


@fault(
    "S11",
    models="tflearn/tflearn#522",
    needs=("directions",),
    caught_by="the final state of the backward direction against its output at step 0",
)
def forward_final_state_twice(call: Call) -> Outputs:
    """The final state of the forward direction is returned for the backward one as well."""
    outputs = call.run()
    final = tuple(
        by_pass(call, s)[:, :1].expand_as(by_pass(call, s)).reshape(s.shape) for s in outputs.final
    )
    return Outputs(outputs.y, final)


@fault(
    "S12",
    caught_by=FINAL,
)
def final_state_one_step_early(call: Call) -> Outputs:
    """The final state is the one before the last step."""
    if call.packed:
        raise NotExpressible("packed rows cannot be cut in time")
    if call.x.shape[0] < 2:
        raise NotReached("there is never a second step")
    outputs = call.run()
    early = call.run(x=call.plain(call.x[:-1]))
    return Outputs(outputs.y, early.final)


@fault("S15", needs=("no state",), caught_by="a call without a state against one with zeros")
def initial_state_of_ones(call: Call) -> Outputs:
    """Without an initial state, a call starts from ones."""
    zeros = call.run()
    return call.run(state=tuple(call.torch.ones_like(s) for s in zeros.final))
