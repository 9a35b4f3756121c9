"""The command: exit codes, messages without tracebacks, JSON."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatewise.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def test_verify_passes_and_leaves_a_run(run, tmp_path):
    """Exit 0, a table, and the run's folder with every planned verdict."""
    result = run("verify", "torch:RNN", "--budget", "quick", "--check", "forward")

    assert result.exit_code == 0
    assert result.output.count("passed") == 2
    (folder,) = (tmp_path / "runs").iterdir()
    assert len((folder / "verdicts.jsonl").read_text().splitlines()) == 2


def test_verify_reports_a_wrong_subject(run, monkeypatch):
    """Exit 1, the quantity, the equations and the command that makes it again."""
    from gatewise.verify.subjects import torch_parameters

    right = torch_parameters.to_reference

    def swapped(case, cell, named):
        turned = {k: a[::-1] if k.startswith("weight_ih") else a for k, a in named.items()}
        return right(case, cell, turned)

    monkeypatch.setattr(torch_parameters, "to_reference", swapped)
    result = run("verify", "torch:LSTM", "--check", "forward", "--dtype", "float64")

    assert result.exit_code == 1
    assert "failed" in result.output
    assert "lstm.forget_gate" in result.output
    assert 'again: gatewise verify torch:LSTM --check forward --case \'{"T": 1' in result.output


def test_one_case_again(run):
    """--case runs that case alone, in its dtype."""
    case = '{"T": 3, "B": 2, "D": 2, "H": 3, "dtype": "float32"}'
    result = run("verify", "torch:GRU", "--check", "gradient", "--case", case, "--json")
    (verdict,) = json.loads(result.output)

    assert result.exit_code == 0
    assert (verdict["cases"], verdict["dtype"], verdict["status"]) == (1, "float32", "passed")


def test_an_interrupted_run_keeps_its_verdicts(run, monkeypatch):
    """Ctrl-C is exit 3, one sentence, and the report of the cut-off run says what is missing."""
    from gatewise.verify import session

    real = session.hold

    def interrupted(subject, check, dtype, **options):
        if dtype == "float32":
            raise KeyboardInterrupt
        return real(subject, check, dtype, **options)

    monkeypatch.setattr(session, "hold", interrupted)
    result = run("verify", "torch:RNN", "--budget", "quick", "--check", "forward")

    assert result.exit_code == 3
    assert "interrupted; finished verdicts are kept in runs" in result.output
    assert run("report", "-o", "page.html").exit_code == 0
    assert "1 of 2 checks was not tested" in Path("page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("arguments", "message"), [
    (["torch:FOO"], "subject 'torch:FOO' is not known; there are torch:GRU"),
    (["torch:RNN", "--check", "foo"], "check 'foo' is not known; there are forward, gradient"),
    (["torch:RNN", "--case", "{"], "case: expected JSON"),
    (["torch:GRUCell", "--case", '{"T":1,"B":1,"D":1,"H":1,"layers":2}'], "does not offer layers"),
    (["torch:GRU", "--case", '{"T":9,"B":1,"D":1,"H":3,"P":2}'], "does not offer projection"),
    (["torch:GRU", "--case", '{"T":1,"B":1,"D":1,"H":1}'], "check transition: expected T > 4"),
    (["torch:RNN", "--budget", "vast"], "'vast' is not one of"),
    (["torch:RNN", "--seed", "-1"], "-1 is not in the range"),
    ([], "Missing argument"),
])  # fmt: skip
def test_usage_errors(run, arguments, message):
    """Exit 2 and one sentence."""
    result = run("verify", *arguments)

    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_missing_package_is_exit_3(run, monkeypatch):
    """Without torch nothing was tested, and that is not success."""
    from gatewise.verify.subjects import torch_layers
    from gatewise.verify.subjects.protocol import SubjectUnavailable

    def missing():
        raise SubjectUnavailable("PyTorch is not installed; install it with: pip install torch")

    monkeypatch.setattr(torch_layers, "import_torch", missing)
    result = run("verify", "torch:RNN", "--check", "forward")

    assert result.exit_code == 3
    assert "not tested: PyTorch is not installed" in result.output


def test_a_crashed_subject_is_exit_1(run, monkeypatch):
    """A subject that raises does not conform."""
    from gatewise.verify.subjects import torch_layers

    def crash(*arguments):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(torch_layers.TorchLayer, "_call", crash)
    result = run("verify", "torch:RNN", "--check", "forward", "--dtype", "float64")

    assert result.exit_code == 1
    assert "crashed: RuntimeError: no kernel" in result.output


def test_a_blind_check_is_exit_3(run):
    """What could not have failed has not been tested."""
    case = '{"T": 60, "B": 1, "D": 3, "H": 30, "scale": "large", "dtype": "float32", "seed": 1}'
    result = run("verify", "torch:RNN", "--check", "forward", "--case", case)

    assert result.exit_code == 3
    assert "blind: no case had a bound sharp enough to fail" in result.output


def test_the_newest_run_is_reported(run, tmp_path):
    """Of several runs, ``report`` takes the one made last."""
    for subject in ("torch:RNN", "torch:GRU"):
        run("verify", subject, "--budget", "quick", "--check", "forward", "--dtype", "float64")
    run("report", "-o", "page.html")

    assert "<bdi>torch:GRU</bdi>" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<bdi>torch:RNN</bdi>" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_report_of_the_newest_run(run, tmp_path):
    """``report`` finds the newest run, writes one page and says where it lies."""
    run("verify", "torch:RNN", "--budget", "quick", "--check", "forward")
    result = run("report", "-o", "out/page.html")

    assert result.exit_code == 0
    assert result.output.strip() == f"report: {tmp_path / 'out' / 'page.html'}"
    assert "torch:RNN" in (tmp_path / "out" / "page.html").read_text(encoding="utf-8")


def test_verify_writes_the_report_last(run, tmp_path):
    """``verify --report`` ends by printing where the page lies."""
    result = run("verify", "torch:RNN", "--budget", "quick", "--check", "forward",
                 "--report", "page.html")  # fmt: skip

    assert result.output.rstrip().endswith(f"report: {tmp_path / 'page.html'}")


@pytest.mark.parametrize("what", ["nowhere", "empty"])
def test_report_without_a_run(run, tmp_path, what):
    """Exit 3 and one sentence where there is nothing to report."""
    (tmp_path / "empty").mkdir()
    result = run("report", what) if what == "nowhere" else run("report", "--runs", "empty")

    assert result.exit_code == 3
    assert "there is no" in result.output


@pytest.mark.parametrize("listing", ["cells", "subjects", "checks", "examples", "equations"])
def test_listings_are_json_too(run, listing):
    """Every listing prints text for people and JSON for programs."""
    text, objects = run(listing), run(listing, "--json")

    assert text.exit_code == objects.exit_code == 0
    assert len(json.loads(objects.output)) >= 4
    assert len(text.output.splitlines()) >= 4


def test_prove_one_equation(run):
    """``prove E08`` runs the proofs about E08, and an unknown one is a usage error."""
    result = run("prove", "E08")

    assert result.exit_code == 0
    assert "holds  chain.product" in result.output
    assert run("prove", "E99").exit_code == 2
