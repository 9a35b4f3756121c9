"""Layers of packages that have their own code for them, each a row: held as a class of torch's is.

A row says where the class is, which class of torch.nn it stands for, and, where it does not compute
that one's function, what it does compute. What its parameters mean is found out when it is loaded,
by ``own_names``, and what it offers by trying; a class that computes another cell than its row says
is refused. A class that is not called like torch's has an ``adaptation``: a function that returns a
subclass that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from typing import Any

from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ..framework import imported
from ..protocol import SubjectUnavailable
from ..torch_like import REFERENCE, TorchLike, torch_like

FAMILIES = {
    "allennlp-light": ("allennlp_light", "torch"),
    "brevitas": ("brevitas", "torch"),
    "deepctr-torch": ("deepctr_torch", "torch"),
    "gru-qat": ("gru_qat", "torch"),
    "neuralhydrology": ("neuralhydrology", "torch"),
    "opacus": ("opacus", "torch"),
    "pytorch-forecasting": ("pytorch_forecasting", "torch"),
    "torchrecurrent": ("torchrecurrent", "torch"),
    "torchrl": ("torchrl", "torch"),
    "tracetorch": ("tracetorch", "torch"),
}
INSTALL = {family: f"{family} torch" for family in FAMILIES}


@dataclass(frozen=True)
class PackageLayer:
    """A class of a package: ``module`` and ``attribute``, in the place of ``like``.

    ``distribution`` is the name by which the package's version is found; the word before the
    subject's colon, if "". ``differences`` are fields of a ``Convention``: what it computes, where
    that is not what torch's class does. ``arguments`` are given to its constructor beside the
    sizes. ``absent`` are options that it takes and does not have, and what happens then.
    """

    name: str
    module: str
    attribute: str
    like: str
    distribution: str = ""
    differences: Mapping[str, Any] = field(default_factory=dict)
    arguments: Callable[[Any], Mapping[str, Any]] = lambda module: {}
    adaptation: Callable[[Any], Any] = lambda layer: layer
    absent: Mapping[str, str] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("float64", "float32")

    @property
    def options(self) -> Options:
        """What may be offered; what is, is found out."""
        return self._without(Options())

    @property
    def claim(self) -> Convention:
        """What it computes: torch's convention with the differences, whatever its arrays are."""
        return replace(REFERENCE[self.like.rpartition(".")[2]], **self.differences)

    @property
    def cells(self) -> tuple[str, ...]:
        """The reference's cell that it computes."""
        return (str(self.claim.cell),)

    def cell(self, case: Case) -> str:
        """Return the same, whatever the case."""
        return self.cells[0]

    @property
    def package(self) -> str:
        """The name by which pip knows its package."""
        return self.distribution or self.name.partition(":")[0]

    @property
    def layer(self) -> Any:
        """The class, called like torch's; SubjectUnavailable if its package is not there."""
        module = imported(self.module, f"{self.package} torch")
        layer = self.adaptation(getattr(module, self.attribute))
        given = self.arguments(module)
        return partial(layer, **given) if given else layer

    def version(self) -> str:
        """Return the distribution and its version."""
        return f"{self.package} {version(self.package)}"

    def loaded(self) -> TorchLike:
        """Return the subject, as the class in the package is now."""
        lines = (
            f"from gatewise.verify.subjects.frameworks.packages import layer_named\n\n"
            f"Layer = layer_named({self.name!r})\n"
        )
        subject = torch_like(self.layer, self.name, self.like, lines)
        if subject.cells[0] not in self.cells:
            raise SubjectUnavailable(
                f"{self.name}: expected the cell {self.cells[0]}, it computes {subject.cells[0]}"
            )
        return replace(subject, package=self.version(), options=self._without(subject.options))

    def _without(self, options: Options) -> Options:
        """Return the options without those that are absent."""
        reasons = tuple((dict(options.reasons) | dict(self.absent)).items())
        absent: dict[str, Any] = dict.fromkeys(self.absent, False)
        return replace(options, **absent, reasons=reasons)


def layer_named(name: str) -> Any:
    """Return the class of a row, called like torch's, for scripts that call it without gatewise."""
    return next(row.layer for row in SUBJECTS if row.name == name)


def _packed(layer: Any) -> Any:
    """AllenNLP's layers take packed sequences alone, sorted by length, and one state a layer."""
    import torch

    rnn = torch.nn.utils.rnn

    class Packed(layer):  # type: ignore[misc]
        def forward(self, x: Any, hx: Any = None) -> Any:
            if isinstance(x, rnn.PackedSequence):
                order, back = x.sorted_indices, x.unsorted_indices
                x = rnn.PackedSequence(x.data, x.batch_sizes)
            else:
                order = back = None
                x = rnn.pack_padded_sequence(x, torch.full((x.shape[1],), x.shape[0]))
            if hx is not None and order is not None:
                hx = tuple(s[:, order] for s in hx)
            y, final = super().forward(x, hx)
            if order is None:
                return rnn.pad_packed_sequence(y)[0], final
            final = tuple(s[:, back] for s in final)
            return rnn.PackedSequence(y.data, y.batch_sizes, order, back), final

    return Packed


def _attention_of_one(layer: Any) -> Any:
    """A cell with an attention score for each row: with a score of 1 it is a GRU."""

    class One(layer):  # type: ignore[misc]
        def forward(self, x: Any, h: Any) -> Any:
            return super().forward(x, h, x.new_ones(len(x)))

    return One


def _in_its_dtype(layer: Any) -> Any:
    """A layer that makes arrays in the default dtype: while it runs, that is its input's."""
    import torch

    class InItsDtype(layer):  # type: ignore[misc]
        def forward(self, x: Any, hx: Any = None) -> Any:
            before = torch.get_default_dtype()
            torch.set_default_dtype(getattr(x, "data", x).dtype)
            try:
                return super().forward(x, hx)
            finally:
                torch.set_default_dtype(before)

    return InItsDtype


def _two_states(layer: Any) -> Any:
    """A layer that takes h and c as two arguments."""

    class Two(layer):  # type: ignore[misc]
        def forward(self, x: Any, hx: Any = None) -> Any:
            return super().forward(x, *(hx or ()))

    return Two


def _without_axis(layer: Any) -> Any:
    """A layer whose states have no axis of layers."""

    class WithAxis(layer):  # type: ignore[misc]
        def forward(self, x: Any, h: Any = None) -> Any:
            y, final = super().forward(x, None if h is None else h[0])
            return y, final[None]

    return WithAxis


def _both_biases(layer: Any) -> Any:
    """A cell whose argument ``bias`` is about one of its two biases."""

    class Both(layer):  # type: ignore[misc]
        def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
            super().__init__(input_size, hidden_size, bias=bias, recurrent_bias=bias)

    return Both


def _named_results(layer: Any) -> Any:
    """A cell that returns a dictionary."""

    class Named(layer):  # type: ignore[misc]
        def forward(self, x: Any, h: Any, c: Any) -> Any:
            results = super().forward(x, h, c)
            return results["h_n"], results["c_n"]

    return Named


def _attributes(*names: str) -> Callable[[Any], Any]:
    """Return the adaptation of a layer that is called with one step, and keeps its own states."""

    def adaptation(layer: Any) -> Any:
        class Stateless(layer):  # type: ignore[misc]
            def forward(self, x: Any, hx: Any = None) -> Any:
                self.zero_states()
                states = hx if isinstance(hx, tuple) else () if hx is None else (hx,)
                for name, state in zip(names, states, strict=bool(states)):
                    setattr(self, name, state)
                super().forward(x)
                return tuple(getattr(self, name) for name in names)

        return Stateless

    return adaptation


def _float(module: Any) -> Mapping[str, Any]:
    """Return the arguments by which Brevitas quantises nothing."""
    kinds = ("weight", "bias", "io", "gate_acc", "sigmoid", "tanh", "cell_state")
    return {f"{kind}_quant": None for kind in kinds}


def _float_rnn(module: Any) -> Mapping[str, Any]:
    return {f"{kind}_quant": None for kind in ("weight", "bias", "io", "gate_acc")}


LAYER = {kind: f"torch.nn.{kind}" for kind in ("LSTM", "GRU", "RNN")}
CELL = {kind: f"torch.nn.{kind}Cell" for kind in ("LSTM", "GRU", "RNN")}
TAKES = {"update": "take"}
BEFORE_TAKES = {"reset": "before", "update": "take", "bias": ("rzn",)}

SUBJECTS = (
    PackageLayer(
        "allennlp-light:AugmentedLstm", "allennlp_light.modules.augmented_lstm", "AugmentedLstm",
        LAYER["LSTM"], arguments=lambda module: {"use_highway": False}, adaptation=_packed,
    ),
    PackageLayer(
        "brevitas:QuantLSTM", "brevitas.nn", "QuantLSTM", LAYER["LSTM"],
        arguments=_float, adaptation=_two_states,
    ),
    PackageLayer(
        "brevitas:QuantRNN", "brevitas.nn", "QuantRNN", LAYER["RNN"], arguments=_float_rnn
    ),
    PackageLayer(
        "deepctr-torch:AUGRUCell", "deepctr_torch.layers.sequence", "AUGRUCell", CELL["GRU"],
        differences=TAKES, adaptation=_attention_of_one,
    ),
    PackageLayer(
        "gru-qat:GRULayer", "gru_qat.gru_layer", "GRULayer", LAYER["GRU"],
        arguments=lambda module: {
            "recipe": imported("gru_qat.quantizers", "gru-qat").PRESETS["fp32"]
        },
        adaptation=_without_axis,
    ),
    PackageLayer(
        "neuralhydrology:LSTMCell", "neuralhydrology.modelzoo.customlstm", "_LSTMCell",
        CELL["LSTM"], adaptation=_named_results,
    ),
    *(
        PackageLayer(
            f"opacus:DP{kind}", "opacus.layers", f"DP{kind}", like, adaptation=_in_its_dtype
        )
        for kind, like in LAYER.items()
    ),
    *(
        PackageLayer(f"opacus:DP{kind}Cell", "opacus.layers.dp_rnn", f"DP{kind}Cell", like)
        for kind, like in CELL.items()
    ),
    *(
        PackageLayer(
            f"pytorch-forecasting:{kind}", "pytorch_forecasting.models.nn.rnn", kind, LAYER[kind],
            absent={"zero_length": "such rows run for a step and end in the states of other rows"},
        )
        for kind in ("LSTM", "GRU")
    ),
    PackageLayer(
        "torchrecurrent:PeepholeLSTMCell", "torchrecurrent", "PeepholeLSTMCell", CELL["LSTM"],
        differences={"peepholes": "ifo"}, adaptation=_both_biases,
    ),
    PackageLayer(
        "torchrl:LSTM", "torchrl.modules", "LSTM", LAYER["LSTM"],
        absent={"projection": "its constructor takes proj_size, and every call raises"},
    ),
    PackageLayer("torchrl:GRU", "torchrl.modules", "GRU", LAYER["GRU"]),
    *(
        PackageLayer(f"torchrl:{kind}Cell", "torchrl.modules", f"{kind}Cell", CELL[kind])
        for kind in ("LSTM", "GRU")
    ),
    PackageLayer(
        "tracetorch:LSTM", "tracetorch.rnn", "LSTM", CELL["LSTM"], adaptation=_attributes("H", "C")
    ),
    PackageLayer(
        "tracetorch:GRU", "tracetorch.rnn", "GRU", CELL["GRU"],
        differences=BEFORE_TAKES, adaptation=_attributes("H"),
    ),
    PackageLayer(
        "tracetorch:RNN", "tracetorch.rnn", "SimpleRNN", CELL["RNN"], adaptation=_attributes("H")
    ),
)  # fmt: skip
