"""Conventions as formulas: they name every array, and are what is computed."""

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.verify.conventions import family, formula
from some_conventions import arrays, case_of, conventions, slices

UNITS = 1e-12
"""Far above roundoff in these small sums, far below any difference in a formula."""


@given(conventions())
@settings(max_examples=150)
def test_formulas_are_balanced_and_name_every_array(convention):
    lines = formula.plain(convention)
    text = "\n".join(lines)
    for line in (*lines, *formula.latex(convention)):
        assert [line.count(a) - line.count(b) for a, b in ("()", "[]", "{}")] == [0, 0, 0]
    assert len(formula.summary(convention).splitlines()) == 1
    for letter in convention.letters.replace("a", "h"):
        assert f"{letter}_t = " in text
    names = {packed.name for packed in convention.arrays()}
    stems = {name.rpartition("_")[0] + "_*" for name in names} | names
    assert set(re.findall(r"= (\w+_?\*?) \[", lines[-1])) <= stems


SPOKEN = {
    "σ": "sigmoid", "hσ": "hard", "tanh": "np.tanh", "relu": "relu", "⊙": "*", "−": "-",
    "ᵀ": ".T", "′": "2",
}  # fmt: skip


@given(conventions(), st.integers(0, 99))
@settings(max_examples=150)
def test_the_formula_is_what_is_computed(convention, seed):
    case = case_of(convention)
    named = arrays(convention, case, np.random.default_rng(seed))
    stored = {name.removesuffix("_l0"): array for name, array in named.items()}
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, case.D))
    h, c = rng.standard_normal((2, case.P or case.H)), rng.standard_normal((2, case.H))
    want = family.step(
        convention, slices(convention, case.sizes, stored), x,
        (h, c) if convention.family == "lstm" else (h,),
    )  # fmt: skip

    got = spoken(convention, stored, x, h, c, case)
    np.testing.assert_allclose(got, want[0], rtol=0, atol=UNITS)


def spoken(convention, stored, x, h, c, case):
    lines = formula.plain(convention)
    space = {"np": np, "sigmoid": lambda s: 1 / (1 + np.exp(-s)), "relu": lambda s: s * (s > 0),
             "clip": np.clip, "x_t": x, "h_0": h, "c_0": c, "D": case.D}  # fmt: skip
    for symbol, name in re.findall(r"([WUbpR]′?) = (\w+)", lines[-1]):
        space |= {symbol.replace("′", "2"): stored.get(name)}
        stem = name.rstrip("_")
        space |= {f"{symbol}_{n[len(stem) + 1 :]}".replace("′", "2"): a
                  for n, a in stored.items() if n.startswith(f"{stem}_")}  # fmt: skip
    body = list(lines[:-1])
    for line in [line for line in body if line.startswith("hσ(s)")]:
        space["hard"] = eval(f"lambda s: {line.partition(' = ')[2].replace('0.2 s', '0.2 * s')}",
                             space)  # fmt: skip
        body.remove(line)
    for line in body:
        left, _, right = line.partition(" = ")
        right = right.replace("h_{t-1}", "h_0").replace("c_{t-1}", "c_0")
        right = re.sub(r"\b(\d*)([DHP])\b", lambda m: str(int(m[1] or 1) * {
            "D": case.D, "H": case.H, "P": case.P or case.H}[m[2]]), right)  # fmt: skip
        right = re.sub(r"(x_t|h_0|\)) (?=[WUR])", r"\1 @ ", right)
        for sign, python in sorted(SPOKEN.items(), key=lambda pair: -len(pair[0])):
            right = right.replace(sign, python) if not sign.isalpha() or not sign.isascii() else \
                re.sub(rf"(?<![\w.]){sign}\(", f"{python}(", right)  # fmt: skip
        space[left] = eval(right, space)
    return space["h_t"]
