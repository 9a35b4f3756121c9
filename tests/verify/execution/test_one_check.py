"""How much of gatewise one check runs, and what is imported for it."""

import json

import pytest

pytest.importorskip("torch")

MOST_FILES = 36
"""Files in which ``forward`` of ``torch:LSTM`` runs; 31 when this was written, 80 once."""

NOT_NEEDED = ("bench", "verify.mutants", "verify.recordings", "verify.diagnosis", "verify.audit",
              "verify.identification", "verify.proofs")  # fmt: skip
"""Rooms that a check that passes has no use for."""

TRACE = """
import json, sys
from pathlib import Path
import gatewise
from gatewise.verify.execution.tasks import Named, Task, answer

root, called, imports = Path(gatewise.__file__).parent, {}, 0

def event(frame, kind, argument):
    global imports
    code = frame.f_code
    if code.co_name == "<module>":
        imports += {"call": 1, "return": -1}.get(kind, 0)
    elif kind == "call" and not imports and Path(code.co_filename).is_relative_to(root):
        file = Path(code.co_filename).relative_to(root)
        if not any(folder.startswith(".") for folder in file.parts):  # an environment in here
            called.setdefault(str(file), []).append(code.co_qualname)

task = Task(Named("torch:LSTM"), "forward", "float64", "quick", 0)
sys.setprofile(event)
verdict = answer(task, task.named.find(), lambda case: None)
sys.setprofile(None)
print(json.dumps({"status": verdict.status, "called": called}))
"""

VERIFY = """
import sys
from gatewise.cli import main
try:
    line = "verify torch:LSTM --check forward --budget quick --jobs 1 --runs"
    main([*line.split(), sys.argv[1]])
except SystemExit as ended:
    print("code", ended.code)
print(*(name for name in sys.modules if name.startswith("gatewise.")))
"""


@pytest.fixture
def python(server):
    """Run a program in a process of its own: caches and imports are those of a new worker."""

    def run(program, *arguments):
        done = server.run("-c", program, *arguments, anew=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_one_check_stays_within_few_files(python):
    traced = json.loads(python(TRACE)[-1])
    called = traced["called"]

    assert traced["status"] == "passed"
    assert {"reference/cells/lstm.py", "verify/numbers/bounded.py"} <= called.keys()
    assert "TorchModule.forward" in called["verify/subjects/torch_module.py"]
    assert len(called) <= MOST_FILES, sorted(called)


def test_verify_imports_what_a_passing_check_needs(python, tmp_path):
    *_, code, modules = python(VERIFY, str(tmp_path))
    rooms = {name.removeprefix("gatewise.") for name in modules.split()}

    assert code == "code 0"
    assert not [name for name in rooms if name.startswith(NOT_NEEDED)]
    assert {name for name in rooms if name.startswith("reports.")} == {
        "reports.section", "reports.terminal",
    }  # fmt: skip
    assert {name for name in rooms if name.startswith("cli.")} == {
        "cli.common", "cli.report", "cli.verify",
    }  # fmt: skip
    assert not [name for name in rooms if name.startswith("verify.subjects.frameworks.")]
