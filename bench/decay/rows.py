"""The rows of a run, as JSON values; ``None`` stands for numbers that are not finite or absent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..run import OK, from_json
from .adjoint import Loss
from .rates import Band, Rate


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measured piece: its id from the plan, its status, and its kind."""

    id: str
    status: str
    what: str


@dataclass(frozen=True, kw_only=True)
class SettingRow(Row):
    """A setting, and its number of seeds."""

    cell: str
    hidden: int
    gain: float
    forget_bias: float | None
    seeds: int


@dataclass(frozen=True, kw_only=True)
class ValidationRow(Row):
    """One law: the expected and the measured value, and the number of digits that agree.

    ``digits`` is None if the expected value is a bound.
    """

    statement: str
    allowance: str
    expected: float | None
    measured: float | None
    error: float | None
    allowed: float
    digits: float | None
    passed: bool
    where: str


@dataclass(frozen=True)
class Spectrum:
    """Lyapunov exponents per step of one seed, and that seed's slope of the adjoint.

    ``residual``: their sum minus the mean of ln |det J|; None if a Jacobian was singular, or if
    rounding destroyed ``lost`` directions.
    """

    exponents: tuple[float | None, ...]
    errors: tuple[float, ...]
    log_det: float | None
    residual: float | None
    steps: int
    same_seed_rate: float | None
    lost: int = 0

    @property
    def missed(self) -> str:
        """The residual of the sum rule as text, or why it has none."""
        return self.unsummed if self.residual is None else f"{self.residual:.0e}"

    @property
    def unsummed(self) -> str:
        """The reason why there is no residual; empty if there is one."""
        singular = "J is singular" if self.log_det is None else ""
        lost = f"{self.lost} lost to rounding" if self.lost else ""
        return ", ".join(filter(None, (singular, lost)))


@dataclass(frozen=True)
class Product:
    """The logs of all singular values of ∂s_T/∂s_t over one lag, of one seed.

    ``log_condition``: ln σ_1/σ_n; ``log_mean_square``: ln of ‖P‖²_F / n.
    """

    lag: int
    log_sigma: tuple[float | None, ...]
    log_condition: float | None
    log_mean_square: float | None


@dataclass(frozen=True, kw_only=True)
class DecayRow(SettingRow):
    """One setting. Logs are natural, rates per step, lags in steps.

    ``bands`` and ``rates`` by state, and for all states together under ``joint``. ``rest`` is
    measured without input in the zero state, ``rest_theory`` its theoretical value, ``threshold``
    the gain at which that is 0. ``bound``: ln ‖U‖₂, the most that a step can add, and
    ``bound_excess`` the largest of ln ‖gradient‖ minus the bound over seeds and lags.
    ``direct``: the same rate along the direct path alone, the mean over units. ``mean_of_logs``
    and ``log_of_mean`` at the last lag. ``overflowed``: seeds whose state left float64;
    ``vanished``: seeds whose gradient is exactly 0 at the last lag.
    """

    title: str
    steps: int
    overflowed: int
    vanished: int
    lags: tuple[int, ...]
    bands: dict[str, Band]
    rates: dict[str, Rate]
    half_life: float | None
    mean_of_logs: float | None
    log_of_mean: float | None
    bound: float | None
    bound_excess: float | None
    direct: float | None
    rest: Rate | None
    rest_theory: float | None
    threshold: float | None
    spectrum: Spectrum | None
    products: tuple[Product, ...] = ()
    losses: tuple[Loss, ...] = ()

    @property
    def rate(self) -> Rate:
        """The rate of all states together."""
        return self.rates["joint"]

    @property
    def sense(self) -> str:
        """``vanishes`` or ``explodes``; ``undecided`` where the interval has both signs."""
        if self.rate.value is None:
            return "is zero"
        if self.rate.low is None or self.rate.high is None or self.rate.low * self.rate.high <= 0:
            return "undecided"
        return "vanishes" if self.rate.value < 0 else "explodes"


@dataclass(frozen=True, kw_only=True)
class ClippingRow(SettingRow):
    """Medians over seeds, at lags; logs are natural. See ``gradient_clipping.Clipped``.

    ``refused`` is the lag from which the parameters' gradient is infinite or NaN in a dtype, so
    that it cannot be clipped; None if there is none. It and ``losses``, of
    the cotangent, are those of the first seed.
    """

    title: str
    lags: tuple[int, ...]
    carried: tuple[float | None, ...]
    carried_clipped: tuple[float | None, ...]
    gradient: tuple[float | None, ...]
    by_norm: tuple[float | None, ...]
    cosine: tuple[float | None, ...]
    refused: dict[str, int | None]
    losses: tuple[Loss, ...]


@dataclass(frozen=True, kw_only=True)
class CostRow(Row):
    """Time and memory of the adjoint of an LSTM at B = 1, beside one plain step of the reference.

    Times are in seconds per step, both taken in turns. The peaks are the most bytes that Python
    allocated, by length: of the adjoint of a tanh RNN with H = 64, and of the exponents of one with
    H = 4.
    """

    hidden: int
    steps: int
    plain_step: float
    adjoint_step: float
    ratio: float
    log10_norm: float
    adjoint_peaks: dict[str, int]
    lyapunov_peaks: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class LayerRow(SettingRow):
    """A layer's own gradients of its inputs, beside those of the equations in float64.

    ``curve`` and ``right`` are bands of ln ‖∂L/∂x‖ at the lags; ``rate`` is that of the equations.
    ``wrong`` and ``zero``: medians of the first lag at which the layer's is off by more than half
    of the norm, or 0; None if not within the lags. ``ran``: the kernel that ran, if known.
    """

    subject: str
    version: str
    dtype: str
    steps: int
    lags: tuple[int, ...]
    curve: Band
    right: Band
    rate: Rate
    wrong: int | None
    zero: int | None
    ran: str


KINDS = {
    "validation": ValidationRow,
    "decay": DecayRow,
    "layer": LayerRow,
    "clipping": ClippingRow,
    "cost": CostRow,
}


def of_kind(rows: Iterable[Mapping[str, Any]], kind: str) -> list[Any]:
    """Return the rows of one kind, typed and checked."""
    return [from_json(KINDS[kind], r) for r in rows if r["status"] == OK and r.get("what") == kind]
