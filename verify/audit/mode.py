"""Faults of training, evaluation and the masks of dropout (M)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .call import Call, NotReached, Outputs
from .catalogue import fault

NEEDS = ("levels", "dropout")


@contextmanager
def _mode(call: Call, training: bool) -> Iterator[None]:
    """Let the layer and all its parts be in one mode, and then in their own again."""
    before = [(part, part.training) for part in call.module.modules()]
    try:
        for part, _ in before:
            part.training = training
        yield
    finally:
        for part, was in before:
            part.training = was


def _in_training(call: Call) -> None:
    if not call.module.training:
        raise NotReached("dropout is never met in training")


@fault(
    "M01",
    models="pytorch/pytorch#180744",
    needs=NEEDS,
    caught_by="one layer called in training, then in evaluation",
)
def mode_of_the_first_call(call: Call) -> Outputs:
    """The mode of the first call of a shape is kept, whatever train() says later."""
    key = f"mode {tuple(call.x.shape)}"
    with _mode(call, call.memory.setdefault(key, call.module.training)):
        return call.run()


@fault(
    "M02",
    models="pytorch/pytorch#185351",
    needs=NEEDS,
    caught_by="two calls in training, which should differ",
)
def masks_never_drawn_again(call: Call) -> Outputs:
    """Every call in training drops the same entries."""
    _in_training(call)
    before = call.torch.get_rng_state()
    try:
        call.torch.set_rng_state(call.memory.setdefault("masks", before))
        return call.run()
    finally:
        call.torch.set_rng_state(before)


@fault(
    "M03",
    models="keras-team/keras#19397",
    needs=NEEDS,
    caught_by="a call in training against one in evaluation, which should differ",
)
def nothing_dropped(call: Call) -> Outputs:
    """Training drops nothing, whatever the rate."""
    _in_training(call)
    with _mode(call, False):
        return call.run()


@fault(
    "M08",
    needs=NEEDS,
    caught_by="evaluation with a rate that is not 0, compared with a layer without dropout",
)
def evaluation_drops(call: Call) -> Outputs:
    """Evaluation drops entries like training."""
    if call.module.training:
        raise NotReached("dropout is never met in evaluation")
    with _mode(call, True):
        return call.run()


@fault(
    "M09",
    models="OpenNMT/OpenNMT-py#29",
    needs=NEEDS,
    caught_by="outputs in training, which hold no exact zeros",
)
def last_level_dropped(call: Call) -> Outputs:
    """The outputs of the last level are dropped as well."""
    _in_training(call)
    outputs = call.run()
    y = call.torch.nn.functional.dropout(call.opened(outputs.y), call.dropout)
    return Outputs(call.closed(y, outputs.y), outputs.final)
