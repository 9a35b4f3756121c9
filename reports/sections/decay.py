"""Gradient decay in a report: the validations, then the reach of gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...bench.decay.rows import ClippingRow, CostRow, DecayRow, LayerRow, ValidationRow, of_kind
from ...bench.run import BenchRun
from ..section import Figure, Section, Table
from . import decay_figures as figures
from .charts import alt, panels, plot, tooltip


def section(runs: Sequence[BenchRun]) -> Section:
    """Return norms, rates, exponents, products, dtypes and clipping, and the validations."""
    rows = [row for run in runs for row in run.rows]
    laws: list[ValidationRow] = of_kind(rows, "validation")
    decays: list[DecayRow] = of_kind(rows, "decay")
    layers: list[LayerRow] = of_kind(rows, "layer")
    clips: list[ClippingRow] = of_kind(rows, "clipping")
    costs: list[CostRow] = of_kind(rows, "cost")
    unmeasured = [row for row in rows if row["status"] != "OK"]
    rest = sum(len(run.untested) for run in runs)
    parts: list[Figure | Table] = _decay_parts(decays) if decays else []
    if layers:
        parts += [_layer_figure(layers), _layer_table(layers)]
    if clips:
        parts += [figures.clipping(clips), _clipping(clips)]
    if laws:
        parts.append(_laws(laws))
    if costs:
        parts.append(_costs(costs))
    intro = [*_intro(laws, decays),
             *(f"Not measured: {row['id']}: {row.get('message', '')}" for row in unmeasured),
             *([f"Not tested: {rest} pieces that were planned."] if rest else [])]  # fmt: skip
    return Section("decay", "Gradient decay", tuple(intro), tuple(parts))


def _decay_parts(decays: Sequence[DecayRow]) -> list[Figure | Table]:
    usual = figures.chosen(decays)
    parts: list[Figure | Table] = [figures.lags(usual), figures.states(usual)]
    if any(row.losses for row in usual):
        parts.append(_losses(usual))
    parts += filter(None, (figures.by_bias(decays), figures.by_gain(decays)))
    parts += [_rates(decays), _means(usual)]
    parts += [figures.spectra(usual), _spectra(decays)]
    if any(row.products for row in usual):
        parts.append(figures.products(usual))
    return parts


def _intro(laws: Sequence[ValidationRow], decays: Sequence[DecayRow]) -> tuple[str, ...]:
    """Return paragraphs on the measurements, and on their agreement with theory."""
    paragraphs = []
    wrong = [row for row in laws if not row.passed]
    if laws:
        paragraphs.append(
            f"Of {len(laws)} laws, what is measured obeys {len(laws) - len(wrong)}."
            + "".join(f" IT DOES NOT OBEY: {row.statement}" for row in wrong)
        )
    if decays:
        first = decays[0]
        paragraphs += [
            "The loss is a random unit projection of the last hidden state; its gradient on the "
            f"states before is followed back over {first.steps} steps, for {first.seeds} seeds, "
            "each with weights, inputs and projection of its own. U ~ N(0, g²/H), "
            "W ~ N(0, 1/D), inputs N(0, 1); all biases are 0 but that of the gate that keeps the "
            "state, whose bias b keeps σ(b) of it. Where nothing else is said g = 1 and b = 1.",
            "Rates are slopes of ln ‖gradient‖ a step beyond the first fifth of the lags: means "
            "over seeds of logs, not logs of means, which the luckiest seed alone would decide. "
            "At rest means without input, in the zero state.",
        ]
    if any(row.cell.startswith("skip") for row in decays):
        paragraphs.append(
            "The gradients of Skip cells are straight-through estimates: what training uses, not "
            "derivatives of what the cells compute."
        )
    return tuple(paragraphs)


# Tables.


def _laws(rows: Sequence[ValidationRow]) -> Table:
    """Return the table of laws: the expected and the measured values."""
    return Table(
        "Held to theory",
        ("law", "expected", "measured", "digits", "error", "allowed", "why so much is allowed",
         "verdict"),
        tuple(
            (row.statement, _number(row.expected), _number(row.measured),
             "a bound" if row.digits is None else f"{row.digits:.1f}", row.error, row.allowed,
             row.allowance, "holds" if row.passed else "DOES NOT HOLD")
            for row in rows
        ),
        "Where a law is held in many places the worst is shown. Every law has been seen to fail "
        "on an error planted for it: the block of h alone for an LSTM's Jacobian, transposed "
        "Jacobians in the order of time, QR every 200 steps, a norm that is forgotten, and others.",
    )  # fmt: skip


def _rates(rows: Sequence[DecayRow]) -> Table:
    """Return the table of the rates of all settings."""
    return Table(
        "Rates of decay",
        ("cell", "H", "gain g", "bias b", "rate (1/step)", "95 %", "sense",
         "half-life or doubling (steps)", "direct path (1/step)", "λ₁ (1/step)",
         "same seed's rate", "at rest (1/step)", "theory, H → ∞"),
        tuple(
            (row.title, row.hidden, row.gain, row.forget_bias, row.rate.value,
             _interval(row.rate.low, row.rate.high), row.sense,
             None if row.sense == "undecided" else row.half_life, row.direct,
             row.spectrum.exponents[0] if row.spectrum else None,
             row.spectrum.same_seed_rate if row.spectrum else None,
             row.rest.value if row.rest else None, row.rest_theory)
            for row in rows
        ),
        "Rates of h, c and all other states together; undecided: the interval over seeds has both "
        "signs. The direct path is what units keep of themselves without any matrix (E19): the "
        "mean of its ln. λ₁ is the first Lyapunov exponent of the first seed, beside that seed's "
        "own rate.",
    )  # fmt: skip


def _means(rows: Sequence[DecayRow]) -> Table:
    """Return the table of means of logs beside logs of means."""
    return Table(
        "Why logs are averaged",
        ("cell", "lag (steps)", "mean of log₁₀ ‖gradient‖", "log₁₀ of the mean ‖gradient‖",
         "seeds", "of them zero"),
        tuple(
            (row.title, row.lags[-1], _to_log10(row.mean_of_logs), _to_log10(row.log_of_mean),
             row.seeds, row.vanished)
            for row in rows
        ),
        "The log of the mean is that of the seed whose gradient happens to be the largest.",
    )  # fmt: skip


def _losses(rows: Sequence[DecayRow]) -> Table:
    """Return the table of lags at which each dtype loses the gradient."""
    return Table(
        "Where an arithmetic loses the gradient: first lag (steps) at which it ...",
        ("cell", "rate (1/step)", "dtype", "has a subnormal entry", "is all subnormal",
         "is off by half", "is zero", "overflows"),
        tuple(
            (row.title, row.spectrum.same_seed_rate if row.spectrum else None, loss.dtype,
             *map(loss.text, (loss.subnormal, loss.all_subnormal, loss.wrong, loss.zero,
                              loss.overflow)))
            for row in rows for loss in row.losses
        ),
        "Computed in that arithmetic, unscaled, of the first seed, along the trajectory of "
        "float64. Rounding may keep a few subnormal entries alive for long; off by half says "
        "from where they are not the gradient. –: there is nothing left to search.",
    )  # fmt: skip


def _spectra(rows: Sequence[DecayRow]) -> Table:
    """Return the table of Lyapunov exponents and the sum rule's residuals."""
    return Table(
        "Lyapunov exponents of the whole state, and the sum rule",
        ("cell", "H", "gain g", "bias b", "exponents", "λ₁ (1/step)", "± standard error",
         "last λ (1/step)", "sum of all", "mean of ln |det J|", "residual"),
        tuple(
            (row.title, row.hidden, row.gain, row.forget_bias, len(spectrum.exponents),
             spectrum.exponents[0], spectrum.errors[0], _log_text(spectrum.exponents[-1]),
             _log_text(_total(spectrum.exponents)), _log_text(spectrum.log_det),
             spectrum.unsummed if spectrum.residual is None else spectrum.residual)
            for row in rows if (spectrum := row.spectrum)
        ),
        "By QR at every step, of the first seed. The exponents must add up to the mean of "
        "ln |det J|, taken by LU factors. Where units of a ReLU are off, J is singular. A "
        "direction is lost where it shrinks beneath the rounding of the first.",
    )  # fmt: skip


def _clipping(rows: Sequence[ClippingRow]) -> Table:
    """Return the table of clipped gradients."""
    return Table(
        "What clipping does where gradients explode",
        ("cell", "gain g", "lag (steps)", "log₁₀ gradient of the parameters", "clipped by norm",
         "cosine, clipped by value", "nothing to clip in float32 from lag",
         "in float64 from lag"),
        tuple(
            (row.title, row.gain, row.lags[-1], _to_log10(row.gradient[-1]),
             _to_log10(row.by_norm[-1]), row.cosine[-1],
             *(f"> {row.lags[-1]}" if row.refused[d] is None else str(row.refused[d])
               for d in ("float32", "float64")))
            for row in rows
        ),
        "Threshold 1. By norm the direction stays (cosine 1); by value it does not. A gradient "
        "that has overflowed on its way cannot be clipped: it is infinite or NaN.",
    )  # fmt: skip


def _costs(rows: Sequence[CostRow]) -> Table:
    """Return the table of the adjoint's time and memory."""
    lines: list[tuple[str, str]] = []
    for row in rows:
        lines += [
            (f"one plain step of the LSTM, H = {row.hidden}, B = 1",
             f"{1e6 * row.plain_step:.0f} µs"),
            (f"one step of its adjoint over {row.steps:,} steps, forward passes included",
             f"{1e6 * row.adjoint_step:.0f} µs = {row.ratio:.2f} plain steps"),
            ("the norm of the gradient there", f"10^{row.log10_norm:.0f}"),
            *((f"memory of an adjoint over {int(steps):,} steps (RNN, H = 64)", _bytes(size))
              for steps, size in row.adjoint_peaks.items()),
            *((f"memory of Lyapunov exponents over {int(steps):,} steps (RNN, H = 4)",
               _bytes(size)) for steps, size in row.lyapunov_peaks.items()),
        ]  # fmt: skip
    return Table(
        "What it costs",
        ("quantity", "measured"),
        tuple(lines),
        "Plain steps and steps of the adjoint were taken in turns. The adjoint keeps every √T-th "
        "state and computes the others again; the exponents keep none.",
    )


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.4f} to {high:.4f}".replace("-", "−")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.8g}"


def _log_text(value: float | None) -> float | str:
    return "−∞" if value is None else value


def _total(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return math.fsum(finite) if len(finite) == len(values) else None


def _to_log10(value: float | None) -> float | None:
    return None if value is None else value * figures.LOG10


def _bytes(size: int) -> str:
    return f"{size / 2**20:.2f} MiB"


# The gradients of layers against lag, beside those of the equations.


EQUATIONS = "equations, float64"


def _layer_figure(rows: Sequence[LayerRow]) -> Figure:
    """Return the figure of layers' gradients beside those of the equations."""
    return Figure(
        "decay-layers", "The gradient on the input k steps before, as layers compute it",
        "Medians over seeds, a panel for each layer. Broad and grey: the equations in float64, on "
        "the same numbers as the first dtype. A line ends where the gradient has become 0.",
        "In each panel the lines of the dtypes follow the broad one until their arithmetic ends.",
        lambda: _layers(rows),
    )  # fmt: skip


def _layer_table(rows: Sequence[LayerRow]) -> Table:
    """Return the table of the reach of layers' gradients, and the kernels that ran, if known."""
    named = any(row.ran for row in rows)
    return Table(
        "How far back the gradients of layers reach",
        ("layer", "dtype", "H", "seeds", "rate of the equations (1/step)",
         "off by half from lag (steps)", "0 from lag (steps)", *(["what ran"] if named else [])),
        tuple(
            (row.subject, row.dtype, row.hidden, row.seeds, row.rate.value,
             *(f"> {row.lags[-1]}" if lag is None else lag for lag in (row.wrong, row.zero)),
             *([row.ran] if named else []))
            for row in rows
        ),
        "A random unit cotangent on the last output, pulled back by the layer itself, unscaled; "
        "the equations in float64 on the same numbers. Lags are medians over seeds.",
    )  # fmt: skip


def _layers(rows: Sequence[LayerRow]) -> Any:
    firsts = {row.subject: row for row in reversed(rows)}
    drawn = [(row.subject, row.dtype, row.lags, row.curve) for row in rows]
    drawn += [(row.subject, EQUATIONS, row.lags, row.right) for row in firsts.values()]
    values = [
        {"layer": layer, "by": source, "lag": lag, "norm": norm * figures.LOG10}
        for layer, source, lags, curve in drawn
        for lag, norm in zip(lags, curve.median, strict=True)
        if norm is not None
    ]
    names = list(dict.fromkeys(row.dtype for row in rows))
    data = plot(values)
    lag = alt.X("lag:Q", title="lag k (steps)", axis=alt.Axis(tickCount=4))
    norm = alt.Y("norm:Q", title=figures.NORM)
    equations = data.transform_filter(alt.datum.by == EQUATIONS).mark_line(
        strokeWidth=7, opacity=0.25, color="currentColor"
    )
    line = data.transform_filter(alt.datum.by != EQUATIONS).mark_line(strokeWidth=1.6).encode(
        lag, norm,
        alt.Color("by:N", scale=alt.Scale(domain=names), title=None,
                  legend=alt.Legend(orient="top")),
        tooltip=tooltip("layer:N", "by:N", "lag:Q", "norm:Q"),
    )  # fmt: skip
    panel = alt.layer(equations.encode(lag, norm), line).properties(width=250, height=190)
    order = list(dict.fromkeys(row.subject for row in rows))
    return panels(panel, "layer:N", 2, order)
