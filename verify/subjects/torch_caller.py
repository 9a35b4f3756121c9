"""The plain torch code that stand-alone scripts use to build and call a layer."""

from __future__ import annotations

from typing import Any

from ..case import Case

CALL = '''

def tensor(values):
    return torch.tensor(values, dtype=DTYPE, device="DEVICE")


def array(values):
    values = values.detach().cpu()
    return (values.float() if values.dtype is torch.bfloat16 else values).numpy()


def call(layer, parameters, x, state, lengths=None, dy=None, dfinal=None):
    """Set the parameters, call the layer, and return everything it computes, by name."""
    named = dict(layer.named_parameters())
    with torch.no_grad():
        for name, values in parameters.items():
            named[name].copy_(tensor(values))
    x = tensor(x).requires_grad_()
    state = None if state is None else [tensor(s).requires_grad_() for s in state]
    given = [AS_CALLED]
    if state is not None:
        hx = STATES_AS_CALLED
        given.append(hx[0] if len(hx) == 1 else tuple(hx))
    if lengths is not None:
        rnn = torch.nn.utils.rnn
        ends = torch.tensor(lengths)
        given[0] = rnn.pack_padded_sequence(
            given[0], ends, batch_first=BATCH_FIRST, enforce_sorted=False
        )
    y, final = layer(*given)
    if lengths is not None:
        y, _ = rnn.pad_packed_sequence(y, batch_first=BATCH_FIRST, total_length=x.shape[0])
    final = list(final) if isinstance(final, (tuple, list)) else [final]
    y, final = AS_RETURNED
    result = {"y": array(y)}
    for name, s in zip("hc", final):
        result[f"final {name}"] = array(s)
    if dfinal is not None:
        heads = [(o, d) for o, d in zip([y, *final], [dy, *dfinal]) if d is not None]
        leaves = {**named, "x": x}
        leaves |= {f"initial {name}": s for name, s in zip("hc", state or [])}
        pulled = torch.autograd.grad(
            [o for o, _ in heads if o.requires_grad], list(leaves.values()),
            [tensor(np.array(d)) for o, d in heads if o.requires_grad], allow_unused=True,
        )
        for (name, leaf), d in zip(leaves.items(), pulled):
            d = torch.zeros_like(leaf) if d is None else d
            result[f"gradient of {name}"] = array(d)
    return result

'''

FORMS = {
    "time-first": ("x", "state", "y, final"),
    "batch-first": ("x.transpose(0, 1)", "state", "y.transpose(0, 1), final"),
    "unbatched": ("x[:, 0]", "[s[:, 0] for s in state]", "y[:, None], [s[:, None] for s in final]"),
}


def source(
    import_lines: str,
    case: Case,
    options: dict[str, Any],
    *,
    takes_dtype: bool,
    device: str = "cpu",
) -> str:
    """Return source that defines ``make`` and ``call``; ``import_lines`` define ``Layer``."""
    arguments = [str(case.D), str(case.H), *(f"{k}={v!r}" for k, v in options.items())]
    dtype = f"torch.{case.number_type.name}"
    if takes_dtype:
        arguments.append(f"dtype={dtype}")
    made = f"Layer({', '.join(arguments)})" + ("" if takes_dtype else f".to({dtype})")
    x, states, returned = FORMS[case.layout]
    body = CALL.replace("STATES_AS_CALLED", states).replace("AS_CALLED", x)
    body = body.replace("AS_RETURNED", returned)
    body = body.replace("BATCH_FIRST", str(case.layout == "batch-first"))
    made = made if device == "cpu" else f'{made}.to("{device}")'
    body = body.replace("DTYPE", dtype).replace("DEVICE", device)
    make = f"\n\ndef make():\n    return {made}\n"
    return f"import torch\n{import_lines}{make}{body}"
