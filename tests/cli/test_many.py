"""Many subjects in one command: a folder of files, one line each, in a table and as CSV."""

import csv

import pytest

from commands import invoke, refused
from gatewise.verify.subjects import expanded, subject_named
from gatewise.verify.subjects.loader import UnknownSubject

RIGHT = """
import numpy as np

class Layer:
    cell = "rnn"

    def forward(self, params, x, state):
        h = np.zeros((x.shape[1], params["b"].shape[-1]), x.dtype) if state is None else state[0]
        y = []
        for x_t in x:
            h = np.tanh(x_t @ params.W_a + h @ params.U_a + params.b_a)
            y.append(h)
        return np.stack(y), (h,)
"""
FILES = {
    "right.py": RIGHT,
    "wrong.py": RIGHT.replace("np.tanh(", "np.sin("),
    "raises.py": "import nothing_that_is_here",
    "syntax.py": "def (",
    "empty.py": "x = 1",
    "note.txt": "not a file of Python",
}


@pytest.fixture
def folder(here):
    (here / "homework").mkdir()
    for name, text in FILES.items():
        (here / "homework" / name).write_text(text)
    return here


def grades(*arguments):
    """Verify, and return exit code and the CSV by subject."""
    line = "verify --budget quick --check smoke,forward --no-diagnosis -o grades.csv"
    result = invoke(line, *arguments)
    with open("grades.csv", newline="") as file:
        return result, {row["subject"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", ["homework:Layer", "homework/*.py:Layer", "homework"])
def test_a_folder_is_held_file_by_file(folder, name):
    result, rows = grades(name)
    verdicts = {key.partition(":")[0].removeprefix("homework/"): row["verdict"]
                for key, row in rows.items()}  # fmt: skip

    assert verdicts == {
        "right.py": "conforms", "wrong.py": "failed", "raises.py": "not tested",
        "syntax.py": "not tested", "empty.py": "not tested",
    }  # fmt: skip
    assert result.exit_code == 1
    counts = {
        key.partition(":")[0].removeprefix("homework/"): tuple(
            int(row[name]) for name in ("passed", "failed", "checks")
        )
        for key, row in rows.items()
    }
    assert counts["right.py"] == (4, 0, 4)
    assert counts["wrong.py"] == (2, 2, 4)
    by_file = {key.partition(":")[0]: row["what is wrong"] for key, row in rows.items()}
    assert "nothing_that_is_here" in by_file["homework/raises.py"]
    assert "SyntaxError" in by_file["homework/syntax.py"]
    assert by_file["homework/wrong.py"].startswith("forward: ")
    assert max(map(len, result.stdout.partition("the first")[0].splitlines())) <= 80


def test_one_name_that_leads_nowhere_is_still_a_usage_error(folder):
    refused(invoke("verify homework/empty.py:Layer"), 2, "there is no Layer in homework/empty.py")


def test_a_pattern_that_fits_nothing_says_so(folder):
    for name, message in (("none/*.py:Layer", "there is no such file"),
                          (str(folder) + ":Layer", "has no Python file")):  # fmt: skip
        with pytest.raises(UnknownSubject, match=message):
            expanded([name])


def test_a_file_with_one_layer_needs_no_class(folder):
    (folder / "two.py").write_text(RIGHT + RIGHT.replace("Layer", "Other"))
    assert subject_named("homework/right.py").cells == ("rnn",)
    with pytest.raises(UnknownSubject, match=r"say which of Layer, Other, as in two.py:Layer"):
        subject_named("two.py")


def test_a_class_of_torchs_is_like_it(folder):
    pytest.importorskip("torch")
    (folder / "mine.py").write_text("import torch\n\nclass Mine(torch.nn.GRU):\n    pass\n")
    assert subject_named("mine.py:Mine").cells == ("gru",)


def test_no_cell_of_the_table_is_a_formula(folder):
    (folder / "=1+1.py").write_text(RIGHT)
    _, rows = grades("homework/right.py", "=1+1.py:Layer")
    assert "'=1+1.py:Layer" in rows
