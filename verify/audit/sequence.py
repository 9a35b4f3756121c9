"""Faults of time, direction and lengths (Q, and S13)."""

from __future__ import annotations

from typing import Any

from .call import Call, NotExpressible, NotReached, Outputs
from .catalogue import fault
from .state import by_pass

LENGTHS = "packed rows of different lengths, and numbers to compare with"
BACKWARD = "two directions, and numbers to compare with"


def padded(call: Call, like: Outputs) -> Outputs:
    """Run packed rows as if none ended early; outputs are packed like those of ``like``."""
    ran = call.run(x=call.plain(call.x))
    y = ran.y.transpose(0, 1) if call.batch_first else ran.y
    return Outputs(call.closed(y, like.y), ran.final)


def _ends_early(call: Call) -> None:
    if len(set(call.lengths)) < 2:
        raise NotReached("all rows are equally long")


def halves(call: Call, y: Any) -> tuple[Any, Any]:
    """Return the outputs (T, B, width) of the forward and of the backward direction."""
    forward, backward = y.chunk(2, -1)
    return forward, backward


def reversed_rows(call: Call, tensor: Any) -> Any:
    """Return (T, B, width) with every row reversed in time, up to its end."""
    if len(set(call.lengths)) == 1:
        return tensor.flip(0)
    rows = [
        call.torch.cat([tensor[:n, b].flip(0), tensor[n:, b]])
        for b, n in enumerate(call.lengths)
    ]  # fmt: skip
    return call.torch.stack(rows, 1)


def _of_last_level(call: Call, h: Any, direction: int, new: Any) -> Any:
    """Return the final h (passes, B, H) with that of the last level's direction replaced."""
    where = (call.levels - 1) * call.directions + direction
    new = new[0] if call.unbatched else new
    if h.shape[0] != call.levels * call.directions or h[where].shape != new.shape:
        raise NotExpressible("its final state is not stacked as that of torch.nn." + call.kind)
    return call.torch.cat([h[:where], new[None], h[where + 1 :]])


@fault("Q01", models="jax-ml/jax#15183", needs=("lengths",), caught_by=LENGTHS)
def lengths_ignored(call: Call) -> Outputs:
    """Every row runs to the end, through its padding."""
    _ends_early(call)
    return padded(call, call.run())


@fault(
    "Q02",
    models="keras-team/keras#4192",
    needs=("lengths", "directions"),
    caught_by="packed rows of different lengths in two directions, and numbers to compare with",
)
def backward_direction_starts_in_the_padding(call: Call) -> Outputs:
    """The backward direction reads the padding first, then the row."""
    _ends_early(call)
    right = call.run()
    wrong = padded(call, right)
    forward, _ = halves(call, call.opened(right.y))
    _, backward = halves(call, call.opened(wrong.y))
    y = call.closed(call.torch.cat([forward, backward], -1), right.y)
    final = []
    for mine, other in zip(right.final, wrong.final, strict=True):
        both = [by_pass(call, mine)[:, 0], by_pass(call, other)[:, 1]]
        final.append(call.torch.stack(both, 1).reshape(mine.shape))
    return Outputs(y, tuple(final))


@fault("Q03", models="d2l-ai/d2l-en#2306", needs=("directions",), caught_by=BACKWARD)
def backward_outputs_not_turned_back(call: Call) -> Outputs:
    """The outputs of the backward direction stand in the order in which they were computed."""
    outputs = call.run()
    y = call.opened(outputs.y)
    forward, backward = halves(call, y)
    turned = call.torch.cat([forward, reversed_rows(call, backward)], -1)
    return Outputs(call.closed(turned, outputs.y), outputs.final)


@fault(
    "Q04",
    models="microsoft/onnxruntime#4187",
    caught_by="more than one step, and numbers to compare with",
)
def outputs_reversed(call: Call) -> Outputs:
    """All outputs of the layer come last step first."""
    outputs = call.run()
    y = reversed_rows(call, call.opened(outputs.y))
    return Outputs(call.closed(y, outputs.y), outputs.final)


@fault("Q05", models="tensorflow/tensorflow#39635", needs=("directions",), caught_by=BACKWARD)
def batch_axis_reversed(call: Call) -> Outputs:
    """The backward direction reverses the batch, not time, and so reads forwards."""
    if call.levels > 1:
        raise NotExpressible("with more than one level, one direction cannot be told to read so")
    outputs = call.run()
    turned = call.closed(reversed_rows(call, call.x), call.given)
    other = call.run(x=turned)
    forward, _ = halves(call, call.opened(outputs.y))
    _, backward = halves(call, reversed_rows(call, call.opened(other.y)))
    y = call.closed(call.torch.cat([forward, backward], -1), outputs.y)
    pairs = zip(outputs.final, other.final, strict=True)
    return Outputs(y, tuple(call.torch.cat([a[:1], b[1:]]) for a, b in pairs))


@fault(
    "Q06",
    models="pytorch/pytorch#3587",
    needs=("lengths",),
    caught_by="packed rows of different lengths, and their final states",
)
def final_state_from_the_last_step(call: Call) -> Outputs:
    """The final hidden state of the forward direction is the output at T - 1, end or not."""
    _ends_early(call)
    outputs = call.run()
    h, *others = outputs.final
    y = call.opened(outputs.y)
    last = halves(call, y)[0][-1] if call.directions > 1 else y[-1]
    return Outputs(outputs.y, (_of_last_level(call, h, 0, last), *others))


@fault(
    "Q07",
    models="pytorch/pytorch#3587",
    needs=("directions",),
    caught_by="the final state of the backward direction against its output at step 0",
)
def backward_final_state_from_the_last_step(call: Call) -> Outputs:
    """The final hidden state of the backward direction is its output at the last valid step."""
    outputs = call.run()
    h, *others = outputs.final
    _, backward = halves(call, call.opened(outputs.y))
    last = call.torch.stack([backward[n - 1, b] for b, n in enumerate(call.lengths)])
    return Outputs(outputs.y, (_of_last_level(call, h, 1, last), *others))


@fault(
    "Q10",
    models="mead-ml/mead-baseline#677",
    needs=("lengths",),
    caught_by="three or more packed rows that are not sorted by length, and their final states",
)
def unsorted_with_the_wrong_permutation(call: Call) -> Outputs:
    """Rows sorted by length are put back with the permutation in the place of its inverse."""
    order = call.given.sorted_indices
    if order is None or bool((order == call.torch.argsort(order)).all()):
        raise NotReached("no permutation of rows differs from its inverse")
    outputs = call.run()
    final = tuple(s.index_select(1, order).index_select(1, order) for s in outputs.final)
    return Outputs(outputs.y, final)


@fault(
    "S13",
    models="pytorch/pytorch#19675",
    caught_by="a batch of as many rows as steps",
)
def steps_and_rows_exchanged(call: Call) -> Outputs:
    """When T equals B, x is taken for the other layout, and y is returned so."""
    T, B = call.x.shape[:2]
    if call.packed or call.unbatched or T != B or T < 2:
        raise NotReached("T never equals B")
    outputs = call.run(x=call.given.transpose(0, 1))
    return Outputs(outputs.y.transpose(0, 1), outputs.final)


@fault(
    "W01",
    caught_by="a sequence of more than 32 steps, and numbers to compare with",
)
def state_lost_after_many_steps(call: Call) -> Outputs:
    """After every 32 steps the state is 0 again."""
    if call.x.shape[0] <= 32:
        raise NotReached("no sequence has more than 32 steps")
    ends = range(32, call.x.shape[0], 32)
    return call.in_pieces(ends, lambda number, final: tuple(s * 0 for s in final))


@fault("P09", caught_by="a sequence of more than 100 steps")
def nan_after_many_steps(call: Call) -> Outputs:
    """From step 100 on, y is NaN."""
    if call.x.shape[0] <= 100:
        raise NotReached("no sequence has more than 100 steps")
    outputs = call.run()
    y = call.opened(outputs.y)
    y = call.torch.cat([y[:100], y[100:] * float("nan")])
    return Outputs(call.closed(y, outputs.y), outputs.final)
