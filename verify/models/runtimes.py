"""Runtimes of nodes: ONNX Runtime, ONNX's evaluator, OpenVINO, tract; LiteRT. One thread each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ...reference.arrays import Floats
from ..runs.exception_text import exception_text
from ..subjects.called import SubjectCrashed
from ..subjects.framework import imported
from ..subjects.frameworks import onnxruntime, openvino
from ..subjects.protocol import SubjectUnavailable
from .graph import SUFFIX
from .tflite import single as litert

SHOWN = 300
"""Characters of a runtime's refusal that are shown."""

Run: TypeAlias = Callable[[Mapping[str, Floats]], list[Floats]]
"""A function of a model's inputs by name; returns its outputs in their order."""


@dataclass(frozen=True)
class Runtime:
    """A runtime: its package to install, its version, and its loader.

    ``loaded`` is called with the bytes of a model and examples of its inputs by name. ``suffix`` is
    that of its files.
    """

    name: str
    install: str
    version: Callable[[], str]
    loaded: Callable[[bytes, Mapping[str, Floats]], Run]
    suffix: str = SUFFIX


def _onnxruntime(model: bytes, inputs: Mapping[str, Floats]) -> Run:
    session = onnxruntime.session(model)
    return lambda feeds: list(session.run(None, dict(feeds)))


def _onnx_reference(model: bytes, inputs: Mapping[str, Floats]) -> Run:
    evaluator = imported("onnx.reference", "onnx").ReferenceEvaluator(
        imported("onnx", "onnx").load_model_from_string(model)
    )
    return lambda feeds: [np.asarray(a) for a in evaluator.run(None, dict(feeds))]


def _openvino(model: bytes, inputs: Mapping[str, Floats]) -> Run:
    core = openvino.import_openvino().Core()
    network = core.read_model(model, b"")
    # With dynamic axes it ignores lengths, so each call's shapes are made static.
    network.reshape({name: list(array.shape) for name, array in inputs.items()})
    compiled = core.compile_model(network, "CPU", openvino.SETTINGS)
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if hint != openvino.PRECISION:
        raise SubjectUnavailable(f"expected precision {openvino.PRECISION}, got {hint}")

    def run(feeds: Mapping[str, Floats]) -> list[Floats]:
        outputs = compiled({name: np.ascontiguousarray(a) for name, a in feeds.items()})
        return [np.array(outputs[k]) for k in range(len(compiled.outputs))]

    return run


def _tract(model: bytes, inputs: Mapping[str, Floats]) -> Run:
    tract = imported("tract", "tract")
    network = (
        tract.onnx().load_from_bytes(model)
        if hasattr(tract.onnx(), "load_from_bytes")
        else _tract_from_file(tract, model)
    )
    names = [network.input_name(k) for k in range(network.input_count())]
    for k, name in enumerate(names):
        array = inputs[name]
        network.set_input_fact(k, f"{','.join(map(str, array.shape))},{TRACT[array.dtype.name]}")
    runnable = network.into_model().into_runnable()

    def run(feeds: Mapping[str, Floats]) -> list[Floats]:
        outputs = runnable.run([np.ascontiguousarray(feeds[name]) for name in names])
        return [np.array(output.to_numpy()) for output in outputs]

    return run


def _tract_from_file(tract: Any, model: bytes) -> Any:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model)
        file.flush()
        return tract.onnx().load(file.name)


def _litert(model: bytes, inputs: Mapping[str, Floats]) -> Run:
    """Return a program of one operator; its state variables follow its outputs."""
    interpreter = litert.interpreter(model)
    for tensor in interpreter.get_input_details():
        array = inputs.get(tensor["name"])
        if array is not None and tuple(tensor["shape"]) != array.shape:
            interpreter.resize_tensor_input(tensor["index"], array.shape)
    interpreter.allocate_tensors()
    numbers = {tensor["name"]: tensor["index"] for tensor in interpreter.get_tensor_details()}
    outputs_and_states = [tensor["index"] for tensor in interpreter.get_output_details()]
    outputs_and_states += [k for name, k in numbers.items() if name.startswith(litert.STATE)]

    def run(feeds: Mapping[str, Floats]) -> list[Floats]:
        interpreter.reset_all_variables()
        for name, array in feeds.items():
            interpreter.set_tensor(numbers[name], np.ascontiguousarray(array))
        interpreter.invoke()
        return [np.array(interpreter.get_tensor(k)) for k in outputs_and_states]

    return run


TRACT = {"float32": "f32", "float64": "f64", "float16": "f16", "int32": "i32", "int64": "i64"}


def _version(module: str, install: str, more: str = "") -> Callable[[], str]:
    def version() -> str:
        package = imported(module, install)
        number = getattr(package, "__version__", None) or package.version()
        return f"{module} {number}{more}"

    return version


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime("onnxruntime", "onnxruntime",
                _version("onnxruntime", "onnxruntime", f", {onnxruntime.PROVIDER}"), _onnxruntime),
        Runtime("onnx-reference", "onnx", _version("onnx", "onnx", "'s evaluator"),
                _onnx_reference),
        Runtime("openvino", "openvino", _version("openvino", "openvino", ", precision f32"),
                _openvino),
        Runtime("tract", "tract", _version("tract", "tract"), _tract),
        Runtime("litert", litert.INSTALL, _version("ai_edge_litert", litert.INSTALL), _litert,
                ".tflite"),
    )
}  # fmt: skip
"""Runtimes by name; the first for a suffix is the default."""


def default(suffix: str) -> str:
    """Return the name of the default runtime for a suffix; "" if there is none."""
    return next((r.name for r in RUNTIMES.values() if r.suffix == suffix), "")


class PerShape:
    """A program for each shape of calls, because some runtimes need static shapes."""

    CACHED = 4

    def __init__(self, runtime: Runtime, model: bytes) -> None:
        self.runtime, self.model = runtime, model
        self._programs: dict[tuple[Any, ...], Run] = {}

    def __call__(self, feeds: Mapping[str, Floats]) -> Sequence[Floats]:
        """Return the model's outputs."""
        shaped = self.runtime.name in ("openvino", "tract", "litert")
        key = tuple((n, a.shape) for n, a in feeds.items()) if shaped else ()
        if key not in self._programs:
            if len(self._programs) >= self.CACHED:
                self._programs.pop(next(iter(self._programs)))
            self._programs[key] = self._loaded(feeds)
        return self._programs[key](feeds)

    def _loaded(self, feeds: Mapping[str, Floats]) -> Run:
        try:
            return self.runtime.loaded(self.model, feeds)
        except SubjectUnavailable:
            raise
        except Exception as error:
            others = [r.name for r in RUNTIMES.values()
                      if r.suffix == self.runtime.suffix and r is not self.runtime]  # fmt: skip
            hint = f"; another may: --runtime {' or '.join(others)}" if others else ""
            reason = exception_text(error)[:SHOWN]
            raise SubjectCrashed(f"{self.runtime.name} does not take it{hint}: {reason}") from error
