"""PyTorch's own counters: what a layer of it really did, the same on every machine.

PyTorch's flop counter sees its operators of matrix products. One operator holds a whole oneDNN
LSTM, of which it counts nothing: 0 flop for ``nn.LSTM`` on a CPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

NATIVE_WORDS = {"rnn": (1, 1), "rnn-relu": (1, 1), "lstm": (7, 0), "gru": (7, 0)}
"""Words, for each row and unit, that PyTorch's own CPU layers keep: a T + b, by cell.

One layer in one direction, storages counted once, x and parameters left out. An LSTM keeps
i, f, g, o, tanh c and both old states; a GRU all three of its recurrent products, of which it
needs one, and r, z, n and h - n.
"""

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
"""The operators that are one call of a GEMM each."""


def counted_flop(run: Callable[[], Any]) -> int:
    """Return the flop that PyTorch's counter sees while ``run`` runs."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def saved_words(run: Callable[[], Any], given: Iterable[Any]) -> int:
    """Return how many numbers autograd keeps of ``run``, without those of ``given`` tensors.

    Each storage counts once and whole: a view of a third of it keeps all of it alive.
    """
    import torch

    known = {_storage(tensor) for tensor in given}
    words: dict[int, int] = {}
    alive = []

    def pack(tensor: Any) -> Any:
        alive.append(tensor)  # so that no storage is freed and its address used again
        if _storage(tensor) not in known:
            words[_storage(tensor)] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(words.values())


def _storage(tensor: Any) -> int:
    return int(tensor.untyped_storage().data_ptr())


def product_calls(run: Callable[[], Any]) -> int:
    """Return how many calls of matrix products PyTorch makes while ``run`` runs."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        run()
    return sum(event.name in PRODUCTS for event in seen.events() or ())


def graphs(function: Callable[..., Any], *arguments: Any) -> int:
    """Return into how many graphs ``torch.compile`` cuts a call: 1 if whole, 0 if it gives up.

    More than 1 are one graph break less. It gives up on ``nn.RNN``, ``LSTM`` and ``GRU`` unless
    ``torch._dynamo.config.allow_rnn`` is set: they run as they are, uncompiled.
    """
    import torch

    torch._dynamo.reset()
    try:
        with warnings.catch_warnings():  # its own, about the gradients of what lies between graphs
            warnings.simplefilter("ignore")
            return int(torch._dynamo.explain(function)(*arguments).graph_count)
    finally:
        torch._dynamo.reset()
