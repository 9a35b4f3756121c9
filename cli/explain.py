"""``gatewise explain``: which convention and which mistake explain arrays alone?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import CONFORMS, DIFFERS, json_option, or_usage

if TYPE_CHECKING:
    from ..reference.functions import Array
    from ..verify.identification.example import Explanation


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--cell", type=click.Choice(["rnn", "lstm", "gru"]), required=True,
              help="What the system computes.")  # fmt: skip
@click.option("--dtype", type=click.Choice(["float64", "float32"]),
              help="What it computes in; else what its numbers show.")  # fmt: skip
@click.option("--role", "given", multiple=True, metavar="ROLE=NAME",
              help="Which array is x, y, 'initial h', 'initial c', 'final h' or 'final c', where "
              "its name does not say so.")  # fmt: skip
@json_option
def explain(file: Path, cell: str, dtype: str | None, given: Sequence[str], as_json: bool) -> None:
    """Find the convention that explains the arrays of FILE: npz, safetensors or JSON.

    FILE holds the weights of one layer, an input, and what some system returned for it: outputs,
    or final states, or both. No program is needed. Exit code 0 if a convention explains the
    numbers, 1 if none does.
    """
    from ..verify.identification.example import examples
    from ..verify.identification.example import explain as explained

    arrays = or_usage(lambda: _read(file))
    roles = dict(_role(each) for each in given)
    result = or_usage(lambda: explained(cell, examples(arrays, roles, cell, dtype)))
    if as_json:
        click.echo(json.dumps(_for_programs(result), indent=1, ensure_ascii=False))
    else:
        for line in _lines(result):
            click.echo(line)
    sys.exit(CONFORMS if result.fits else DIFFERS)


def _read(file: Path) -> dict[str, Array]:
    """Return the arrays of a file by name; ValueError if it holds none."""
    import numpy as np

    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        elif file.suffix == ".safetensors":
            from safetensors.numpy import load_file

            arrays = load_file(file)
        elif file.suffix == ".json":
            given = json.loads(file.read_text(encoding="utf-8"))
            arrays = {name: np.asarray(value, dtype=float) for name, value in given.items()}
        else:
            raise ValueError("expected .npz, .safetensors or .json")
    except ImportError as error:
        raise ValueError(f"{file}: pip install safetensors to read it") from error
    except Exception as error:  # a file of somebody else's may be anything
        raise ValueError(f"{file}: cannot be read: {error}") from error
    odd = [n for n, a in arrays.items() if a.dtype.kind != "f" or not np.isfinite(a).all()]
    if odd or not arrays:
        what = f"{', '.join(odd)}: expected finite numbers with a point" if odd else "no arrays"
        raise ValueError(f"{file}: {what}")
    return arrays


def _role(text: str) -> tuple[str, str]:
    role, equals, name = text.partition("=")
    if not equals:
        raise click.UsageError(f"--role {text}: expected ROLE=NAME, as in x=features")
    return role.strip(), name.strip()


def _lines(result: Explanation) -> Iterator[str]:
    """Yield the answer, then the numbers that it rests on."""
    from ..verify.conventions import formula

    fit = result.nearest
    example = fit.example
    sizes = f"T = {example.steps}, B = {example.x.shape[1]}"
    if result.fits:
        yield f"explained: {formula.summary(fit.convention)}"
        yield (
            f"the numbers agree within {fit.residual:.2g}; rounding of {example.dtype} alone "
            f"explains up to {fit.bound:.2g} ({fit.ratio:.2g} of the bound at most)"
        )
        axis = "rows first (B, T, D)" if example.rows_first else "steps first (T, B, D)"
        yield f"the input is read with {axis}: {sizes}"
        yield from formula.plain(fit.convention)
    else:
        yield f"no convention explains the numbers; {result.tried} were tried"
        yield (
            f"the nearest is off by {fit.residual:.2g}, where rounding of {example.dtype} explains "
            f"{fit.bound:.2g}: {formula.summary(fit.convention)}"
        )
    if result.undetermined:
        fields = ", ".join(name.replace("_", " ") for name in result.undetermined)
        yield (
            f"this example cannot tell apart: {len(result.fits)} conventions that differ in "
            f"{fields}; more steps, a state or biases that are not 0 would"
        )


def _for_programs(result: Explanation) -> dict[str, Any]:
    fit = result.nearest
    return {
        "explained": bool(result.fits),
        "conventions": [asdict(each.convention) for each in result.fits or (fit,)],
        "residual": fit.residual,
        "bound": fit.bound,
        "ratio": fit.ratio,
        "dtype": fit.example.dtype,
        "undetermined": result.undetermined,
        "tried": result.tried,
    }
