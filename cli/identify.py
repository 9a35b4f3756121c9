"""``gatewise identify``: which convention does a layer follow?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click
import msgspec

from . import common
from .common import CONFORMS, COULD_NOT_RUN, DIFFERS

if TYPE_CHECKING:
    from ..verify.conventions import Convention
    from ..verify.identification.identification import Identification

NO_FIT = "its single steps are those of no recurrent layer that is known; what is wrong says"

TIMEOUT = 60.0
"""Seconds that the identification of one subject may take."""


@click.command()
@click.argument("names", metavar="SUBJECT...", nargs=-1, required=True)
@common.like_option
@common.device_option
@common.seed_option
@click.option("--timeout", type=common.Seconds(), default=TIMEOUT,
              show_default=True, metavar="SECONDS", help="For one subject.")  # fmt: skip
@common.memory_option
@common.json_option
def identify(
    names: Sequence[str],
    like: str | None,
    device: str,
    seed: int,
    timeout: float,
    memory: int,
    as_json: bool,
) -> None:
    """Find out by which convention SUBJECTs compute.

    It takes nothing but what they return. Gate order, layout, biases, forget offset, reset, update,
    activations and peepholes are searched for. Exit code 1 if one differs from the convention that
    its adapter states, 3 if none fits or it could not run.
    """
    from ..verify.identification.identification import Identification
    from ..verify.subjects import expanded

    codes, documents = [], []
    for name in common.or_usage(lambda: expanded(names)):
        answer = _identify(name, like, device, seed, timeout, memory)
        try:
            result = None if "problem" in answer else msgspec.convert(answer, Identification)
        except msgspec.ValidationError as error:
            answer, result = {"problem": f"its process gave an answer that is none: {error}"}, None
        if result is None:
            codes.append(COULD_NOT_RUN)
            documents.append({"subject": name, **answer})
            if not as_json:
                common.say(f"{name}: not identified: {answer['problem']}")
            continue
        differs = result.as_stated is False
        codes.append(COULD_NOT_RUN if not result.fits else DIFFERS if differs else CONFORMS)
        documents.append(_json(name, result, answer))
        if not as_json:
            _print(name, result)
    if as_json:
        common.print_json(documents)
    sys.exit(max(codes))


def _identify(
    name: str, like: str | None, device: str, seed: int, timeout: float, memory: int
) -> dict[str, Any]:
    """Identify one subject in a process of its own."""
    from ..verify.execution.isolation import Isolated
    from ..verify.execution.tasks import Named
    from ..verify.subjects import LIKE, require_device

    if like is not None and like not in LIKE:
        raise click.UsageError(f"--like {like}: expected one of {', '.join(LIKE)}")
    common.or_usage(lambda: require_device(device, [name]))
    with closing(Isolated(memory)) as isolated:
        named = Named(name, like, device=device)
        answer: dict[str, Any] = isolated.ask("identify", named, timeout, seed=seed)
    if answer.get("unknown"):
        raise click.UsageError(answer["problem"])
    return answer


def _json(name: str, result: Identification, answer: dict[str, Any]) -> dict[str, Any]:
    from ..verify.conventions import formula

    return {
        **answer,
        "subject": name,
        "as_stated": result.as_stated,
        "undetermined": result.undetermined,
        "summary": formula.summary(result.nearest),
        "formula": formula.plain(result.nearest),
        "latex": formula.latex(result.nearest),
    }


def _print(name: str, result: Identification) -> None:
    from ..reports.terminal import print_rows
    from ..verify.conventions import formula

    if not result.fits:
        common.say(f"\n{name}: no convention fits")
        click.echo(f"{NO_FIT}: gatewise diagnose {common.quoted(name)}")
        return
    common.say(f"\n{name}: {formula.summary(result.nearest)}")
    rows = list(_rows(result))
    if result.stated is None:
        print_rows(("field", "found"), [row[:2] for row in rows])
    else:
        print_rows(("field", "found", "stated"), rows)
    for line in formula.plain(result.nearest):
        common.say(f"  {line}")
    common.say(
        f"largest error {result.residual:.2g}, {result.ratio:.2g} of its bound ({result.dtype}); "
        f"runner-up {result.runner_up_residual:.2g}, {result.separation:.2g} times as far: "
        f"{formula.summary(result.runner_up)}"
    )
    for line in _notes(result):
        common.say(line)


def _rows(result: Identification) -> Iterator[tuple[str, str, str]]:
    """Yield each relevant field of the convention: its name, the value found, the value stated."""
    from ..verify.conventions.comparison import IDENTIFIED, differing

    fits, stated = result.fits or (result.nearest,), result.stated
    off = () if stated is None else differing(result.nearest, stated)
    for name in IDENTIFIED:
        values = list(dict.fromkeys(_field_text(c, name) for c in fits))
        statement = "" if stated is None else _field_text(stated, name)
        if any(values) or name in off:
            mark = "" if name not in off else "  (differs)"
            yield name.replace("_", " "), " or ".join(v or "none" for v in values), statement + mark


def _field_text(c: Convention, name: str) -> str:
    """Return a field's value, "" where it is empty or irrelevant."""
    concerns = {
        "reset": c.family == "gru", "update": c.family == "gru", "gate": c.family != "rnn",
        "output": c.family == "lstm", "forget_offset": c.family == "lstm" and not c.coupled,
        "output_peephole": "o" in c.peepholes, "recurrent_order": c.recurrent_order != c.order,
        "recurrent_layout": c.recurrent_layout != c.layout, "coupled": c.coupled,
        "projected": c.projected,
    }  # fmt: skip
    if not concerns.get(name, True):
        return ""
    value = getattr(c, name)
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def _notes(result: Identification) -> Iterator[str]:
    if result.undetermined:
        fields = ", ".join(name.replace("_", " ") for name in result.undetermined)
        yield f"cannot be told apart: {len(result.fits)} conventions that differ in {fields}"
    if result.unused:
        yield f"without influence: {', '.join(result.unused)}"
    if result.without_state:
        yield "without an initial state alone: one that is given is not read as it should be"
    if result.swapped:
        yield "it takes and returns its states in the order c, h"
    if result.stated is None:
        yield "its adapter states no convention"
    elif result.fits:
        yield f"it is {'' if result.as_stated else 'NOT '}the convention that its adapter states"
