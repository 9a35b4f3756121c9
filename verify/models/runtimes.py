"""What runs a node: ONNX Runtime, ONNX's own evaluator, OpenVINO and tract; LiteRT. One thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ...reference.arrays import Floats
from ..runs.words import words
from ..subjects.called import SubjectCrashed
from ..subjects.framework import imported
from ..subjects.frameworks import onnxruntime
from ..subjects.protocol import SubjectUnavailable
from .graph import SUFFIX
from .tflite import single as litert

SHOWN = 300
"""Characters of a runtime's refusal that are shown."""

Run: TypeAlias = Callable[[Mapping[str, Floats]], list[Floats]]
"""Takes arrays by the names of a model's inputs; returns its outputs in their order."""


@dataclass(frozen=True)
class Runtime:
    """A runtime: how it is installed, its version, and how it makes a program of a model.

    ``loaded`` takes the model as bytes, and what each call is given by name. ``suffix`` is what the
    names of its files end in.
    """

    name: str
    install: str
    version: Callable[[], str]
    loaded: Callable[[bytes, Mapping[str, Floats]], Run]
    suffix: str = SUFFIX


def _onnxruntime(model: bytes, given: Mapping[str, Floats]) -> Run:
    session = onnxruntime.session(model)
    return lambda feeds: list(session.run(None, dict(feeds)))


def _onnx_reference(model: bytes, given: Mapping[str, Floats]) -> Run:
    evaluator = imported("onnx.reference", "onnx").ReferenceEvaluator(
        imported("onnx", "onnx").load_model_from_string(model)
    )
    return lambda feeds: [np.asarray(a) for a in evaluator.run(None, dict(feeds))]


def _openvino(model: bytes, given: Mapping[str, Floats]) -> Run:
    openvino = imported("openvino", "openvino")
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    core = openvino.Core()
    read = core.read_model(model, b"")
    # With dynamic axes it ignores lengths; every call's own are made static.
    read.reshape({name: list(array.shape) for name, array in given.items()})
    compiled = core.compile_model(read, "CPU", settings)
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if hint != "f32":
        raise SubjectUnavailable(f"expected precision f32, got {hint}")

    def run(feeds: Mapping[str, Floats]) -> list[Floats]:
        outputs = compiled({name: np.ascontiguousarray(a) for name, a in feeds.items()})
        return [np.array(outputs[k]) for k in range(len(compiled.outputs))]

    return run


def _tract(model: bytes, given: Mapping[str, Floats]) -> Run:
    tract = imported("tract", "tract")
    read = (
        tract.onnx().load_from_bytes(model)
        if hasattr(tract.onnx(), "load_from_bytes")
        else _tract_from_file(tract, model)
    )
    names = [read.input_name(k) for k in range(read.input_count())]
    for k, name in enumerate(names):
        array = given[name]
        read.set_input_fact(k, f"{','.join(map(str, array.shape))},{TRACT[array.dtype.name]}")
    runnable = read.into_model().into_runnable()

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


def _litert(model: bytes, given: Mapping[str, Floats]) -> Run:
    """Return a program of one operator; what it keeps stands after its outputs."""
    interpreter = litert.interpreter(model)
    for tensor in interpreter.get_input_details():
        array = given.get(tensor["name"])
        if array is not None and tuple(tensor["shape"]) != array.shape:
            interpreter.resize_tensor_input(tensor["index"], array.shape)
    interpreter.allocate_tensors()
    numbers = {tensor["name"]: tensor["index"] for tensor in interpreter.get_tensor_details()}
    shown = [tensor["index"] for tensor in interpreter.get_output_details()]
    shown += [k for name, k in numbers.items() if name.startswith(litert.STATE)]

    def run(feeds: Mapping[str, Floats]) -> list[Floats]:
        interpreter.reset_all_variables()
        for name, array in feeds.items():
            interpreter.set_tensor(numbers[name], np.ascontiguousarray(array))
        interpreter.invoke()
        return [np.array(interpreter.get_tensor(k)) for k in shown]

    return run


TRACT = {"float32": "f32", "float64": "f64", "float16": "f16", "int32": "i32", "int64": "i64"}


def _version(module: str, install: str, more: str = "") -> Callable[[], str]:
    def version() -> str:
        package = imported(module, install)
        number = getattr(package, "__version__", None) or package.version()
        return f"{module} {number}{more}"

    return version


RUNTIMES = {
    each.name: each
    for each in (
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
"""By name; the first of a kind of files is taken where none is named."""


def default(suffix: str) -> str:
    """Return the runtime of files whose names end so where none is named; "" if there is none."""
    return next((r.name for r in RUNTIMES.values() if r.suffix == suffix), "")


class PerShape:
    """A program for the shapes of each call, the last few kept: some runtimes want them static."""

    KEPT = 4

    def __init__(self, runtime: Runtime, model: bytes) -> None:
        self.runtime, self.model = runtime, model
        self._made: dict[tuple[Any, ...], Run] = {}

    def __call__(self, feeds: Mapping[str, Floats]) -> Sequence[Floats]:
        """Return the model's outputs."""
        shaped = self.runtime.name in ("openvino", "tract", "litert")
        key = tuple((n, a.shape) for n, a in feeds.items()) if shaped else ()
        if key not in self._made:
            if len(self._made) >= self.KEPT:
                self._made.pop(next(iter(self._made)))
            self._made[key] = self._loaded(feeds)
        return self._made[key](feeds)

    def _loaded(self, feeds: Mapping[str, Floats]) -> Run:
        try:
            return self.runtime.loaded(self.model, feeds)
        except SubjectUnavailable:
            raise
        except Exception as error:
            others = [r.name for r in RUNTIMES.values()
                      if r.suffix == self.runtime.suffix and r is not self.runtime]  # fmt: skip
            hint = f"; another may: --runtime {' or '.join(others)}" if others else ""
            said = words(error)[:SHOWN]
            raise SubjectCrashed(f"{self.runtime.name} does not take it{hint}: {said}") from error
