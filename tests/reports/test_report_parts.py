"""Parts of the report that only some runs have: diagnoses, conventions, and very many results."""

import base64
import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gatewise.reports import conventions
from gatewise.reports.page import render
from gatewise.reports.section import Table
from gatewise.reports.typeset import subscripted
from gatewise.verify.runs import run as run_files
from gatewise.verify.runs.diagnosis import Diagnosis, Explanation
from gatewise.verify.runs.records import RunFileError
from gatewise.verify.runs.status import STATUSES
from made_runs import HOSTILE, Page, failure, run, verdict, words


class TestDiagnoses:
    """What explains failures stands first on the page."""

    DIAGNOSIS = Diagnosis(
        "torch:LSTM", "float64", "explained", ("forward",),
        [Explanation((HOSTILE,), (f"Gates are swapped. {HOSTILE}",), ("swap them back",))],
        tried=10**18, experiments=3, runner_up=4.25, runner_up_name="Peepholes are exchanged.",
    )  # fmt: skip

    def test_are_shown_as_text(self) -> None:
        html = render(replace(run(failure("torch:LSTM")), diagnoses=(self.DIAGNOSIS,)))
        assert "Gates are swapped. &lt;" in html
        assert HOSTILE not in html
        assert "the nearest other is 4.2 times rounding off: Peepholes are exchanged." in html

    def test_without_an_explanation_the_page_says_so(self) -> None:
        unknown = Diagnosis("torch:LSTM", "float64", "unexplained", message="no known mistake")
        assert "no known mistake" in render(
            replace(run(failure("torch:LSTM")), diagnoses=(unknown,))
        )

    def test_that_have_another_form_are_refused(self, tmp_path: Path) -> None:
        run_files.start(tmp_path / "r", command="c", seed=0, budget="quick", planned=[])
        (tmp_path / "r" / "diagnoses.jsonl").write_text('{"subject": 3}\n')
        with pytest.raises(RunFileError, match=r"diagnoses.jsonl:1: subject: expected str"):
            run_files.read(tmp_path / "r")


class TestConventions:
    """How subjects mean their parameters, as their adapters state it."""

    def test_are_a_table_of_the_subjects_that_state_one(self) -> None:
        names = ["keras:GRU", "haiku:LSTM (run 2)", "torch:LSTM", "my.py:LSTM"]
        (section,) = conventions.section(names)
        rows = {row[0]: row[1:6] for row in section.parts[0].rows}
        assert rows == {
            "keras:GRU": ("z r n", "[D, 3H]", "zrn, zrm",
                          "after the product, z = share of the old kept", ""),
            "haiku:LSTM (run 2)": ("i g f o", "[D+H, 4H]", "igfo", "", "f + 1"),
            "torch:LSTM": ("i f g o", "[4H, D]", "ifgo, ifgo", "", ""),
        }  # fmt: skip

    def test_are_left_out_where_nobody_states_one(self) -> None:
        assert 'id="conventions"' in render(run(verdict("torch:LSTM")))
        assert 'id="conventions"' not in render(run(verdict("my.py:LSTM")))


class TestLargeRuns:
    """The table can be filtered, and many results are counted where there is no place for each."""

    def test_columns_are_filtered_by_dtype_and_cell(self) -> None:
        """No text of a run becomes a name on the page: boxes and columns are numbered."""
        made = run(verdict("a"), verdict("a", dtype="float32"), verdict("b", cell=HOSTILE))
        page = Page(render(made))
        boxes = [a["id"] for tag, a in page.tags if tag == "input"]
        columns = [a.get("class", "").split() for tag, a in page.tags if tag == "col"][1:]

        assert boxes == ["show-0", "show-1", "show-2", "show-3", "show-passed"]
        assert columns == [["of-0", "of-2"], ["of-1", "of-2"], ["of-0", "of-3"]]

    def test_every_box_has_its_rule(self) -> None:
        made = run(*(verdict("a", status=status, check=status) for status in STATUSES))
        html = render(made)
        for box in re.findall(r'type="checkbox" id="([^"]*)"', html):
            assert f"#{box}:not(:checked)" in html

    def test_many_results_are_counted(self) -> None:
        many = [verdict(f"s{s}", f"c{c}") for s in range(151) for c in range(100)]
        html = render(run(failure("odd"), *many))
        page = words(html)

        assert "With 15101 results there is no place for each" in page
        assert 'class="grid"' not in html
        assert "4.0·10¹²" in page

    def test_results_are_a_file_without_formulas(self) -> None:
        html = render(run(verdict("=cmd()", worst="@x")))
        link = re.search(r'download="results.csv" href="data:text/csv;base64,([^"]*)"', html)
        assert link is not None
        (row,) = csv.DictReader(io.StringIO(base64.b64decode(link[1]).decode()))
        assert (row["subject"], row["worst in"], row["error/bound"]) == ("'=cmd()", "'@x", "0.25")


class TestSubscripts:
    """Quantities in sentences are set as in formulas; names in code, and markup, stay as text."""

    @pytest.mark.parametrize(("text", "markup"), [
        ("reads h_{t-1} at step t", "reads h<sub>t−1</sub> at step t"),
        ("W_i and dh_t", "W<sub>i</sub> and dh<sub>t</sub>"),
        ("∂a_t/∂a_{t-1}", "∂a<sub>t</sub>/∂a<sub>t−1</sub>"),
        ("bias_ih_l1, my_x, x_proj, _h", "bias_ih_l1, my_x, x_proj, _h"),
        ("<b>_t h_{<i>}", "&lt;b&gt;_t h<sub>&lt;i&gt;</sub>"),
    ])  # fmt: skip
    def test_are_set_below_the_line(self, text: str, markup: str) -> None:
        assert subscripted(text) == markup

    def test_numbers_are_left_as_they_are(self) -> None:
        assert subscripted(0.5) == 0.5


def test_every_column_has_a_heading() -> None:
    with pytest.raises(ValueError, match="What it costs: a heading is empty"):
        Table("What it costs", ("quantity", ""), ())
