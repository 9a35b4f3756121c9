"""The sessions; ``nox -s NAME`` runs one. CI runs the first three."""

from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types"]
nox.options.error_on_missing_interpreters = True
CONSTRAINTS = ["-c", "constraints.txt"]
SUBJECTS = ["torch:RNN", "torch:LSTM", "torch:GRU"]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, the proofs and the planted errors; arguments go to pytest."""
    session.install(*CONSTRAINTS, "-e", ".[torch,report,test]")
    session.run("pytest", *session.posargs, env={"PYTHONDONTWRITEBYTECODE": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, docstrings, formatting and the direction of imports."""
    session.install(*CONSTRAINTS, ".", "ruff", "import-linter")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    config = str(Path("pyproject.toml").resolve())
    session.chdir(session.create_tmp())  # so that the installed package is linted, not this folder
    session.run("lint-imports", "--config", config, "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Check types strictly, on the installed package."""
    session.install(*CONSTRAINTS, ".[report,test]", "mypy")
    config = str(Path("pyproject.toml").resolve())
    session.chdir(session.create_tmp())
    session.run("mypy", "--strict", "--config-file", config, "-p", "gatewise")


@nox.session
def report(session: nox.Session) -> None:
    """Hold PyTorch's layers against the equations and write the report."""
    session.install(*CONSTRAINTS, "-e", ".[torch,report]")
    page = "reports/out/index.html"
    session.run("gatewise", "verify", *(session.posargs or SUBJECTS), "--report", page)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the reference beside torch.nn.LSTM, and gradcheck beside the gradient checks."""
    session.install(*CONSTRAINTS, "-e", ".[torch,test]")
    session.run("python", "-m", "gatewise.bench.speed_ratio", *session.posargs)
    session.run("python", "-m", "gatewise.bench.gradcheck_cost")


@nox.session
def mutants(session: nox.Session) -> None:
    """Hold every mutant to the checks: each must fail one; arguments go to the command."""
    session.install(*CONSTRAINTS, "-e", ".")
    session.run("gatewise", "mutants", *session.posargs)
