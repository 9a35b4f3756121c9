"""The report says what happened, shows foreign text as text, and loads nothing."""

import json
import re
from collections import Counter
from dataclasses import fields, replace
from typing import Any

import pytest

from gatewise.reference.documents import examples
from gatewise.reference.equation import equations
from gatewise.reports import summary, tables
from gatewise.reports import words as wording
from gatewise.reports.page import render
from gatewise.reports.typeset import mathml
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Verdict
from gatewise.verify.runs.run import Planned, Run
from gatewise.verify.runs.status import STATUSES
from gatewise.verify.subjects import subject_named
from made_runs import CASE, HOSTILE, Page, failure, run, verdict, words

CHECKS = [check.id for check in subject_checks() if check.concerns(subject_named("torch:GRU"))]


def first_line(made: Run) -> str:
    """The page's h1, without the mark before it."""
    (found,) = re.findall(r"<h1>.*?</span>(.*?)</h1>", render(made), flags=re.DOTALL)
    return " ".join(found.split())


class TestForeignText:
    """Whatever a run contains is shown, and is nothing but text."""

    def filled(self, text: str) -> str:
        """The page of a run with every status, in which every text is this one."""
        names = [f.name for f in fields(Verdict) if f.type == "str" and f.name != "status"]
        spoiled = [
            replace(
                verdict(status=status, equations=[text], cases=k),
                **{name: text if name != "check" else f"{k} {text}" for name in names},
            )
            for k, status in enumerate(STATUSES)
        ]
        spoiled[0].case = json.dumps({text: text})
        made = run(
            *spoiled, unheard=(Planned(text, "unheard", text),), command=text, created=text,
            budget=text, versions={"gatewise": text, text: text}, machine={text: text}, source=text,
        )  # fmt: skip
        return render(made)

    def test_makes_no_markup(self) -> None:
        hostile, harmless = self.filled(HOSTILE), self.filled("harmless")
        shape = [(tag, list(names)) for tag, names in Page(harmless).tags]
        assert [(tag, list(names)) for tag, names in Page(hostile).tags] == shape
        assert words(hostile).count(HOSTILE) == words(harmless).count("harmless") > 20

    def test_stays_inside_attributes(self) -> None:
        quoting, linking = verdict(worst='y" onclick="x'), ["javascript:x", "gru.reset_gate"]
        page = Page(render(run(quoting, failure(equations=linking))))
        assert any('y" onclick="x' in title for title in page.having("title"))
        assert not page.having("onclick")
        assert "#eq-gru.reset_gate" in page.having("href")
        assert not any("javascript" in target for target in page.having("href"))

    def test_is_cleaned_and_cut(self) -> None:
        html = render(run(failure(message="a\ud800b\x00c\u202ed" + "x" * 10**6)))
        assert "a\ufffdb\ufffdc\ufffddx" in html.encode("utf-8").decode("utf-8")
        assert "x" * (wording.LONGEST - 7) in html
        assert "x" * wording.LONGEST not in html
        assert f"and {10**6 + 7 - wording.LONGEST} characters more" in html


class TestVerdict:
    """The first line tells what passed, what failed and what was not tested."""

    def test_all_pass(self) -> None:
        n = 2 * len(CHECKS)
        complete = run(*(verdict(check=c, dtype=f"float{b}") for c in CHECKS for b in (32, 64)))
        assert first_line(complete) == f"{n} of {n} checks pass; nothing planned was left untested."
        assert first_line(run(verdict())) == f"1 of 1 check pass; {n - 1} more were not planned."

    @pytest.mark.parametrize("said", ["failed", "crashed", "timed out", "was not tested",
                                      "was blind"])  # fmt: skip
    def test_one_that_did_not_pass(self, said: str) -> None:
        seven = [verdict("my:layer", f"c{k}") for k in range(7)]
        status = "timeout" if said == "timed out" else said.removeprefix("was ")
        last = verdict("my:layer", status=status)
        assert first_line(run(*seven, last)) == f"1 of 8 checks {said}; 7 passed."

    def test_what_conforms_without_having_passed(self) -> None:
        passed, known = verdict("my:layer", "a"), verdict("my:layer", "b", status="known deviation")
        beyond = [verdict("my:layer", f"c{k}", status="not supported") for k in range(2)]
        found = summary.headline(summary.entries(run(passed, known, *beyond)))
        assert found.tone == "conforms"
        assert found.text == (
            "1 of 4 checks pass; 1 known deviation; 2 were not supported; "
            "nothing planned was left untested."
        )
        found = summary.headline(summary.entries(run(known, *beyond)))
        assert found.tone == "incomplete"

    def test_several(self) -> None:
        unheard = tuple(Planned("my:layer", "gradient", d) for d in ("float32", "float64"))
        verdicts = failure("my:layer"), failure("my:other", status="crashed"), verdict("my:third")
        found = summary.headline(summary.entries(run(*verdicts, unheard=unheard)))
        expected = "1 of 5 checks failed, 1 crashed and 2 were not tested; 1 passed."
        assert found == summary.Headline("differs", expected)

    def test_nothing_tested(self) -> None:
        made = run(unheard=(Planned("torch:LSTM", "forward", "float64"),), versions={}, machine={})
        assert first_line(made) == "Nothing was tested: 1 check planned, none run."
        assert summary.headline(()).tone == "incomplete"

    def test_of_two_verdicts_the_worse_counts(self) -> None:
        for pair in ((failure(), verdict("torch:GRU")), (verdict("torch:GRU"), failure())):
            assert [row.status for row in summary.entries(run(*pair))] == ["failed"]


class TestTables:
    """Subjects against checks, subjects against equations, and what a failure opens to."""

    def test_planned_without_a_verdict_is_not_tested(self) -> None:
        html = render(run(verdict(), unheard=(Planned("torch:LSTM", "gradient", "float32"),)))
        assert re.search(r'<td class="not-tested"><a href="#not-tested">○ not tested</a>', html)
        assert f"torch:LSTM gradient float32 {summary.ENDED}" in words(html, "not-tested")
        assert "gradient float64" in words(html, "not-planned").partition("Conformance")[0]

    def test_place_for_every_subject_check_and_dtype(self) -> None:
        verdicts = [verdict(f"torch:{k}", dtype="float32") for k in range(4)]
        verdicts += [verdict(f"onnx:{k}", "gradient") for k in range(3)]
        grid = tables.grid(summary.entries(run(*verdicts)))
        names = [*(f"torch:{k}" for k in range(4)), *(f"onnx:{k}" for k in range(3))]
        assert [column.subject for column in grid.subjects] == names
        assert [c.dtypes for c in grid.subjects] == [("float32",)] * 4 + [("float64",)] * 3
        planned = {check: [entry is not None for entry in row] for check, row in grid.rows.items()}
        assert planned == {"forward": [True] * 4 + [False] * 3,
                           "gradient": [False] * 4 + [True] * 3}  # fmt: skip
        assert render(run(*verdicts)).count('<td class="absent">not planned') == 7

    def test_each_subject_in_numbers(self) -> None:
        known = verdict("mlx:GRU", "gradient", status="known deviation", version="mlx 3")
        html = render(run(verdict(), verdict("mlx:GRU", version="mlx 3"), known))
        table = html[html.index('aria-label="Each subject in numbers"') :].partition("</table>")[0]
        assert "mlx:GRU mlx 3 1 1" in words(table)
        assert "Subjects in numbers" not in render(run(verdict()))

    @pytest.mark.parametrize("ratio", [0.25, float("nan"), 2**9999, -1.0, None, True], ids=type)
    def test_bears_any_number(self, ratio: Any) -> None:
        html = render(run(failure(worst_ratio=ratio), verdict(worst_ratio=ratio)))
        cell = rf'class="passed heat-{wording.heat(ratio)}"[^>]*>.*{wording.shown(ratio)}</td>'
        assert re.search(cell, html)

    def test_failure_tells_everything(self) -> None:
        html = render(run(failure()))
        for part in (
            "torch:GRU forward float64 ✕ failed 4.0·10¹² × bound in final c",
            "y[0] = 1, expected 2 ± 3e-16", "T 3 B 1 D 2 H 2 scale large",
            f"gatewise verify torch:GRU --case '{CASE}'", "E21 gru.reset_gate no.such",
        ):  # fmt: skip
            assert part in words(html, "failed").partition("Conformance")[0]
        assert Page(html).having("href").count("#failure-1") == 1

    def test_standing_of_equations(self) -> None:
        """Two of three checks passed: the subject's standing says so, in its worst status."""
        passed = [verdict("torch:GRU", c, equations=["gru.reset_gate"]) for c in ("a", "b")]
        (standing,) = tables.standings(summary.entries(run(failure(), *passed)))["gru.reset_gate"]
        assert standing == tables.Standing("torch:GRU", "failed", 2, 3, 0)
        lacking = verdict("torch:GRU", "c", status="not supported", equations=["gru.reset_gate"])
        rows = summary.entries(run(*passed, lacking))
        (standing,) = tables.standings(rows)["gru.reset_gate"]
        assert standing == tables.Standing("torch:GRU", "passed", 2, 2, 1)
        unheard = (Planned("torch:LSTM", "gradient", "float64"),)
        found = tables.standings(summary.entries(run(unheard=unheard)))
        assert "gru.reset_gate" not in found
        assert {"bptt.backpropagate", "lstm.cell_state"} < found.keys()
        assert found["lstm.cell_state"][0].status == "not tested"


class TestPage:
    """One file, complete, that loads nothing."""

    def test_loads_nothing(self) -> None:
        unheard = (Planned("torch:LSTM", "gradient", "float32"),)
        blind = verdict(check="x", status="blind")
        html = render(run(verdict(), failure(), blind, unheard=unheard))
        page = Page(html)
        ids = Counter(page.having("id"))
        assert set(ids.values()) == {1}
        links = {href for href in page.having("href") if not href.startswith("data:text/csv;")}
        assert {"data:,", *(f"#{name}" for name in ids)} >= links
        assert not {"script", "iframe", "img", "object", "base"} & {tag for tag, _ in page.tags}
        assert not any(map(page.having, ("src", "srcset", "action", "style", "background")))
        assert any(p.startswith("default-src 'none'") for p in page.having("content"))
        assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/1998/Math/MathML)", html)

    def test_is_small(self) -> None:
        """Ten subjects that fail two dozen checks, with long messages, make a megabyte.

        A failure adds two kilobytes; what is there without, all equations among it, is apart, as
        each new cell adds to that.
        """
        verdicts = [
            failure(f"torch:{k}", check=c, dtype=d, message="y is wrong; " * 40)
            for k in range(10) for c in CHECKS[:24] for d in ("float32", "float64")
        ]  # fmt: skip
        html = render(run(*verdicts))
        assert html.count('<details class="failure"') == len(verdicts)
        without = render(run(verdicts[0]))
        assert len(without.encode()) < 3 * 2**17
        assert len(html.encode()) - len(without.encode()) < 2000 * (len(verdicts) - 1)

    def test_has_every_equation(self) -> None:
        html = render(run())
        for equation in equations():
            _, _, rest = html.partition(f'<article id="eq-{equation.name}">')
            article, _, _ = rest.partition("</article>")
            assert article.count("<math ") == 1
            assert " · ".join(equation.documents) in words(article)

    def test_has_errata_and_environment(self) -> None:
        html = render(run())
        assert re.search(r"= \(0\.7941, .{0,20} true .{0,40}0\.97314288", words(html, "errata"))
        for mark, agrees in (("✓ as printed", True), ("✕ erratum", False)):
            assert words(html).count(mark) == sum(e.agrees == agrees for e in examples()) > 0
        for part in ("seed 7", "cores 8", "verify torch:LSTM", "changes not in the commit"):
            assert part in words(html, "environment")


@pytest.mark.parametrize(("latex", "expected"), [
    (r'a < "b"', "<mo>&lt;</mo>"),
    (r'a < "b"', 'alttext="a &lt; &quot;b&quot;"'),
    (r"\mathrm{softmax}(x)", "<mi>softmax</mi><mo"),
    (r"\max(-x)", '<mi>max</mi><mo stretchy="false">(</mo><mo form="prefix">'),
    (r"y \log x", '<mspace width="0.167em" /><mi>log</mi><mspace width="0.167em" />'),
    (r"\left( \prod_{j}^{t} j \right)", "<munderover><mo>∏</mo>"),
    (r"\Delta", '<mi mathvariant="normal">Δ</mi>'),
    (r"s_{k'}", "<mrow><mi>k</mi><mi>\N{PRIME}</mi></mrow>"),
])  # fmt: skip
def test_typesetting(latex: str, expected: str) -> None:
    assert expected in mathml(latex)


@pytest.mark.parametrize(
    ("ratio", "text", "heat"),
    [
        (None, "", 0), (0, "0", 0), (2e-5, "2.0·10⁻⁵", 0), (10**-3.5, "3.2·10⁻⁴", 1),
        (0.01, "0.010", 4), (0.2, "0.20", 7), (1.0, "1.0", 8), (9.96, "10", 8), (123.4, "123", 8),
        (4.38e12, "4.4·10¹²", 8), (float("inf"), "∞", 8), (float("nan"), "NaN", 0),
    ],
)  # fmt: skip
def test_numbers(ratio: float | None, text: str, heat: int) -> None:
    """Two digits, and a step of the colour scale for every half decade from 1e-4 to 1."""
    assert (wording.shown(ratio), wording.heat(ratio)) == (text, heat)


def test_parts_of_texts() -> None:
    parts = wording.case_items('{"T": 3, "bias": false, "scale": "unit"}')
    assert parts == (("T", "3"), ("bias", "false"), ("scale", "unit"))
    assert {wording.case_items(text) for text in ("", "[1]", "{", "[" * 10**5)} == {()}
    ids = ("gradient[lstm]", "chain.states", "gradient[gru]")
    assert wording.families(ids) == {"gradient": ("lstm", "gru"), "chain.states": ()}
