"""``gatewise explain``: which convention and which mistake explain arrays alone?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import CONFORMS, DIFFERS, DTYPES, Seconds, json_option, or_usage, print_json

if TYPE_CHECKING:
    from ..reference.arrays import Floats
    from ..verify.diagnosis.arrays import Mistakes
    from ..verify.identification.explanation import Explanation, Fit
    from ..verify.runs.findings import Line


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--cell", type=click.Choice(["rnn", "lstm", "gru"]), required=True,
              help="The cell that the system computes.")  # fmt: skip
@click.option("--dtype", type=click.Choice(DTYPES),
              help="The dtype that it computes in; by default, as its numbers show.")  # fmt: skip
@click.option("--role", "roles", multiple=True, metavar="ROLE=NAME",
              help="Which array is x, y, 'initial h', 'initial c', 'final h', 'final c', lengths "
              "or 'gradient of NAME', where its name does not say so.")  # fmt: skip
@click.option("--seconds", type=Seconds(zero=True), default=60.0, show_default=True,
              help="The time to look for a mistake where no convention fits.")  # fmt: skip
@json_option
def explain(
    file: Path, cell: str, dtype: str | None, roles: Sequence[str], seconds: float, as_json: bool
) -> None:
    """Find the convention or the mistake that explains arrays.

    FILE is an npz, safetensors or JSON file. It holds the weights of one layer, an input, and what
    some system returned for it: outputs, or final states, or both; gradients, if there are any. No
    program is needed. Exit code 0 if a convention explains the numbers, 1 if none does, or only
    one with an activation that no framework has.
    """
    from ..verify.diagnosis import arrays as search
    from ..verify.identification import explanation
    from ..verify.identification.example import examples

    arrays = or_usage(lambda: read_arrays(file))
    arrays_by_role = dict(_role(role) for role in roles)
    result = or_usage(
        lambda: explanation.explain(cell, examples(arrays, arrays_by_role, cell, dtype))
    )
    mistakes = search.unusual(result) if result.fits else search.mistakes(result, seconds)
    if as_json:
        print_json(_json(result, mistakes))
    else:
        for line in _text(file, result, mistakes):
            click.echo(line)
    sys.exit(CONFORMS if mistakes is None else DIFFERS)


def read_arrays(file: Path) -> dict[str, Floats]:
    """Return the arrays of a file by name; raise ValueError if it has none, or other objects."""
    from ..verify.runs.npz import read_npz

    try:
        if not file.is_file():
            raise ValueError("there is no such file")
        if file.suffix == ".npz":
            arrays = read_npz(file)
        elif file.suffix == ".safetensors":
            from safetensors.numpy import load_file

            arrays = load_file(file)
        elif file.suffix == ".json":
            document = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(document, dict):
                raise ValueError("expected an object of arrays by name")
            arrays = {name: _parse(name, value) for name, value in document.items()}
        else:
            raise ValueError("expected .npz, .safetensors or .json")
    except ImportError as error:
        raise ValueError(f"{file}: pip install safetensors to read it") from error
    except Exception as error:  # a file of somebody else's may be anything
        raise ValueError(f"{file}: cannot be read: {str(error) or type(error).__name__}") from error
    if not arrays:
        raise ValueError(f"{file}: no arrays")
    return {name: _numbers(file, name, array) for name, array in arrays.items()}


def _parse(name: str, value: object) -> Floats:
    """Return an array of a JSON file; raise ValueError, which names it, if it is not numeric."""
    import numpy as np

    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: expected numbers, in lists of equal length") from error


def _numbers(file: Path, name: str, array: Floats) -> Floats:
    """Return an array of finite real numbers; raise ValueError for any other."""
    import numpy as np

    integral = array.dtype.kind in "iu"
    if not (integral or array.dtype.kind == "f" or array.dtype.name == "bfloat16"):
        raise ValueError(f"{file}: {name}: expected real numbers, got {array.dtype}")
    if array.size == 0:
        raise ValueError(f"{file}: {name}: it is empty, {list(array.shape)}")
    odd = ~np.isfinite(array.astype(float))
    if odd.any():
        where = [int(k) for k in np.argwhere(odd)[0]]
        raise ValueError(
            f"{file}: {name}{where} is {array[odd][0]}; numbers that are not finite say nothing "
            "of a convention"
        )
    return array.astype(float) if integral else array


def _role(text: str) -> tuple[str, str]:
    role, equals, name = text.partition("=")
    if not equals:
        raise click.UsageError(f"--role {text}: expected ROLE=NAME, as in x=features")
    return role.strip(), name.strip()


def _text(file: Path, result: Explanation, mistakes: Mistakes | None) -> Iterator[str]:
    """Yield the lines of the answer, then its numbers."""
    from ..verify.conventions import formula
    from ..verify.runs.findings import laid_out

    fit = result.nearest
    summary = formula.summary(fit.convention)
    if mistakes is None:
        yield f"{file.name}: explained: {summary}"
    elif result.fits:
        others = "no framework's convention gives these numbers; this one does"
        yield f"{file.name}: {others}: {summary}"
    elif mistakes.fits:
        yield f"{file.name}: no convention gives these numbers; one with a mistake does"
    else:
        yield f"{file.name}: not explained"
    yield from laid_out(_lines(result, mistakes))


def _lines(result: Explanation, mistakes: Mistakes | None) -> Iterator[Line]:
    from ..verify.conventions import formula
    from ..verify.diagnosis.arrays import shown
    from ..verify.runs.findings import Line

    fit = result.nearest
    if mistakes is None:
        yield Line(
            "is it right?", f"yes: rounding of {fit.example.dtype} explains every difference"
        )
    else:
        yield from _mistake_lines(result, mistakes)
        fit = shown(result, mistakes)
        name = "convention" if mistakes.fits else "nearest"
        yield Line(name, formula.summary(fit.convention))
    if own := [f"{n} is {mine}" for n, mine in fit.candidate.names.items() if n != mine]:
        yield Line("arrays", ", ".join(own))
    yield Line("worst number", _worst(fit))
    sizes, example = fit.example.sizes, fit.example
    yield Line("input", f"{example.axes}: T = {example.steps}, B = {example.rows}, D = {sizes.D}, "
               f"H = {sizes.H}")  # fmt: skip
    if example.printed is not None:
        yield Line("printed", f"with {example.printed} places: each number may be off by "
                   f"{example.unit:.0e}")  # fmt: skip
    if example.padded:
        after = {"zeros": "0", "others": "not 0, and not judged"}[example.padded]
        yield Line("after the end", f"outputs after the end of a row are {after}")
    for sentence in example.assumed:
        yield Line("assumed", sentence)
    if example.gradients:
        yield Line("gradients", _gradient_text(fit))
    for number, line in enumerate(formula.plain(fit.convention) if mistakes is None else ()):
        yield Line("" if number else "equations", line)
    if sentence := _open(result, mistakes):
        yield Line("open", sentence)


def _mistake_lines(result: Explanation, mistakes: Mistakes) -> Iterator[Line]:
    """Yield the lines of a diagnosis as ``gatewise verify`` does, and how certain it is."""
    from ..verify.diagnosis.arrays import diagnosis
    from ..verify.runs.findings import Line, diagnosis_lines

    cause = diagnosis(result, mistakes)
    yield from (line for line in diagnosis_lines(cause) if line.label != "how sure")
    if mistakes.coarser and not mistakes.fits:
        yield Line("rounding", f"that of {mistakes.coarser} would explain the numbers")
    if not mistakes.fits:
        nearest = result.nearest
        yield Line("off", f"{nearest.off} of the {nearest.entries} numbers that were judged")
    if result.fits:
        yield Line("if it is meant", "then rounding explains every difference, and all is right")
    tried = f"tried {result.tried} conventions"
    if mistakes.search.tried:
        tried += f", and {mistakes.search.tried} mistakes under {mistakes.conventions} of them"
    if mistakes.fits:
        tried = (
            f"a layer with this mistake returns the same numbers in this one example, within "
            f"{cause.residual:.1g} of what rounding explains; {tried}"
        )
    yield Line("how sure", tried if mistakes.search.complete else f"{tried}; stopped for time, "
               "--seconds gives more")  # fmt: skip


def _worst(fit: Fit) -> str:
    """Return a sentence on the number with the largest error, and whether rounding explains it."""
    from ..verify.diagnosis.arrays import where

    worst = fit.worst
    place = where(fit, replace(worst, first=worst.where))
    share = f"{worst.ratio:.2g} of" if worst.ratio <= 1 else f"{worst.ratio:.2g} times"
    if worst.bound == 0:
        share = "not"
    return (
        f"{worst.quantity.removesuffix('_l0')}{' at ' * bool(place)}{place} is {worst.got:.9g}, "
        f"the equations give {worst.expected:.9g}: the difference of {fit.residual:.2g} is {share} "
        f"the {worst.bound:.2g} that rounding of {fit.example.dtype} explains there"
    )


def _gradient_text(fit: Fit) -> str:
    """Return whether gradients were judged, and under which loss."""
    if fit.unjudged:
        return f"not judged: {fit.unjudged}"
    names = ", ".join(fit.example.gradients)
    if fit.loss:
        return f"of {names}; taken to be those of {fit.loss}: no dy is in the file"
    return f"of {names}; judged, too"


def _open(result: Explanation, mistakes: Mistakes | None) -> str:
    """Return a sentence on the candidates that the example cannot tell apart, "" if one is left."""
    if mistakes is None:
        fields, count = result.undetermined, f"{len(result.fits)} conventions"
    else:
        fields, several = mistakes.undetermined, len(mistakes.by_name)
        count = f"{several} mistakes" if several > 1 else f"{len(mistakes.fits)} conventions"
        if several > 1 and not fields:
            return f"this one example cannot tell apart {count}; more rows and steps would"
    if not fields:
        return ""
    names = ", ".join(name.replace("_", " ") for name in fields)
    return (
        f"this example cannot tell apart {count} that differ in {names}; more steps, a state or "
        "biases that are not 0 would"
    )


def _json(result: Explanation, mistakes: Mistakes | None) -> dict[str, Any]:
    from ..verify.diagnosis.arrays import diagnosis, shown

    fit = result.nearest
    return {
        "explained": mistakes is None,
        "conventions": [asdict(match.convention) for match in result.fits or (fit,)],
        "arrays": (fit if mistakes is None else shown(result, mistakes)).candidate.names,
        "residual": fit.residual,
        "bound": fit.bound,
        "ratio": fit.ratio,
        "worst": asdict(fit.worst),
        "dtype": fit.example.dtype,
        "axes": fit.example.axes,
        "assumed": fit.example.assumed,
        "gradients": _gradient_text(fit) if fit.example.gradients else "",
        "undetermined": result.undetermined if mistakes is None else mistakes.undetermined,
        "tried": result.tried,
        "diagnosis": None if mistakes is None else {
            **asdict(diagnosis(result, mistakes)), "coarser": mistakes.coarser,
            "conventions": {
                name: [asdict(match.recorded.convention) for match in fits]
                for name, fits in mistakes.by_name.items()
            },
        },
    }  # fmt: skip
