"""The conditions of an exception: the failing case with one thing changed at a time.

Results of a wrong shape or dtype are examined in the same way.
"""

from __future__ import annotations

import re
import time
import warnings
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ...cases.case import Case
from ...checks import check_named
from ...checks.oracle import state_names
from ...checks.quantities import by_name
from ...numbers.arithmetic import USUAL_DTYPES
from ...numbers.ledger import Mismatch
from ...runs.diagnosis import Explanation, Location
from ...runs.verdict import OTHER_PARAMETERS, Verdict, cause
from ...subjects.called import PACKAGES, NotOffered, SubjectCrashed, under_test
from ...subjects.inputs import draw_cotangents, draw_inputs
from ...subjects.protocol import Subject, SubjectUnavailable
from ...subjects.torch_module import import_torch
from ..location import complexity, listed
from ..observation import OUTPUTS, VALUES, plain_case
from .cause import Cause

ROOMY = {"T": 4, "B": 3, "D": 5, "H": 6}
"""Mutually different sizes greater than 1."""

SECONDS = 5.0
"""The processor time for one cause; conditions that were not tried by then are left out."""

SIZES = {
    "T": ("one step", "steps"),
    "B": ("B = 1", "rows"),
    "D": ("an input of width 1", "inputs"),
    "H": ("one hidden unit", "hidden units"),
}
"""For each size: the words for a size of 1, and the noun for what it counts."""

OPTIONS = {
    "layout": ("with {} input", "", ("time-first", "batch-first")),
    "dropout": ("with dropout", "", (0.0, 0.5)),
    "P": ("with a projection", "", (0, 2)),
    "layers": ("with more than one layer", "with one layer", (1, 2)),
    "bidirectional": ("in two directions", "in one direction", (False, True)),
    "lengths": ("with lengths (packed input)", "without lengths", (False, True)),
    "zero_length": ("with a row of length 0", "", (False, True)),
    "bias": ("with biases", "without biases", (False, True)),
    "state": ("when a state is given", "when no state is given", (False, True)),
    "scale": ("with {} weights", "", ("unit", "large")),
}
"""For each option: the words if a case has it, and if it lacks it; its values, the plain first."""

HANDED_ON = ("carry", "carry-gradient")
"""Checks that call a layer with its own results."""

CALLS = {
    "jvp": "in forward-mode derivatives",
    "modes": "when the mode is switched",
    "dropout": "in training",
    "strided": "for input that is not contiguous",
    "purity": "in a second call",
    "repeat": "in a second call",
    "reweight": "when it is called again with other weights",
    "backward-twice": "when cotangents are pulled back twice through one run",
    "no-steps": "without steps",
}
"""The special condition in the calls of a check, if a plain call does not raise."""


def crashes(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> Iterator[Cause]:
    """Yield the causes of exceptions and of wrong shapes and dtypes, each once."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in failing:
        if verdict.case and verdict.cause:
            groups.setdefault(verdict.cause, []).append(verdict)
    if failing:
        for verdict in hidden(subject, dtype, failing[0]):
            groups.setdefault(verdict.cause, [verdict])
    causes = [_cause(subject, name, verdicts, failing) for name, verdicts in _roots(groups).items()]
    lost = [c for c, _ in causes if LOST in c.explanation.statements[0]][:1]
    same = [c for c, trial in causes if lost and c not in lost and trial.needs_small_sizes()]
    more = tuple(v for c in same for v in c.verdicts)
    yield from (replace(c, verdicts=(*c.verdicts, *more)) for c in lost)
    yield from (c for c, _ in causes if c not in lost and c not in same)


LOST = "an axis of length 1 is missing"
"""The words for a result that lacks an axis; exceptions due to it are the same mistake."""


def _cause(
    subject: Subject, name: str, verdicts: Sequence[Verdict], failing: Sequence[Verdict]
) -> tuple[Cause, Trial]:
    trial, verdict = Trial.of(subject, name, verdicts)
    where, when = tuple(trial.conditions()), ""
    if name == OTHER_PARAMETERS:
        statement = _other_parameters(trial.message() or verdict.message)
    elif verdict.status == "crashed":
        statement = f"It raises {_raised(subject, verdict)}"
    else:
        statement = _returned(name, verdict, trial)
        if "stands first" in statement:
            where = tuple(condition for condition in where if "more than one" not in condition)
        if LOST in statement and len(sizes := trial.sizes_of_one()) > 1:
            when = f", wherever {', '.join(sizes[:-1])} or {sizes[-1]}"
            where = tuple(condition for condition in where if condition == "in the backward")
    explanation = Explanation(
        (_id(name, statement, where),),
        (f"{statement}{when or only(where)}.",),
        (_fix(verdict, where) if not when else KEEP_AXES.format(""),),
    )
    part = "program" if verdict.status == "crashed" else "outputs"
    explained = tuple(v for v in verdicts if any(v is condition for condition in failing))
    return Cause(explanation, explained, Location(part)), trial


def hidden(subject: Subject, dtype: str, like: Verdict) -> Iterator[Verdict]:
    """Yield a verdict for every plain call that raises, which other failures may have hidden.

    A check reports only the first failure that it meets.
    """
    plain = plain_case(subject, dtype, **ROOMY)
    cases = [replace(plain, **{size: 1}) for size in ROOMY]  # type: ignore[arg-type]
    cases += [
        replace(plain, **{option: value})  # type: ignore[arg-type]
        for option, (_, _, values) in OPTIONS.items()
        for value in values
        if option in ("layers", "bidirectional", "lengths", "bias", "state")
    ]
    cases += [replace(plain, dtype=d) for d in USUAL_DTYPES if d in subject.dtypes and d != dtype]
    called = VALUES if subject.options.gradient else OUTPUTS
    for case in cases:
        if not impossible(subject, called, case):
            with suppress(Mismatch, NotOffered, SubjectUnavailable):
                try:
                    run(subject, called, case)
                except SubjectCrashed as error:
                    yield replace(like, status="crashed", message=str(error), case=case.to_json())


def run(subject: Subject, check: str, case: Case) -> None:
    """Make the calls of a check, or one call, and propagate its exceptions."""
    tested = under_test(subject)
    if check not in (OUTPUTS, VALUES):
        check_named(check).run(tested, case)
        return
    called, inputs = tested.build(case), draw_inputs(tested, case)
    if check == OUTPUTS:
        called.forward(inputs)
    else:
        called.gradient(inputs, draw_cotangents(tested, case))


def _roots(groups: Mapping[str, list[Verdict]]) -> dict[str, list[Verdict]]:
    """Return the causes, with exceptions that follow from a state of wrong shape merged into it."""
    shapes = [name for name in groups if name.startswith("final") and "another shape" in name]
    roots: dict[str, list[Verdict]] = {}
    for name, verdicts in groups.items():
        handed_on = all(v.status == "crashed" and v.check in HANDED_ON for v in verdicts)
        roots.setdefault(shapes[0] if shapes and handed_on else name, []).extend(verdicts)
    return roots


@dataclass(frozen=True)
class Trial:
    """A failure that can be tried again on other cases.

    ``check`` is a single call if that fails: ``OUTPUTS``, or with gradients ``VALUES``.
    """

    subject: Subject
    cause: str
    check: str
    case: Case
    deadline: float

    @classmethod
    def of(cls, subject: Subject, name: str, verdicts: Sequence[Verdict]) -> tuple[Trial, Verdict]:
        """Return the plainest call that reproduces the failure, and the verdict of its case."""
        deadline = time.process_time() + SECONDS
        ordered = sorted(verdicts, key=complexity)
        for check in (OUTPUTS, VALUES) if subject.options.gradient else (OUTPUTS,):
            for verdict in ordered:
                trial = cls(subject, name, check, Case.from_json(verdict.case), deadline)
                if trial.fails(trial.case):
                    return trial, verdict
        first = ordered[0]
        return cls(subject, name, first.check, Case.from_json(first.case), deadline), first

    def fails(self, case: Case) -> bool | None:
        """Whether a case fails for the same cause; None if unknown."""
        if time.process_time() > self.deadline or impossible(self.subject, self.check, case):
            return None
        try:
            run(self.subject, self.check, case)
        except (Mismatch, SubjectCrashed) as error:
            return cause(str(error)) == self.cause or None  # None: it fails for another cause
        except Exception:  # it does not offer the case, or the check cannot take it
            return None
        return False

    def message(self) -> str:
        """Return the message for a case of mutually different sizes, "" if it does not fail."""
        try:
            run(self.subject, self.check, self._roomy()[0])
        except (Mismatch, SubjectCrashed) as error:
            return str(error)
        return ""

    def other_dtypes(self) -> list[str]:
        """Return the names of all outputs of another dtype than the case's."""
        tested, case = under_test(self.subject), self.case
        with suppress(Mismatch, SubjectCrashed, NotOffered):
            tested.build(case).forward(draw_inputs(tested, case))
        results = [result for call in tested.calls for result in call.results]
        named = by_name(state_names(tested, case), results[0]) if results else {}
        return [name for name, array in named.items() if array.dtype != case.number_type]

    def sizes_of_one(self) -> list[str]:
        """Return the sizes that fail if they alone are 1, if larger ones do not."""
        layers = 2 if self.subject.options.layers else 1
        roomy = replace(self.case, **ROOMY, layers=layers, zeroed="", rounded="")  # type: ignore[arg-type]
        if self.fails(roomy) is not False:
            return []
        names = [n for n in ROOMY if self._breaks(replace(roomy, **{n: 1}))]  # type: ignore[arg-type]
        if layers > 1 and self._breaks(replace(roomy, layers=1)):
            names.append("the number of layers")
        return [f"{name} = 1" if len(name) == 1 else f"{name} is 1" for name in names]

    def needs_small_sizes(self) -> bool:
        """Whether no failure of any kind occurs with larger sizes."""
        roomy = replace(self.case, **ROOMY, zeroed="", rounded="")  # type: ignore[arg-type]
        impossible_case = self.case.P or impossible(self.subject, self.check, roomy)
        return not impossible_case and not self._breaks(roomy)

    def _breaks(self, case: Case) -> bool:
        """Whether a case raises or returns a wrong shape, for any cause."""
        if impossible(self.subject, self.check, case):
            return False
        try:
            run(self.subject, self.check, case)
        except NotOffered:
            return False
        except (Mismatch, SubjectCrashed):
            return True
        return False

    def conditions(self) -> Iterator[str]:
        """Yield the words for the conditions under which a case fails."""
        if not self.fails(self.case):
            yield "not every time"
            return
        if self.check == VALUES:
            yield "in the backward"
        elif self.check != OUTPUTS:
            yield CALLS.get(self.check, f"in the calls of the check {self.check}")
        case, needed = self._roomy()
        together = self._equal_sizes(case, needed)
        if together:
            yield f"where {together[0]} = {together[1]}"
        for size in needed:
            if size not in together:
                yield self._size(case, size)
        for option in OPTIONS:
            yield from filter(None, [self._option(case, option)])
        others = [d for d in USUAL_DTYPES if d in self.subject.dtypes and d != case.dtype]
        if "comes back in" not in self.cause and any(
            self.fails(replace(case, dtype=d)) is False for d in others
        ):
            yield f"in {case.dtype}"

    def _roomy(self) -> tuple[Case, list[str]]:
        """Return the case with larger sizes, and the sizes on which the failure depends."""
        case, needed = replace(self.case, zeroed="", rounded=""), []
        if not self.fails(case):
            case = self.case
        rest = [s for s in ROOMY if not (case.layout == "unbatched" and s == "B")]
        for size in (*rest, *rest):  # twice, since another failure may have interfered
            larger = replace(case, **{size: max(ROOMY[size], getattr(case, size))})
            failing = None if size in needed else self.fails(larger)
            if failing is False:
                needed.append(size)
            case = larger if failing else case
        least = [s for s in ROOMY if s not in needed and getattr(case, s) > 1]
        needed += [s for s in least if self.fails(replace(case, **{s: 1})) is False]  # type: ignore[arg-type]
        return case, needed

    def _equal_sizes(self, case: Case, needed: Sequence[str]) -> tuple[str, ...]:
        """Return two sizes that must be equal for the failure, or ()."""
        for a in needed:
            for b in needed:
                same = getattr(case, a) == getattr(case, b)
                if a < b and same and self.fails(replace(case, **{a: 7, b: 7})):  # type: ignore[arg-type]
                    return a, b
        return ()

    def _size(self, case: Case, size: str) -> str:
        """Return the words for the values of a size that fail."""
        singular, many = SIZES[size]
        now = getattr(case, size)

        @cache
        def fails(value: int) -> bool | None:
            return self.fails(replace(case, **{size: value}))  # type: ignore[arg-type]

        tried = [n for n in (1, 2, 3, 4, 5, 6, now - 1, now, now + 1, now + 2) if n > 0]
        bad = sorted({n for n in tried if fails(n)})
        good = sorted({n for n in tried if fails(n) is False})
        if bad == [1]:
            return f"with {singular}" if size == "T" else f"for {singular}"
        if not good or not bad:
            return f"for {size} = {now}"
        if max(good) < min(bad):
            between = range(max(good), min(bad))
            high = between.start + bisect_left(between, True, key=lambda n: bool(fails(n)))
            return f"with more than {f'{high - 1} {many}' if high > 2 else f'one {many[:-1]}'}"
        if max(bad) < min(good):
            return f"with up to {max(bad)} {many}"
        values = ", ".join(map(str, bad))
        return f"for {size} = {values} (not {', '.join(map(str, good))})"

    def _option(self, case: Case, option: str) -> str:
        """Return the words for an option on which the failure depends; "" if it does not."""
        on, off, (plain, alternative) = OPTIONS[option]
        value = getattr(case, option)
        if value == plain and not off:
            return ""
        changed = replace(case, **{option: alternative if value == plain else plain})  # type: ignore[arg-type]
        if option == "lengths" and value:
            changed = replace(changed, zero_length=False)
        if self.fails(changed) is not False:
            return ""
        return off if value == plain else on.format(value)


def impossible(subject: Subject, check: str, case: Case) -> bool:
    """Whether a subject does not offer a case, or a check refuses it."""
    if case.P >= case.H or subject.options.lacking(case):
        return True
    return check not in (OUTPUTS, VALUES) and bool(check_named(check).refuses(case))


def _raised(subject: Subject, verdict: Verdict) -> str:
    """Return the exception in a line; for errors of autograd with the line that needs the value."""
    message = " ".join(verdict.message.partition("Hint: ")[0].split()).rstrip(".")
    if "modified by an inplace operation" not in message:
        return " ".join(verdict.message.split())
    case = Case.from_json(verdict.case)
    with warnings.catch_warnings(record=True) as recorded, suppress(Exception):
        warnings.simplefilter("always")
        with import_torch().autograd.detect_anomaly(check_nan=False):
            built, inputs = subject.build(case), draw_inputs(subject, case)
            built.gradients(inputs, [draw_cotangents(subject, case)])
    lines = re.findall(
        r'File "([^"]+)", line (\d+), in (\w+)', "".join(str(w.message) for w in recorded)
    )
    ours = Path(__file__).parents[1]
    own_lines = [
        at for at in lines
        if not {*Path(at[0]).parts} & {*PACKAGES} and not Path(at[0]).is_relative_to(ours)
    ]  # fmt: skip
    if own_lines:
        file, line, function = own_lines[-1]
        message += f"; it is needed by {Path(file).name}, line {line}, in {function}"
    return message


def _returned(name: str, verdict: Verdict, trial: Trial) -> str:
    """Return the words for a result of a wrong shape or dtype."""
    if verdict.status != "failed" or "comes back in another shape" not in name:
        names = trial.other_dtypes()
        if not names or not name.startswith(tuple(names)):
            return f"{name[0].upper()}{name[1:]}"
        verb = "comes" if len(names) == 1 else "come"
        _, _, rest = name.partition(" comes ")
        return f"{_with_article(listed(names))} {verb} {rest}"
    message = trial.message() or verdict.message
    shapes = re.search(r"expected shape \(([\d, ]+)\), got \(([\d, ]+)\)", message)
    if shapes is None:
        return message[0].upper() + message[1:]
    expected, got = ([*map(int, re.findall(r"\d+", shapes[k]))] for k in (1, 2))
    array = name.removesuffix(" comes back in another shape than it should")
    words = f"{_with_article(array)} comes back in shape {tuple(got)}, not {tuple(expected)}"
    if len(got) == len(expected) > 1 and got == [expected[1], expected[0], *expected[2:]]:
        first = "time" if array == "y" else "layers'"
        return f"{words}: the batch axis stands first instead of the {first} axis"
    if got == [n for n in expected if n != 1]:
        return f"{words}: an axis of length 1 is missing"
    return words


def _other_parameters(message: str) -> str:
    """Return the words for a parameter that is missing, superfluous or of another shape."""
    parts = re.match(r"parameter (\S+): expected (none|\(.*?\)).*, got (none|\(.*?\))", message)
    if parts is None:
        return f"It does not make the parameters that it should: {message.partition(': ')[2]}"
    name, expected, got = parts.groups()
    if expected == "none":
        return f"It makes a parameter {name} that it should not have"
    if got == "none":
        return f"It makes no parameter {name}"
    return f"Its parameter {name} has the shape {got}, not {expected}"


def _with_article(arrays: str) -> str:
    """Return arrays with an article, to begin a sentence without capitalising their names."""
    return f"The output {arrays}" if arrays.partition(" ")[0].strip(",") == "y" else f"The {arrays}"


CATALOGUE = {
    (r"It raises", ("with more than one row",)): "P01",
    (r"The output y comes back in shape .* batch axis stands first", ()): "P07",
    (r"The output y comes back in float64", ()): "P08",
}
"""The ids of mistakes in the catalogue, by a pattern of the statement and the conditions."""


def _id(name: str, statement: str, where: tuple[str, ...]) -> str:
    for (words, conditions), id in CATALOGUE.items():
        if re.match(words, statement) and where == conditions:
            return id
    raised = re.match(r"\w+", name) if statement.startswith("It raises") else None
    return raised[0] if raised else "returned"


def only(where: Sequence[str]) -> str:
    """Return the words that add the conditions to a statement."""
    if where == ("not every time",):
        return ", but not every time"
    return f", only {', '.join(where)}" if where else ""


FIXES = (
    (OTHER_PARAMETERS, "make the parameters for which the constructor's arguments ask, or do not "
     "take an argument that the layer ignores"),
    (r"comes back in another shape", "return it in the shape that it should have: look for a "
     "transpose, squeeze, stack or reshape over the wrong axis"),
    (r"modified by an inplace operation", "do not write into what the backward pass needs: "
     "replace operations in place (mul_, +=, out=) by ones that return a new array"),
    (r"comes back in \w+ for", "give the array that is made there the dtype of the input: "
     "zeros(..., dtype=x.dtype)"),
    (r"not require grad|does not have a grad_fn", "do not detach the outputs from the graph: look "
     "for detach, no_grad, .data or a copy by way of NumPy"),
    (r"[Ee]xpected.*(Double|Float|dtype)|same dtype", "make every array in the dtype of the "
     "input: look for zeros and tensor without a dtype"),
)  # fmt: skip
"""Patterns of messages, and their remedies."""


KEEP_AXES = (
    "{}keep axes of length 1: give squeeze its axis, index by a range, and do not let the length "
    "decide the number of axes"
)


def _fix(verdict: Verdict, where: Sequence[str]) -> str:
    for words, fix in FIXES:
        if re.search(words, f"{verdict.cause} {verdict.message}"):
            return fix
    at = re.search(r"\(([^()]+), line (\d+), in ", verdict.message)
    place = f"line {at[2]} of {at[1]}: " if at else ""
    if any(words_of_one in condition for words_of_one, _ in SIZES.values() for condition in where):
        return KEEP_AXES.format(place)
    if any(condition.startswith("where ") for condition in where):
        return f"{place}tell axes apart by their place, not by their length"
    needed = [words for words in where if words.startswith(("with", "when", "in two", "for"))]
    if needed:
        return (
            f"{place}make it run {', '.join(needed)}, or refuse that with NotImplementedError if "
            f"the layer does not offer it"
        )
    return f"{place}mend what raises there" if at else "mend what raises"
