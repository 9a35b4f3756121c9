"""The ledger of claims: how verdicts follow, what rows hold, the command and its section."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from commands import invoke, refused, said
from gatewise.bench import run
from gatewise.bench.claims import gates, ledger
from gatewise.bench.claims.ledger import (
    FALSE,
    HOLDS,
    HOLDS_WHEN,
    LAW,
    NOT_TESTED,
    OPEN,
    POSSIBLE,
    Claim,
    Curve,
    Evidence,
    Row,
    claim,
    claim_named,
    claims,
    judge,
    plan,
    rows,
    verdict,
)
from gatewise.bench.run import carry_out
from gatewise.reports.section import Figure
from gatewise.reports.sections.claims import LINES, _labels, section
from gatewise.verify.runs.records import RunFileError
from made_runs import bench_run
from planted_in_claims import wrong_vjp

CHEAP = ("C05", "C07", "C19", "N1")


def evidence(reading, says, when=(), ground=True):
    e = Evidence(reading)
    e.ground("the ground", ground)
    for k, holds in enumerate(says):
        e.says(f"predicate {k}", holds, f"case {k}")
    for k, (within, beyond) in enumerate(when):
        e.when(f"condition {k}", within=within, beyond=beyond)
    return e


@pytest.mark.parametrize(("reading", "says", "when", "expected"), [
    (LAW, [True, True], [], (HOLDS, "")),
    (LAW, [True, False], [], (FALSE, "")),
    (LAW, [False], [(True, True)], (FALSE, "")),
    (OPEN, [True], [(True, True)], (HOLDS, "")),
    (OPEN, [False], [(True, True), (True, True)], (HOLDS_WHEN, "condition 0; condition 1")),
    (OPEN, [False], [(False, True), (True, True)], (HOLDS_WHEN, "condition 1")),
    (OPEN, [False], [(True, False)], (FALSE, "")),
    (OPEN, [False], [(False, True)], (FALSE, "")),
    (OPEN, [False], [], (FALSE, "")),
    (POSSIBLE, [False, True], [], (HOLDS, "")),
    (POSSIBLE, [False, False], [], (FALSE, "")),
    (LAW, [], [], (NOT_TESTED, "")),
])  # fmt: skip
def test_verdict_follows_from_predicates(reading, says, when, expected):
    assert verdict(evidence(reading, says, when)) == expected


@pytest.mark.parametrize("reading", [LAW, OPEN, POSSIBLE])
def test_without_its_ground_nothing_is_judged(reading):
    found = verdict(evidence(reading, [True], ground=False))
    assert found == (NOT_TESTED, "it is not so that the ground")


def test_the_first_case_against_is_the_counterexample():
    assert evidence(LAW, [True, False, False]).counterexample == "case 1"
    assert evidence(LAW, [True]).counterexample == ""


def test_numbers_that_json_lacks_are_told_in_words():
    e = Evidence(LAW)
    for value in (2.5, np.inf, np.nan):
        e.number("q", value, "steps")
    e.number("q", -np.inf, note="never")
    assert [n.shown for n in e.numbers] == ["2.5 steps", "infinite", "NaN", "never"]
    e.curve("figure", "line", [0, 1], [np.nan, 1.0])
    assert e.curves[0].y == (None, 1.0)


def test_a_claim_is_registered_once_and_read_in_a_known_way():
    assert [one.id for one in claims()][:2] == ["C01", "C02"]
    with pytest.raises(ValueError, match="C07 is registered twice"):
        claim("C07", "again", documents=(), reading=LAW)(lambda e, rng: None)
    with pytest.raises(ValueError, match="reading: expected one of law, open, possible"):
        claim("X", "x", documents=(), reading="perhaps")
    assert claim_named("c07").id == "C07"
    with pytest.raises(ValueError, match="no claim 'C99'; there are C01, C02"):
        claim_named("C99")


def test_every_claim_stands_somewhere_and_says_what_it_is_about():
    from gatewise.reference.equation import equations

    known = {e.id for e in equations()}
    for one in claims():
        assert set(one.documents) <= {"D0", "D1", "D2", "D3", "D4"}
        assert one.documents
        assert set(one.about) <= known


def test_the_same_seed_measures_the_same_whatever_else_is_judged():
    first, again, other = (judge(claim_named("C02"), seed) for seed in (0, 0, 1))
    judge(claim_named("C19"), 0)
    assert first.numbers == again.numbers == judge(claim_named("C02"), 0).numbers
    assert first.numbers != other.numbers
    assert first.verdict == other.verdict


def test_a_measurement_that_breaks_off_is_a_row():
    def broken(e, rng):
        e.says("so far", True)
        raise ZeroDivisionError("by zero")

    row = judge(Claim("C00", "s", ("D0",), (), LAW, broken), 0)
    assert (row.status, row.verdict) == (ledger.ERROR, NOT_TESTED)
    assert row.message == "ZeroDivisionError: by zero"
    assert not row.judged


def test_a_run_is_carried_out_and_read_again(tmp_path):
    chosen = plan(seed=3, only=["C07", "N1", "c07"])
    assert [piece.id for piece in chosen.pieces] == ["C07", "N1"]
    written = list(carry_out(chosen, tmp_path / "run", "gatewise claims C07 N1"))
    found = rows(run.read(tmp_path / "run").rows)
    assert [row.id for row in found] == ["C07", "N1"] == [row["id"] for row in written]
    assert found[0] == replace(judge(claim_named("C07"), 3), seconds=found[0].seconds)
    with pytest.raises(RunFileError, match="verdict"):
        rows([{**written[0], "verdict": 1}])


def test_the_command_tells_verdicts_and_exits_with_0_though_one_is_false(tmp_path):
    done = invoke("claims C07 --only", "C19, n1,", "--runs", tmp_path)
    assert done.exit_code == 0, done.output
    assert "C07 false as printed\n" in done.output
    assert "against: W = 2I at s = 0" in done.output
    assert "C19 holds when the update gate keeps the old" in done.output
    assert "true, yes: ‖J‖₂ <= ‖W‖₂" in done.output
    assert "0 holds, 1 holds when, 2 false as printed, 0 not tested" in done.output


def test_the_command_exits_with_3_where_a_claim_cannot_be_judged(tmp_path, monkeypatch):
    wrong_vjp(monkeypatch)
    refused(invoke("claims C02 --runs", tmp_path), 3,
            "C02 not tested it is not so that the VJP is the derivative")  # fmt: skip


def test_a_broken_measurement_is_told_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(gates, "_changes", lambda rng, r: 1 / 0)
    done = invoke("claims C18 C19 --runs", tmp_path)
    assert done.exit_code == 3
    assert "error: ZeroDivisionError: division by zero" in said(done)
    assert "C19 holds when" in done.output


def test_the_command_refuses_an_unknown_claim(tmp_path):
    done = invoke("claims C99 --runs", tmp_path)
    refused(done, 2, "no claim 'C99'")
    assert not list(tmp_path.iterdir())


def test_json_and_going_on(tmp_path):
    done = invoke("claims C05 C19 --json --runs", tmp_path)
    values = json.loads(done.stdout)
    assert [value["verdict"] for value in values] == [HOLDS, HOLDS_WHEN]
    (folder,) = tmp_path.iterdir()
    lines = (folder / "rows.jsonl").read_text().splitlines(keepends=True)
    (folder / "rows.jsonl").write_text(lines[0] + lines[1][:20])  # killed while writing
    again = json.loads(invoke("claims --resume", folder, "--json").stdout)
    assert [value["verdict"] for value in again] == [HOLDS, HOLDS_WHEN]


@pytest.fixture(scope="module")
def ledger_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("claims") / "run"
    list(carry_out(plan(seed=0, only=CHEAP), folder, "gatewise claims"))
    return run.read(folder)


def test_the_section_tells_every_verdict_with_its_numbers(ledger_run):
    found = section([ledger_run])
    tables = {part.title: part for part in found.parts if not isinstance(part, Figure)}
    told = {row[0]: row for row in tables["Claims"].rows}
    assert told["C05"][1] == "✓ holds"
    assert told["C07"][1] == "✗ false as printed"
    assert told["C19"][1] == "◐ holds when"
    reasons = {
        row[:2]: row[2] for row in tables["When they hold, and what speaks against them"].rows
    }
    assert "W = 2I" in reasons["C07", "against"]
    assert reasons["C19", "when"].startswith("the update gate keeps the old")
    assert [row[0] for row in tables["Printed numbers, listings and dates"].rows] == ["N1"]
    measured = {(row[0], row[1]): row[2] for row in tables["What was measured"].rows}
    assert measured["C05", "largest σ' found"] == 0.25
    assert measured["C07", "‖J‖₂ at W = 2I, s = 0"] == 2.0
    assert ("C05", "the claim says", "σ' <= 1", "yes") in tables[
        "What the verdicts follow from"
    ].rows
    assert "4 claims and printed numbers" in found.intro[0]


def test_the_section_names_what_was_not_tested_and_the_last_run_counts(tmp_path, ledger_run):
    folder = tmp_path / "run"
    other = plan(seed=0, only=["C05", "C06"])
    next(iter(carry_out(other, folder, "gatewise claims")))
    found = section([ledger_run, run.read(folder)])
    assert "Planned and not tested: C06." in found.intro


def test_figures_are_drawn_from_curves(tmp_path):
    pytest.importorskip("altair")
    curves = tuple(
        Curve(figure, f"line {k}", (5.0, 20.0), (1.0, k / 9), (0.5, 0.0), (1.0, 1.0))
        for figure in ("mitigation", "twenty", "remembering")
        for k in range(3)
    )
    row = Row("C14", "OK", "s", ("D0",), (), OPEN, HOLDS, curves=curves)
    drawn = [part for part in section([made_run(row)]).parts if isinstance(part, Figure)]
    assert [figure.id for figure in drawn] == [
        "claims-mitigation", "claims-twenty", "claims-remembering"]  # fmt: skip
    for figure in drawn:
        spec = figure.chart().to_dict()
        axes = json.dumps(spec)
        assert '"title": "lag (steps)"' in axes
        assert "line 2" in axes


def made_run(row):
    value = json.loads(json.dumps(run.to_json(row)))
    return bench_run("claims", {"id": row.id, **value})


def test_labels_at_the_end_of_lines_keep_apart():
    ends = (0.0, -0.01, -0.02, -5.0, -10.0)
    labels = _labels([Curve("f", str(k), (0.0, 1.0), (0.0, end)) for k, end in enumerate(ends)])
    heights = [label["value"] for label in labels]
    assert heights == sorted(heights, reverse=True)
    assert min(a - b for a, b in pairwise(heights)) >= 10 / LINES - 1e-12
    assert heights[0] == 0.0
