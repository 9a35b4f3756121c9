"""How much of gatewise one check runs, and what is imported for it."""

import json
import subprocess
import sys

import pytest

from gatewise.bench.scores import one_check

MOST_FILES = 36
"""Files in which ``forward`` of ``torch:LSTM`` runs; 31 when this was written, 80 once."""

NOT_NEEDED = ("bench", "verify.mutants", "verify.recordings", "verify.diagnosis", "verify.audit",
              "verify.identification", "verify.proofs")  # fmt: skip
"""Rooms that a check that passes has no use for."""


def python(*arguments):
    """Run Python in a process of its own: caches and imports are those of a new worker."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def counted():
    """Trace the check; skip without PyTorch."""
    pytest.importorskip("torch")
    done = python("-m", "gatewise.bench.scores.one_check", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_one_check_stays_within_few_files(counted):
    """The equations, the bounds, the layer's call: they ran, and in few files."""
    called = counted["called"]

    assert {"reference/cells/lstm.py", "verify/numbers/bounded.py"} <= called.keys()
    assert "TorchModule.forward" in called["verify/subjects/torch_module.py"]
    assert len(called) <= MOST_FILES, sorted(called)


def test_an_environment_in_the_checkout_is_the_code_of_others():
    """``.nox/tests/lib/.../numpy`` lies below gatewise's folder and is not gatewise's."""
    paths = ("verify/api.py", ".nox/tests/lib/python3.11/site-packages/numpy/linalg.py")
    codes = {compile("0", str(one_check.PACKAGE / path), "exec") for path in paths}

    assert list(one_check.files(codes)) == ["verify/api.py"]


def test_what_runs_at_imports_is_counted_apart(counted):
    """A module's own code is no call of a function."""
    names = {name for each in counted["called"].values() for name in each}

    assert "<module>" not in names
    assert "<module>" in counted["imported"]["verify/subjects/torch_module.py"]


def test_a_check_that_does_not_pass_is_not_counted():
    """Its trace would be that of a failure."""
    done = python("-m", "gatewise.bench.scores.one_check", "mutant:C01")

    assert done.returncode == 2
    assert "mutant:C01 forward: failed" in done.stderr


def test_verify_imports_what_a_passing_check_needs(tmp_path):
    """The command loads neither other commands nor rooms that are for failures."""
    pytest.importorskip("torch")
    program = (
        "import sys\n"
        "from gatewise.cli import main\n"
        "try:\n"
        "    main(['verify', 'torch:LSTM', '--check', 'forward', '--budget', 'quick',"
        f" '--runs', {str(tmp_path)!r}])\n"
        "except SystemExit as ended:\n"
        "    print('code', ended.code)\n"
        "print(*(name for name in sys.modules if name.startswith('gatewise.')))\n"
    )
    *_, code, modules = python("-c", program).stdout.splitlines()
    rooms = {name.removeprefix("gatewise.") for name in modules.split()}

    assert code == "code 0"
    assert not [name for name in rooms if name.startswith(NOT_NEEDED)]
    assert {name for name in rooms if name.startswith("reports.")} == {"reports.terminal"}
    assert {name for name in rooms if name.startswith("cli.")} == {
        "cli.common", "cli.report", "cli.verify",
    }  # fmt: skip
    assert not [name for name in rooms if name.startswith("verify.subjects.frameworks.")]
