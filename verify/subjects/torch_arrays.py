"""Between NumPy's arrays and torch's tensors, on any device; bfloat16 is that of ml_dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference.functions import Array
from ..case import Case


def torch_dtype(torch: Any, case: Case) -> Any:
    """Return torch's dtype of a case's numbers."""
    return getattr(torch, case.number_type.name)


def tensor_of(torch: Any, array: Array, device: str = "cpu") -> Any:
    """Return a tensor of the same numbers, aligned as torch's own, or with the same strides."""
    if array.flags.c_contiguous:
        return _same_memory(torch, np.array(array)).clone().to(device)
    if 0 in array.strides:  # torch expands, but does not take, what NumPy broadcasts
        base = array[tuple(slice(1) if s == 0 else slice(None) for s in array.strides)]
        return tensor_of(torch, np.ascontiguousarray(base), device).expand(array.shape)
    here = _same_memory(torch, array)
    if device == "cpu":
        return here
    there = torch.empty_strided(here.shape, here.stride(), dtype=here.dtype, device=device)
    return there.copy_(here)


def array_of(torch: Any, tensor: Any) -> Array:
    """Return a tensor's numbers as an array: in the same memory, where it is NumPy's to read."""
    here = tensor.detach().cpu()
    if here.dtype != torch.bfloat16:
        return np.asarray(here.numpy())
    import ml_dtypes

    return np.asarray(here.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16))


def _same_memory(torch: Any, array: Array) -> Any:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
