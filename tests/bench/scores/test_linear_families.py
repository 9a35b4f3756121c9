"""Right programs of linear recurrences are not called wrong, in no form and dtype."""

from click.testing import CliRunner

from gatewise.bench.scores import linear_families
from gatewise.bench.scores.linear_families import main, programs, row
from gatewise.verify.checks import check_named


def test_every_cell_stands_in_every_form_that_it_has():
    named = [p.name for p in programs()]
    assert {"mlstm chunk:3", "rwkv6 scan", "selective quotient:3", "slstm steps"} <= set(named)
    assert not {"mlstm scan", "rwkv7 parallel"} & set(named)


def test_right_programs_pass_or_are_blind(monkeypatch):
    monkeypatch.setattr(linear_families, "subject_checks", few)
    for cell, form, dtype in (("rwkv6", "chunk:3", "float16"), ("selective", "scan", "bfloat16")):
        found = row(cell, form, dtype, range(2))
        assert found.wrong == ()
        assert found.passed + found.blind == 4
        assert 0 < found.used < 1


def test_a_state_that_is_kept_in_float32_and_returned_in_bfloat16_is_right(monkeypatch):
    monkeypatch.setattr(linear_families, "subject_checks", lambda: (check_named("transition"),))
    assert row("deltanet", "steps", "bfloat16", range(1)).wrong == ()


def test_attention_is_not_taken_for_a_coarser_dtype(monkeypatch):
    """Its bound is its own, in this check too: that of steps is narrower."""
    monkeypatch.setattr(linear_families, "subject_checks", lambda: (check_named("dtype"),))
    assert row("ssd", "parallel", "float32", range(1)).wrong == ()


def test_bounds_of_a_half_may_mean_nothing(monkeypatch):
    monkeypatch.setattr(linear_families, "subject_checks", few)
    assert row("mlstm", "parallel", "bfloat16", range(1)).blind > 0


def test_a_wrong_program_is_called_wrong(monkeypatch):
    monkeypatch.setattr(linear_families, "subject_checks", few)
    monkeypatch.setattr(linear_families, "programs",
                        lambda: [linear_families.Program("gla", "scan")])  # fmt: skip
    build = linear_families.Program.build

    def backwards(self, case):
        built = build(self, case)

        def run(inputs):
            result = built.forward(inputs)
            return type(result)(result.y[::-1].copy(), result.final)

        return type(built)(run, built.pull)

    monkeypatch.setattr(linear_families.Program, "build", backwards)
    done = CliRunner().invoke(main, ["--dtype", "float32", "--seeds", "1", "--jobs", "1"])
    assert done.exit_code == 1
    assert "forward at seed 0: failed" in " ".join(done.output.split())


def few():
    return (check_named("forward"), check_named("gradient"))
