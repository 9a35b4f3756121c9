"""``gatewise nodes``: the recurrent nodes of a model file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import FILE, json_option, or_usage, print_json, quoted

if TYPE_CHECKING:
    from ..verify.models.subject import Name, Summary
    from ..verify.runs.findings import Line


@click.command()
@click.argument("file", type=FILE)
@json_option
def nodes(file: Path, as_json: bool) -> None:
    """List the recurrent nodes of a model's FILE.

    FILE is a model of ONNX or TensorFlow Lite. Nodes inside of If, Loop, Scan and functions are
    listed, too, and steps that an exporter has unrolled.
    """
    from ..verify.execution.remote_node import listed
    from ..verify.runs.findings import counted, laid_out

    if file.suffix not in (".onnx", ".tflite"):
        expected = "expected a model of ONNX or TensorFlow Lite, model.onnx or model.tflite"
        raise click.UsageError(f"{file}: {expected}")
    summaries = or_usage(lambda: listed(str(file)))
    if as_json:
        print_json(summaries)
        return
    click.echo(f"{file.name}: {counted(len(summaries), 'recurrent node')}")
    for node in summaries:
        click.echo()
        click.echo(node.name)
        for line in laid_out(_lines(node)):
            click.echo(line)
    if any(not summary.problem for summary in summaries):
        click.echo(f"\nhold them with: gatewise verify {quoted(file)}")


def _lines(node: Summary) -> Iterator[Line]:
    """Yield the lines on a node."""
    from ..verify.runs.findings import Line

    unrolled = ", unrolled by the exporter" if node.unrolled else ""
    opset = f", opset {node.opset}" if node.opset else ""
    yield Line("operator", f"{node.operator or node.kind}{unrolled}{opset}")
    if node.path:
        yield Line("inside", node.path.rstrip("/"))
    if node.problem:
        yield Line("not held", node.problem)
        return
    yield Line("sizes", f"D = {node.D}, H = {node.H}, {node.dtype}")
    convention = f"gates {', '.join(node.gates)}" if len(node.gates) > 1 else "one gate"
    yield Line("convention", ", ".join(filter(None, (convention, node.convention))))
    yield Line("weights", ", ".join(f"{slot} {name}" for slot, name in node.stored.items()))
    yield Line("initial state", node.state or "zeros, left out")
    if node.lengths:
        yield Line("lengths", node.lengths)
    if node.steps:
        yield Line("steps", f"{node.steps}, fixed in the file")


def with_nodes(
    names: Sequence[str], runtime: str | None, node: str | None, *, compared: bool
) -> list[str]:
    """Return the names of subjects; a model file becomes its nodes, or the one chosen.

    ``compared``: the subjects are compared with a source, which only model files can be.
    """
    from ..verify.models.runtimes import RUNTIMES
    from ..verify.models.subject import Name
    from ..verify.subjects.loader import UnknownSubject

    if runtime not in (None, *RUNTIMES):
        raise UnknownSubject(f"--runtime {runtime}: expected one of {', '.join(RUNTIMES)}")
    subjects: dict[str, None] = {}
    files = 0
    for name in names:
        model = Name.parse(name)
        if model is None:
            subjects[name] = None
            continue
        files += 1
        subjects |= dict.fromkeys(_subjects_of_file(model, runtime, node))
    if (runtime or node) and not files:
        raise UnknownSubject("--runtime and --node are for model files: model.onnx")
    if compared and files < len(names):
        raise UnknownSubject("--against and --inputs are for model files alone: model.onnx")
    return list(subjects)


def _subjects_of_file(model: Name, runtime: str | None, node: str | None) -> list[str]:
    """Return the subjects of a model file's nodes."""
    from ..verify.execution.remote_node import listed
    from ..verify.subjects.loader import UnknownSubject

    model = replace(model, runtime=runtime or model.runtime, node=node or model.node)
    if model.node:
        return [str(model)]
    summaries = listed(str(model.path))
    if not summaries:
        raise UnknownSubject(f"{model.path}: it has no recurrent nodes: no RNN, GRU or LSTM")
    return [str(replace(model, node=summary.name)) for summary in summaries]
