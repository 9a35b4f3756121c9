"""The kill matrix as a run: rows on disk when decided, gone on with, and told in a report."""

import json
from dataclasses import replace

import pytest

from commands import invoke
from gatewise.bench import run
from gatewise.bench.scores import kill_matrix
from gatewise.bench.scores.kill_matrix import Row
from gatewise.reports.sections import sections
from gatewise.verify.subjects import subject_named
from made_runs import bench_run


@pytest.fixture
def decided(monkeypatch):
    """Nothing is run: rows are killed by the check that should see them; Ctrl-C before ``stop``."""
    seen = []

    def decide(rows, *settings, full):
        for row in rows:
            if row.id == getattr(decide, "stop", None):
                raise KeyboardInterrupt
            seen.append(row.id)
            row.killed_by = row.expected[:1]
            yield row

    monkeypatch.setattr(kill_matrix, "decided", decide)
    return decide, seen


def test_a_check_that_a_mutant_invents_is_refused(monkeypatch):
    """Another check would kill it, and nobody would see that the one it names does not."""
    invented = replace(kill_matrix.mutants()[0], killed_by=("forwrd", "forward"))
    monkeypatch.setattr(kill_matrix, "mutants", lambda: (invented,))
    done = invoke("mutants", invented.id)

    assert done.exit_code == 2
    assert f"mutant {invented.id}: killed_by: no check is called forwrd\n" in done.output


def test_an_interrupted_matrix_goes_on_where_it_was(decided, here):
    decide, seen = decided
    decide.stop = "mutant:L01[lstm-peephole] float64"
    stopped = invoke("mutants L01 C03 --budget quick")
    (folder,) = (here / "runs").iterdir()

    assert stopped.exit_code == 3
    assert f"go on with: gatewise mutants --resume runs/{folder.name}" in stopped.stderr
    assert seen == ["mutant:L01[lstm] float64"]

    decide.stop = None
    done = invoke("mutants --resume", folder, "--json")
    assert done.exit_code == 0, done.output
    assert seen == [f"mutant:{m} float64" for m in ("L01[lstm]", "L01[lstm-peephole]", "C03[gru]")]
    assert {row["mutant"] for row in json.loads(done.stdout)} == {"L01", "C03"}
    assert run.read(folder).untested == ()


def test_a_run_of_something_else_is_not_gone_on_with(tmp_path):
    run.start(tmp_path / "r", kind="decay", command="c", seed=0, settings={}, planned=[])
    told = invoke("mutants --resume", tmp_path / "r")
    assert told.exit_code == 2
    assert "a run of decay, not of mutants" in told.stderr


@pytest.mark.parametrize(("expected", "killed_by", "word", "wrong"), [
    (["forward"], ["forward"], "killed", False),
    (["forward"], [], "SURVIVED", True),
    ([], [], "passes", False),
    ([], ["forward"], "CALLED WRONG", True),
])  # fmt: skip
def test_the_report_says_what_became_of_each(tmp_path, expected, killed_by, word, wrong):
    """What the checks get wrong stands first."""
    row = Row("L01", "lstm", "float64", "i and f are exchanged.", "", expected, killed_by)
    run.start(tmp_path, kind="mutants", command="c", seed=0, settings={}, planned=[row.id])
    run.append(tmp_path, {"id": row.id, "status": "OK", "row": vars(row)})
    (section,) = sections([run.read(tmp_path)])
    titles = [part.title for part in section.parts]

    assert section.parts[-1].rows[0][3] == word
    assert ("What the checks get wrong" in titles) is wrong


def test_settings_are_those_of_the_run(decided, tmp_path):
    list(kill_matrix.decide(
        tmp_path / "r", {"mutants": ["C03"], "budget": "quick", "full": False}, seed=3, jobs=1,
        command="c",
    ))  # fmt: skip
    before = run.read(tmp_path / "r")
    assert (before.seed, before.settings["budget"], before.planned) == (
        3, "quick", ("mutant:C03[gru] float64",),
    )  # fmt: skip


def test_layers_that_quantise_wrongly_are_held_to_checks_of_their_arithmetic():
    """The one that is about the mistake first, and none that right layers of it may fail."""
    (row,) = kill_matrix.blank_rows(kill_matrix.choose(["Z14"]))
    order = kill_matrix.order(row)

    assert row.id == "mutant:Z14[lstm] float32"
    assert "activations of 8 bits" in subject_named(row.name).version()
    assert order[:2] == ["saturation", "forward"]
    assert "batch-single" not in order


@pytest.mark.parametrize("only", ["wrong", "right"])
def test_only_the_wrong_or_only_the_right_ones(only):
    told = invoke("mutants --only", only, "--list", "--json")
    assert told.exit_code == 0, told.output
    listed = json.loads(told.stdout)
    assert {row["mutant"][0] == "R" for row in listed} == {only == "right"}
    assert len(listed) > 50


def test_the_report_says_at_which_budget_each_was_held():
    made = []
    for budget, checks in (("standard", ["forward"]), ("quick", [])):
        row = vars(Row("L01", "gru", "float64", "s", "", checks, checks))
        row = {"id": "a", "status": "OK", "row": row}
        made.append(bench_run("mutants", row, settings={"budget": budget}))
    (told,) = sections(made)
    assert "1 of 1 wrong layers fail a check (budget: standard)" in told.intro[0]
    assert "otherwise, fail none (budget: quick)." in told.intro[0]
