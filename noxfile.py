"""The sessions; ``nox -s NAME`` runs one. CI runs the first three, and ``portable`` in part."""

import argparse
import os
import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["tests", "lint", "types"]
nox.options.error_on_missing_interpreters = True
CONSTRAINTS = ["-c", "constraints.txt"]
TESTED = ".[torch,report,figures,test,onnx,convert,bfloat16]"
SUBJECTS = ["torch:RNN", "torch:LSTM", "torch:GRU"]
BENCHES = {
    "ladder": ["speed", "ladder:*", "--shapes", "ladder"],
    "decay": ["decay"],
    "forms": ["forms"],
    "memory": ["memory", "--lag", "8", "--lag", "32", "--seeds", "2"],
    "speed": ["speed", "--shapes", "curves"],
}
"""Small settings of each bench; all together take ten minutes on two cores."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CONFORMANCE = Path("reports/out/conformance")
FIELD = Path("reports/results/field/history.jsonl")
DECLARED = Path("reports/results/conformance/deviations.toml")
DECLARED_ABOVE_QUICK = Path("reports/results/conformance/deviations-standard.toml")


@dataclass(frozen=True)
class Environment:
    """Frameworks that install together: extras, the families of subjects, variables."""

    extras: str
    families: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)


ENVIRONMENTS = {
    "onnx": Environment("onnx", ("onnxruntime", "onnxruntime-quantised", "onnx-reference")),
    "litert": Environment("litert", ("litert-quantised",)),
    "openvino": Environment("openvino", ("openvino",)),
    "mlx": Environment("mlx,ncnn", ("mlx", "ncnn")),
    "jax": Environment("jax", ("flax-linen", "flax-nnx", "equinox", "haiku")),
    "keras": Environment("keras", ("keras",), {"KERAS_BACKEND": "torch"}),
    "torch": Environment("torch,onnx", ("torch", "torch-export", "torch-onnx", "torch-quantised")),
    "torch-cells": Environment("flashrnn,ncps,xlstm", ("flashrnn", "ncps", "xlstm")),
    "executorch": Environment("executorch", ("executorch",)),
    "paddle": Environment("paddle", ("paddle",)),
    "tensorflow": Environment("tensorflow", ("tensorflow",)),
}

PACKAGES = Path("reports/results/conformance/packages.txt")
"""Packages with layers of their own, installed together and without their dependencies."""
PACKAGE_FAMILIES = (
    "allennlp-light", "brevitas", "deepctr-torch", "fla", "gru-qat", "mambapy", "minGRU-pytorch",
    "mlstm-kernels", "neuralhydrology", "opacus", "pytorch-forecasting", "recurrentgemma", "sru",
    "torchrecurrent", "torchrl", "tracetorch", "transformers", "transformers-layers", "xlstm-cells",
)  # fmt: skip


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, the proofs and the planted errors; arguments go to pytest."""
    session.install(*CONSTRAINTS, "-e", TESTED)
    # Compiled once, or each of many hundred processes compiles anew what it imports; the tests
    # write none, as layers that they rewrite within a second would be taken for the old ones.
    rooms = ("__init__.py", "__main__.py", "reference", "verify", "bench", "reports", "cli")
    session.run("python", "-m", "compileall", "-q", "-x", "/results/", *rooms)
    # One more than there are cores: some tests wait for processes and time limits.
    workers = str((os.cpu_count() or 1) + 1)
    processes = ("-n", workers, "--dist", "worksteal")
    session.run("pytest", *processes, *session.posargs, env={"PYTHONDONTWRITEBYTECODE": "1"})


@nox.session
def files(session: nox.Session) -> None:
    """Run the tests of model files with every runtime of them; ``tests`` has ONNX Runtime alone."""
    extras = "-e", ".[onnx,openvino,litert,convert,bfloat16,report,test]"
    session.install(*CONSTRAINTS, *extras, "tract")
    places = ("tests/verify/models", "tests/cli/test_model_files.py", "tests/docs")
    session.run("pytest", *places, *session.posargs)


@nox.session
def portable(session: nox.Session) -> None:
    """Run the suite under several instruction sets, threads and Pythons; hold verdicts equal.

    ``-- --quick`` takes the tests of numbers and two settings, names choose settings or Pythons.
    ``-- --no-install`` takes what is there (nox --no-venv).
    """
    names = [name for name in session.posargs if name != "--no-install"]
    if "--no-install" not in session.posargs:
        session.install(*CONSTRAINTS, "-e", TESTED)
    session.run("python", "-P", "tests/portable.py", *names)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation as a site, reports/out/site; a warning is an error."""
    session.install(*CONSTRAINTS, ".[report,docs]")  # not -e: the folder has more than the package
    # -P: the folder of the programs has one that is called gatewise, and is no package
    session.run("python", "-P", "-m", "mkdocs", "build", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, docstrings, formatting and the direction of imports."""
    session.install(*CONSTRAINTS, "ruff", "import-linter")
    session.install("--no-deps", ".")  # what it imports is not needed to read its imports
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
    session.run("mypy", "--strict", "-n", "auto", "--config-file", config, "-p", "gatewise")


@nox.session
def browser(session: nox.Session) -> None:
    """Open the report in Chromium, without a network, and time a big one; skipped without it."""
    session.install(*CONSTRAINTS, "-e", ".[report,figures,browser]")
    session.run("pytest", "tests/browser", *session.posargs)
    session.run("python", "tests/browser/page_time.py")


@nox.session
def junit(session: nox.Session) -> None:
    """Hold JUnit XML to the schema of Jenkins' xUnit plugin, as pytest's source comes with it."""
    session.install(*CONSTRAINTS, "-e", ".[report,test]", "xmlschema")
    folder = Path(session.create_tmp())
    session.run("pip", "download", "-q", *CONSTRAINTS, "--no-deps", "--no-binary", "pytest",
                "-d", str(folder), "pytest")  # fmt: skip
    (source,) = folder.glob("pytest-*.tar.gz")
    with tarfile.open(source) as archive:
        schema = f"{source.name.removesuffix('.tar.gz')}/testing/example_scripts/junit-10.xsd"
        archive.extract(schema, folder, filter="data")
    session.run("pytest", "tests/reports/test_junit_schema.py", *session.posargs,
                env={"GATEWISE_JUNIT_XSD": str((folder / schema).resolve())})  # fmt: skip


@nox.session
def report(session: nox.Session) -> None:
    """Hold PyTorch's layers against the equations and write the report."""
    session.install(*CONSTRAINTS, "-e", ".[torch,report]")
    page = "reports/out/index.html"
    session.run("gatewise", "verify", *(session.posargs or SUBJECTS), "--report", page)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benches, small, into one report; name some of them, or give --full, after ``--``.

    Without arguments, pytest-benchmark also times the same calls, and its JSON is kept.
    """
    session.install(*CONSTRAINTS, "-e", ".[torch,report,figures,test]")
    names = [name for name in session.posargs if name in BENCHES] or list(BENCHES)
    options = [option for option in session.posargs if option not in BENCHES]
    folders = [_bench(session, name, options) for name in names]
    session.run("gatewise", "report", *folders, "-o", "reports/out/bench/index.html")
    if omitted := [name for name in BENCHES if name not in names]:
        session.log(f"left out: {', '.join(omitted)}")
    if not session.posargs:
        benchmark_json = "--benchmark-json=reports/out/bench/pytest-benchmark.json"
        session.run("pytest", "bench", "-q", "--benchmark-max-time=0.2", benchmark_json,
                    env=dict.fromkeys(ONE_THREAD, "1"))  # fmt: skip


def _bench(session: nox.Session, name: str, options: list[str]) -> str:
    """Run one bench; return the folder of its run. Exit code 1 is a finding, and in the report."""
    runs = Path("reports/out/bench") / name
    before = set(runs.glob("*/run.json"))
    full = "--full" in options and name != "ladder"  # whose shapes are its own
    bench = BENCHES[name][:1] if full else BENCHES[name]
    session.run("gatewise", "bench", *bench, *options, "--runs", str(runs),
                success_codes=[0, 1, 3])  # fmt: skip
    (record,) = set(runs.glob("*/run.json")) - before
    return str(record.parent)


@nox.session
def reference_speed(session: nox.Session) -> None:
    """Measure the reference beside torch.nn.LSTM, and gradcheck beside the gradient checks."""
    session.install(*CONSTRAINTS, "-e", ".[torch,test]")
    session.run("python", "-m", "gatewise.bench.scores.reference_speed", *session.posargs)
    session.run("python", "-m", "gatewise.bench.scores.gradcheck")


@nox.session
def timing(session: nox.Session) -> None:
    """Count how often times are judged wrongly; arguments go to it. Ten minutes and more."""
    session.install(*CONSTRAINTS, "-e", ".")
    command = ("python", "-m", "gatewise.bench.scores.false_calls")
    session.run(*command, *session.posargs, env=dict.fromkeys(ONE_THREAD, "1"))


@nox.session
def publish(session: nox.Session) -> None:
    """Make the project's own report anew: checks, planted errors, claims, benches, the field.

    Wrong layers have the standard budget; right ones, which take every check, the quick one. Every
    framework's layers are held in environments of their own, as in ``conformance``.
    """
    session.install(*CONSTRAINTS, "-e", ".[torch,report,figures,onnx]")
    session.install("--no-deps", "-r", str(PACKAGES))
    of_packages = [f"{family}:*" for family in PACKAGE_FAMILIES]
    runs, page = Path("reports/out/publish"), Path("reports/results/published")
    before = set(runs.glob("*/run.json"))
    commands = [
        ["verify", "torch:*", "onnxruntime:*", *of_packages, "--budget", "quick",
         "--deviations", str(DECLARED)],
        ["mutants", "--only", "wrong", "--budget", "standard"],
        ["mutants", "--only", "right", "--budget", "quick"],
        ["evidence", "--mutants"],
        ["claims"],
        *(["bench", *small] for small in BENCHES.values()),
    ]  # fmt: skip
    for command in commands:
        session.run("gatewise", *command, "--runs", str(runs), success_codes=[0, 1, 3])
    folders = sorted(str(path.parent) for path in set(runs.glob("*/run.json")) - before)
    shutil.rmtree(page, ignore_errors=True)  # figures of another time must not stay
    session.run("gatewise", "report", *folders, "-o", str(page))
    of_frameworks, _, _ = _verify_all(session, list(ENVIRONMENTS), "quick")
    checked = [run for run in folders if (Path(run) / "verdicts.jsonl").exists()]
    session.run("python", "-P", "-m", "gatewise.reports.field", str(FIELD),
                *checked, *of_frameworks)  # fmt: skip


@nox.session
def gpu(session: nox.Session) -> None:
    """Run everything that needs a GPU, and end with the files to keep; arguments name steps.

    ``-- --no-install`` takes the PyTorch that is there (nox --no-venv). Where there is no GPU the
    session says so, and the report has *not tested*.
    """
    out = Path("reports/out/gpu")
    names = [name for name in session.posargs if name != "--no-install"]
    if "--no-install" not in session.posargs:
        session.install(*CONSTRAINTS, "-e", ".[torch,report,figures,record,bfloat16]")
    command = ("python", "-m", "gatewise.cli.gpu", "-o", str(out))
    try:
        session.run(*command, *names, success_codes=[0, 3])
        complete = True
    except CommandFailed:
        complete = False
    page = out / "index.html"
    if runs := sorted(str(path.parent) for path in out.glob("runs/*/run.json")):
        session.run("python", "-P", "-m", "gatewise", "report", *runs, "-o", str(page))
    session.log(f"report: {page}; what to keep is in {out}, for reports/results/evidence")
    if not complete:
        session.error("some steps are not whole, or could not run; see above")


@nox.session
def diagnosis(session: nox.Session) -> None:
    """Score the diagnosis: mutants, pairs of them, unknown mistakes; arguments go to it.

    Without arguments, also samples of edited gradients and of the catalogue in other hands; what
    they miss is kept in reports/out/diagnosis. ``-- gradients ...`` and ``-- other_hands ...`` run
    one of these two with its own arguments, ``-- recurrences`` scores what is seen without
    equations.
    """
    session.install(*CONSTRAINTS, "-e", ".[torch]")
    name, *rest = session.posargs or [""]
    if name in ("gradients", "other_hands", "recurrences"):
        session.run("python", "-m", f"gatewise.bench.scores.{name}", *rest)
        return
    session.run("python", "-m", "gatewise.bench.scores.diagnosis", *session.posargs)
    for sampled in () if session.posargs else ("gradients", "other_hands"):
        misses = f"reports/out/diagnosis/{sampled}.md"
        session.run("python", "-m", f"gatewise.bench.scores.{sampled}", "--sample", "40",
                    "--misses", misses)  # fmt: skip


@nox.session
def guards(session: nox.Session) -> None:
    """Plant every error of tests/doubles/source_mutants.py: its test must turn red."""
    session.install(*CONSTRAINTS, "-e", ".[torch,report,figures,test]")
    # One more than there are cores: some tests wait for processes and time limits.
    workers = str((os.cpu_count() or 1) + 1)
    processes = ("-n", workers, "--dist", "worksteal")
    session.run("pytest", "tests/guards", "-rP", *processes, *session.posargs,
                env={"PYTHONDONTWRITEBYTECODE": "1", "GATEWISE_GUARDS": "1"})  # fmt: skip


@nox.session
def mutants(session: nox.Session) -> None:
    """Hold every mutant to the checks: each must fail one; arguments go to the command."""
    session.install(*CONSTRAINTS, "-e", ".")
    session.run("gatewise", "mutants", *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Hold the layers of every framework against the equations; arguments choose environments."""
    parser = argparse.ArgumentParser(prog="nox -s conformance --")
    parser.add_argument("names", nargs="*", metavar="ENVIRONMENT", help=", ".join(ENVIRONMENTS))
    parser.add_argument("--budget", choices=["quick", "standard", "thorough"], default="quick")
    options = parser.parse_args(session.posargs)
    names = options.names or list(ENVIRONMENTS)
    if unknown := sorted(set(names) - set(ENVIRONMENTS)):
        session.error(f"{', '.join(unknown)}: expected {', '.join(ENVIRONMENTS)}")
    session.install(*CONSTRAINTS, "-e", ".[report]")
    runs, missing, wrong = _verify_all(session, names, options.budget)
    session.run("gatewise", "report", *runs, "-o", str(CONFORMANCE / "index.html"))
    if missing:
        session.warn(f"not tested, as it could not be installed: {', '.join(missing)}")
    if wrong or len(missing) == len(names):
        session.error(f"does not conform: {', '.join(wrong)}" if wrong else "nothing was tested")


@nox.session
def packages(session: nox.Session) -> None:
    """Hold the layers of packages that have their own code for them; arguments name some."""
    names = session.posargs or PACKAGE_FAMILIES
    if unknown := sorted(set(names) - set(PACKAGE_FAMILIES)):
        session.error(f"{', '.join(unknown)}: expected {', '.join(PACKAGE_FAMILIES)}")
    session.install(*CONSTRAINTS, "-e", ".[torch,report,test]")
    session.install("--no-deps", "-r", str(PACKAGES))
    session.run("pytest", "-q", "tests/verify/subjects/test_packages.py")
    session.run(
        "gatewise", "verify", *(f"{name}:*" for name in names),
        "--budget", "quick", "--timeout", "300", "--runs", str(CONFORMANCE / "packages"),
        "--deviations", str(DECLARED), "--report", str(CONFORMANCE / "packages.html"),
        success_codes=[0, 3],
    )  # fmt: skip


def _verify_all(
    session: nox.Session, names: list[str], budget: str
) -> tuple[list[str], list[str], list[str]]:
    """Verify environments; return folders of runs, missing environments and nonconforming ones."""
    runs, missing, wrong = [], [], []
    for name in names:
        python = _install(session, name)
        if python is None:
            missing.append(name)
        run, conforms = _verify(session, name, python or "python", budget)
        runs += run
        if python is not None and not conforms:
            wrong.append(name)
    return runs, missing, wrong


def _install(session: nox.Session, name: str) -> str | None:
    """Create an environment with its frameworks; return its Python, None where that fails."""
    folder = Path(session.virtualenv.location).parent / f"conformance-{name}"
    python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    source = f".[{ENVIRONMENTS[name].extras}]"
    try:
        session.run("python", "-m", "venv", str(folder))
        session.run(python, "-m", "pip", "install", "-q", *CONSTRAINTS, "-e", source, external=True)
    except CommandFailed:
        return None
    return python


def _declarations(budget: str) -> Path:
    """Return the file of expected deviations; above the quick budget, both files joined."""
    if budget == "quick":
        return DECLARED
    texts = [path.read_text(encoding="utf-8") for path in (DECLARED, DECLARED_ABOVE_QUICK)]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("  {")]
    both = CONFORMANCE / "deviations.toml"
    both.parent.mkdir(parents=True, exist_ok=True)
    both.write_text("\n".join(["deviation = [", *lines, "]", ""]), encoding="utf-8")
    return both


def _verify(session: nox.Session, name: str, python: str, budget: str) -> tuple[list[str], bool]:
    """Verify an environment's families; return folders of runs, and whether all conform.

    Where the frameworks are missing, ``python`` is one without them: all is *not tested*. This and
    blind checks (exit code 3) are in the report, and do not fail the session.
    """
    chosen, runs = ENVIRONMENTS[name], CONFORMANCE / name
    patterns = [f"{family}:*" for family in chosen.families]
    before = set(runs.glob("*/run.json"))
    conforms = True
    try:
        session.run(
            python, "-P", "-m", "gatewise", "verify", *patterns,
            "--budget", budget, "--timeout", "300", "--runs", str(runs),
            "--deviations", str(_declarations(budget)),
            env=chosen.variables, external=True, success_codes=[0, 3],
        )  # fmt: skip
    except CommandFailed:
        conforms = False
    return [str(path.parent) for path in set(runs.glob("*/run.json")) - before], conforms
