"""Linear recurrences of packages, in PyTorch on the CPU, each as a class that calls a function.

Those of fla and transformers compute in float32 for all dtypes, so they are offered in float32
alone. For functions that return no final state the adapter computes one, or leaves them out. A
``forward`` without an argument for the initial state offers none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, ClassVar

from ....reference.forms import STEPS
from ...cases.case import Case
from ...cases.options import Options
from ...conventions.parameter_map import ExplicitMap
from ..framework import imported
from ..given_arrays import GivenArrays, given_arrays
from ..protocol import Built, OneCell
from ..ragged import ragged_options

FAMILIES = {
    "fla": ("fla", "torch"),
    "transformers": ("transformers", "torch"),
    "mlstm-kernels": ("mlstm_kernels", "torch"),
    "mambapy": ("mambapy", "torch"),
    "xlstm-cells": ("xlstm", "torch"),
}
INSTALL = {
    "fla": "fla-core triton einops torch",
    "transformers": "transformers torch",
    "mlstm-kernels": "mlstm_kernels einops torch",
    "mambapy": "mambapy torch",
    "xlstm-cells": "xlstm omegaconf dacite torch",
}
DISTRIBUTIONS = {"fla": "fla-core", "mlstm-kernels": "mlstm_kernels", "xlstm-cells": "xlstm"}
"""Names of distributions that differ from the family's."""

CHUNK = 4
"""Steps of a chunk: few, so that short sequences have several chunks."""

BOTH = (STEPS, f"chunk:{CHUNK}")
"""The forms of classes that compute step by step or in chunks, by the argument ``form``."""


class Program:
    """A function of a package as a class with ``forward``."""

    family = ""
    module = ""
    axes, gradient = "BTD", "torch"
    dtypes: ClassVar[tuple[str, ...]] = ("float64", "float32")

    def in_chunks(self, form: str) -> bool:
        """Whether to compute in chunks, by the argument or by the class's attribute ``form``."""
        return (form or str(getattr(self, "form", STEPS))) != STEPS

    def version(self) -> str:
        """Return the distribution and its version."""
        name = DISTRIBUTIONS.get(self.family, self.family)
        return f"{name} {version(name)} (torch {version('torch')}), CPU"

    def function(self, name: str) -> Callable[..., Any]:
        """Return a function of the module, without the wrapper that replaces it on a GPU.

        SubjectUnavailable if the package is not installed.
        """
        wrapped: Callable[..., Any] = getattr(imported(self.module, INSTALL[self.family]), name)
        itself: Callable[..., Any] = inspect.unwrap(wrapped)
        return itself


class Fla(Program):
    """Flash linear attention's naive forms."""

    family = "fla"
    dtypes = ("float32",)


class GatedDelta(Program):
    """A package's gated delta rule: the function of single steps, and that of chunks."""

    cell = "gated-delta"
    functions: ClassVar[tuple[str, str]]
    forms: tuple[str, ...] = BOTH

    def forward(
        self, q: Any, k: Any, v: Any, g: Any, beta: Any, state: Any = None, form: str = ""
    ) -> Any:
        chunked = self.in_chunks(form)
        size = {"chunk_size": CHUNK} if chunked else {}
        run = self.function(self.functions[chunked])
        return run(q, k, v, g=g, beta=beta, initial_state=state, output_final_state=True, **size)


class FlaGatedDelta(GatedDelta, Fla):
    """fla's gated delta rule, step by step, or in chunks."""

    module = "fla.ops.gated_delta_rule.naive"
    functions = ("naive_recurrent_gated_delta_rule", "naive_chunk_gated_delta_rule")


class FlaGatedDeltaChunk(FlaGatedDelta):
    """The same in chunks alone."""

    forms, form = (), BOTH[1]


class FlaGatedDeltaProduct(Fla):
    """fla's gated delta product with one factor a step, which takes packed sequences."""

    cell, module = "gated-delta", "fla.ops.gated_delta_product.naive"

    def forward(
        self, q: Any, k: Any, v: Any, g: Any, beta: Any, state: Any = None, cu_seqlens: Any = None
    ) -> Any:
        run = self.function("naive_recurrent_gated_delta_product")
        return run(q, k, v, g, beta, q.shape[-1] ** -0.5, cu_seqlens, state, True)


class FlaKDA(Fla):
    """fla's Kimi delta attention, step by step."""

    cell, module = "kda", "fla.ops.kda.naive"

    def forward(self, q: Any, k: Any, v: Any, g: Any, beta: Any, state: Any = None) -> Any:
        run = self.function("naive_recurrent_kda")
        return run(q, k, v, g, beta, initial_state=state, output_final_state=True)


class FlaGLA(Fla):
    """fla's gated linear attention, step by step."""

    cell, module = "gla", "fla.ops.gla.naive"

    def forward(self, q: Any, k: Any, v: Any, g: Any, state: Any = None) -> Any:
        run = self.function("naive_recurrent_gla")
        o, S = run(q, k, v, g, initial_state=state, output_final_state=True)
        return o, S


class FlaDeltaNet(Fla):
    """fla's delta rule, step by step."""

    cell, module, axes = "deltanet", "fla.ops.delta_rule.naive", "BHTD"

    def forward(self, q: Any, k: Any, v: Any, beta: Any, state: Any = None) -> Any:
        return self.function("delta_rule_recurrence")(q, k, v, beta, state)


class FlaRWKV6(Fla):
    """fla's RWKV-6, step by step, without a scale."""

    cell, module, axes = "rwkv6", "fla.ops.rwkv6.recurrent_naive", "BHTD"

    def forward(self, r: Any, k: Any, v: Any, w: Any, u: Any, state: Any = None) -> Any:
        run = self.function("naive_recurrent_rwkv6")
        return run(r, k, v, w, u, scale=1.0, initial_state=state, output_final_state=True)


class Transformers(Program):
    """Hugging Face's paths on the CPU."""

    family = "transformers"
    dtypes = ("float32",)


class QwenGatedDelta(GatedDelta, Transformers):
    """Qwen3-Next's gated delta rule, step by step, or in chunks."""

    module = "transformers.models.qwen3_next.modeling_qwen3_next"
    functions = ("torch_recurrent_gated_delta_rule", "torch_chunk_gated_delta_rule")


class QwenGatedDeltaChunk(QwenGatedDelta):
    """The same in chunks alone."""

    forms, form = (), BOTH[1]


class Mamba2Chunk(Transformers):
    """Mamba-2's scan over chunks."""

    cell, module = "ssd", "transformers.models.mamba2.modeling_mamba2"
    form = f"chunk:{CHUNK}"

    def forward(self, x: Any, dt: Any, B: Any, C: Any, A: Any, D: Any, state: Any = None) -> Any:
        run = self.function("mamba2_chunk_scan")
        return run(x, dt, A, B[:, :, None], C[:, :, None], CHUNK, D=D, initial_states=state,
                   return_final_states=True)  # fmt: skip


class Mamba1Scan(Transformers):
    """Mamba-1's selective scan; it takes no initial state."""

    cell, module = "selective", "transformers.models.mamba.modeling_mamba"

    def forward(self, x: Any, dt: Any, B: Any, C: Any, A: Any, D: Any) -> Any:
        run = self.function("mamba_selective_scan")
        x, dt, B, C = (a.transpose(1, 2) for a in (x, dt, B, C))
        y, h = run(x, dt, A, B, C, D=D, return_last_state=True)
        return y.transpose(1, 2), h


class Mambapy(Program):
    """mambapy's sequential scan; the adapter computes the final state, which it does not return."""

    cell, family, module = "selective", "mambapy", "mambapy.mamba"

    def forward(self, x: Any, dt: Any, B: Any, C: Any, A: Any, D: Any) -> Any:
        block = self._block(x.shape[-1], A.shape[-1])
        y = block.selective_scan(x, dt, A, B, C, D)
        decay = (dt[..., None] * A).exp()
        h = x.new_zeros(x.shape[0], *A.shape)
        for t in range(x.shape[1]):
            h = decay[:, t] * h + (dt[:, t] * x[:, t])[..., None] * B[:, t, None]
        return y, h

    def _block(self, width: int, entries: int) -> Any:
        module = imported(self.module, INSTALL[self.family])
        settings = module.MambaConfig(d_model=width, n_layers=1, d_state=entries, expand_factor=1)
        return module.MambaBlock(settings)


class MLSTM(Program):
    """NX-AI's native mLSTM without the 1e-6 in its denominator, in steps or in chunks."""

    cell, family, axes = "mlstm", "mlstm-kernels", "BHTD"
    module = "mlstm_kernels.torch.recurrent.native_sequence"
    forms: tuple[str, ...] = BOTH

    def forward(
        self, q: Any, k: Any, v: Any, i: Any, f: Any, state: Any = None, form: str = ""
    ) -> Any:
        C, n, m = state or (None, None, None)
        states = C, n, m if m is None else m[..., None]
        if not self.in_chunks(form):
            run = self.function("mlstm_recurrent_sequence__native_fw")
            h, (C, n, m) = run(q, k, v, i, f, *states, return_last_states=True, eps=0.0,
                               dtype_state=q.dtype)[:2]  # fmt: skip
            return h, (C, n, m[..., 0])
        native = imported("mlstm_kernels.torch.chunkwise.native.fw", INSTALL[self.family])
        steps, outputs = q.shape[2], [v[:, :, :0]]
        chunked = steps - steps % CHUNK  # the remaining steps are a shorter chunk of their own
        for part in filter(len, (range(chunked), range(chunked, steps))):
            inputs = (a[:, :, part.start : part.stop] for a in (q, k, v, i, f))
            size = min(CHUNK, len(part))
            h, _, _, states, _ = native.mlstm_chunkwise_fw(
                *inputs, *states, return_last_states=True, chunk_size=size, eps=0.0
            )
            outputs.append(h)
        C, n, m = states
        return imported("torch", "torch").cat(outputs, 2), (C, n, m if m is None else m[..., 0])


class MLSTMChunk(MLSTM):
    """The same in chunks alone."""

    forms, form = (), BOTH[1]


class SLSTM(Program):
    """xlstm's pointwise sLSTM in a loop over time, with one block of R a head."""

    cell, family, module = "slstm", "xlstm-cells", "xlstm.blocks.slstm.src.vanilla.slstm"

    def forward(self, i: Any, f: Any, z: Any, o: Any, R: Any, state: Any) -> Any:
        run, torch = self.function("slstm_forward_pointwise"), imported("torch", "torch")
        now = torch.stack([s.flatten(1) for s in state])
        shape, outputs = i.shape, []
        for t in range(shape[1]):
            inputs = torch.stack([a[:, t].flatten(1) for a in (i, f, z, o)], 1).flatten(1)
            h = now[0].reshape(shape[0], *shape[2:])
            products = [torch.einsum("bnv,nvw->bnw", h, block).flatten(1) for block in R]
            recurrent, bias = torch.stack(products, 1), inputs.new_zeros(1, inputs.shape[1])
            now, _ = run(inputs, recurrent.flatten(1), bias, now, {})
            outputs.append(now[0].reshape(shape[0], *shape[2:]))
        return torch.stack(outputs, 1), tuple(s.reshape(shape[0], *shape[2:]) for s in now)


@dataclass(frozen=True)
class ProgramSubject(OneCell):
    """A program and its name; loading it determines the options that it offers."""

    name: str
    value: type[Program]

    @property
    def options(self) -> Options:
        """The options that it may offer."""
        forms: tuple[str, ...] = getattr(self.value, "forms", ())
        form = str(getattr(self.value, "form", next(iter(forms), "")))
        plain = Options(layers=False, bidirectional=False, bias=False, program=form, forms=forms)
        parameters = inspect.signature(self.value.forward).parameters  # type: ignore[attr-defined]
        return replace(plain, **ragged_options(parameters))

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes in which it computes."""
        return self.value.dtypes

    @property
    def cells(self) -> tuple[str, ...]:
        """The cell that it computes."""
        return (str(self.value.cell),)  # type: ignore[attr-defined]

    def version(self) -> str:
        """Return the distribution and its version."""
        return self.value().version()

    def loaded(self) -> GivenArrays:
        """Return the subject; SubjectUnavailable if its package is not installed."""
        imported(self.value.module, INSTALL[self.value.family])
        return given_arrays(self.value(), self.name)

    def parameter_map(self, case: Case) -> ExplicitMap:
        """Return the map of the cell's own parameters."""
        return ExplicitMap(self.cells[0], case)

    def build(self, case: Case) -> Built:
        """Return the layer, ready to be called."""
        return self.loaded().build(case)


SUBJECTS = (
    ProgramSubject("fla:gated-delta", FlaGatedDelta),
    ProgramSubject("fla:gated-delta-chunk", FlaGatedDeltaChunk),
    ProgramSubject("fla:gated-delta-product", FlaGatedDeltaProduct),
    ProgramSubject("fla:kda", FlaKDA),
    ProgramSubject("fla:gla", FlaGLA),
    ProgramSubject("fla:deltanet", FlaDeltaNet),
    ProgramSubject("fla:rwkv6", FlaRWKV6),
    ProgramSubject("transformers:gated-delta", QwenGatedDelta),
    ProgramSubject("transformers:gated-delta-chunk", QwenGatedDeltaChunk),
    ProgramSubject("transformers:mamba2", Mamba2Chunk),
    ProgramSubject("transformers:mamba", Mamba1Scan),
    ProgramSubject("mambapy:scan", Mambapy),
    ProgramSubject("mlstm-kernels:steps", MLSTM),
    ProgramSubject("mlstm-kernels:chunk", MLSTMChunk),
    ProgramSubject("xlstm-cells:sLSTM", SLSTM),
)
