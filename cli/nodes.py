"""``gatewise nodes``: the recurrent nodes of a model file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import json_option, or_usage, print_json, quoted

if TYPE_CHECKING:
    from ..verify.models.subject import Name, Summary
    from ..verify.runs.findings import Line


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
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
    every = or_usage(lambda: listed(str(file)))
    if as_json:
        print_json(every)
        return
    click.echo(f"{file.name}: {counted(len(every), 'recurrent node')}")
    for node in every:
        click.echo()
        click.echo(node.name)
        for line in laid_out(_lines(node)):
            click.echo(line)
    if any(not each.problem for each in every):
        click.echo(f"\nhold them with: gatewise verify {quoted(file)}")


def _lines(node: Summary) -> Iterator[Line]:
    """Yield what there is to say of a node."""
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
    """Return the names of subjects, a model file's by those of its nodes, or of the one chosen.

    ``compared``: they are to be compared with something, as model files alone can be.
    """
    from ..verify.models.runtimes import RUNTIMES
    from ..verify.models.subject import Name
    from ..verify.subjects.loader import UnknownSubject

    if runtime not in (None, *RUNTIMES):
        raise UnknownSubject(f"--runtime {runtime}: expected one of {', '.join(RUNTIMES)}")
    every: dict[str, None] = {}
    files = 0
    for name in names:
        said = Name.parse(name)
        if said is None:
            every[name] = None
            continue
        files += 1
        every |= dict.fromkeys(_of_file(said, runtime, node))
    if (runtime or node) and not files:
        raise UnknownSubject("--runtime and --node are for model files: model.onnx")
    if compared and files < len(names):
        raise UnknownSubject("--against and --inputs are for model files alone: model.onnx")
    return list(every)


def _of_file(said: Name, runtime: str | None, node: str | None) -> list[str]:
    """Return the subjects of a file's nodes."""
    from ..verify.execution.remote_node import listed
    from ..verify.subjects.loader import UnknownSubject

    said = replace(said, runtime=runtime or said.runtime, node=node or said.node)
    if said.node:
        return [str(said)]
    every = listed(str(said.path))
    if not every:
        raise UnknownSubject(f"{said.path}: it has no recurrent nodes: no RNN, GRU or LSTM")
    return [str(replace(said, node=each.name)) for each in every]
