"""Recurrent layers of PyTorch packages, each a row of a table, called like torch.nn's.

A row names the class, the class of torch.nn that it replaces, and the differences of its equations.
When it is loaded, ``own_names`` determines the meaning of its parameters, and its options are
tried; a class that computes another cell than its row states is refused. The ``adaptation`` of a
class that is not called like torch's returns a subclass that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from typing import Any

from ...cases.options import Options
from ...conventions import Convention
from ..framework import imported
from ..protocol import OneCell, SubjectUnavailable
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
class PackageLayer(OneCell):
    """A class of a package: ``attribute`` of ``module``, in the place of ``like``.

    ``distribution`` is the package's name for pip; if "", the prefix of ``name``. ``differences``
    are the fields in which its ``Convention`` differs from that of torch's class. ``arguments``
    returns arguments of its constructor beside the sizes. ``absent`` names options that it accepts
    and does not implement, with the reason.
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
        """The options that it may offer, before they are tried."""
        return self._without(Options())

    @property
    def claim(self) -> Convention:
        """The convention of its equations: torch's with the differences."""
        return replace(REFERENCE[self.like.rpartition(".")[2]], **self.differences)

    @property
    def cells(self) -> tuple[str, ...]:
        """The reference's cell that it computes."""
        return (str(self.claim.cell),)

    @property
    def package(self) -> str:
        """The name of its package for pip."""
        return self.distribution or self.name.partition(":")[0]

    @property
    def layer(self) -> Any:
        """The class, called like torch's; SubjectUnavailable if its package is not installed."""
        module = imported(self.module, f"{self.package} torch")
        layer = self.adaptation(getattr(module, self.attribute))
        arguments = self.arguments(module)
        return partial(layer, **arguments) if arguments else layer

    def version(self) -> str:
        """Return the distribution and its version."""
        return f"{self.package} {version(self.package)}"

    def loaded(self) -> TorchLike:
        """Return the subject of the installed package's class."""
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
    """Return the class of a row, called like torch's, for stand-alone scripts."""
    return next(row.layer for row in SUBJECTS if row.name == name)


def _packed(layer: Any) -> Any:
    """Adapt AllenNLP's layers, which take packed sequences, sorted by length, alone."""
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
    """Adapt a cell with an attention score for each row: with a score of 1 it is a GRU."""

    class One(layer):  # type: ignore[misc]
        def forward(self, x: Any, h: Any) -> Any:
            return super().forward(x, h, x.new_ones(len(x)))

    return One


def _in_its_dtype(layer: Any) -> Any:
    """Adapt a layer that creates arrays in the default dtype: set that to its input's."""
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
    """Adapt a layer that takes h and c as two arguments."""

    class Two(layer):  # type: ignore[misc]
        def forward(self, x: Any, hx: Any = None) -> Any:
            return super().forward(x, *(hx or ()))

    return Two


def _without_axis(layer: Any) -> Any:
    """Adapt a layer whose states have no axis of layers."""

    class WithAxis(layer):  # type: ignore[misc]
        def forward(self, x: Any, h: Any = None) -> Any:
            y, final = super().forward(x, None if h is None else h[0])
            return y, final[None]

    return WithAxis


def _both_biases(layer: Any) -> Any:
    """Adapt a cell whose argument ``bias`` switches one of its two biases."""

    class Both(layer):  # type: ignore[misc]
        def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
            super().__init__(input_size, hidden_size, bias=bias, recurrent_bias=bias)

    return Both


def _named_results(layer: Any) -> Any:
    """Adapt a cell that returns a dictionary."""

    class Named(layer):  # type: ignore[misc]
        def forward(self, x: Any, h: Any, c: Any) -> Any:
            results = super().forward(x, h, c)
            return results["h_n"], results["c_n"]

    return Named


def _attributes(*names: str) -> Callable[[Any], Any]:
    """Return an adaptation of layers that take one step and keep their states as attributes."""

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
    """Return arguments that switch off all quantisation of Brevitas."""
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
