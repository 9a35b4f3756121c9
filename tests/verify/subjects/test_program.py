"""Layers in other languages: programs that answer lines of JSON, right ones and wrong ones."""

import importlib.util
import json
import shutil
import subprocess
import sys

import pytest

from commands import invoke
from gatewise.cli import main
from gatewise.verify.subjects.called import SubjectCrashed
from gatewise.verify.subjects.loader import UnknownSubject
from gatewise.verify.subjects.program import Numbers, from_json, program, to_json

C = shutil.which("cc")
NODE = shutil.which("node")
TRACT = all(map(importlib.util.find_spec, ("tract", "onnx")))

SLIPS = {
    "lstm.c": {
        "right": ("", ""),
        "gates": ("f = sigmoid(a[H + u]), g", "f = sigmoid(a[u]), g"),
        "state": ("o * tanh(cell[u])", "o * cell[u]"),
        "bias": ("a[k] = b[k];", "a[k] = 0;"),
    },
    "gru.js": {
        "right": ("", ""),
        "share": ("z[u] * old[u] + (1 - z[u]) * n[u]", "(1 - z[u]) * old[u] + z[u] * n[u]"),
        "slope": ("(1 - z[u]) * (1 - n[u] * n[u])", "(1 - z[u])"),
        "reset": ("dreset[u] * r[u] + byUpdate", "byUpdate"),
    },
    "lstm_tract.py": {
        "right": ("", ""),
        "blocks": (
            'arrays["weight_hh"][None]',
            'arrays["weight_hh"].reshape(4, hidden, -1)[[2, 1, 0, 3]].reshape('
            'arrays["weight_hh"].shape)[None]',
        ),
        "bias": ('arrays["bias_ih"], arrays["bias_hh"]', 'arrays["bias_ih"], arrays["bias_ih"]'),
        "state": ('"", "initial_h", "initial_c"]', '"", "initial_c", "initial_h"]'),
    },
}
"""Slips of the pen in the examples; in the last, faults in the model that tract is given."""

SAID = {
    ("lstm.c", "gates"): "f = sigmoid(a_i), should be f = sigmoid(a_f)",
    ("lstm.c", "state"): "The cell state goes through no function at all",
    ("lstm.c", "bias"): "b is not read",
    ("gru.js", "share"): "h_{t-1} and n are exchanged",
    ("gru.js", "slope"): "the factor (1 - n^2) is missing",
    ("gru.js", "reset"): "the term drh * r is missing",
    ("lstm_tract.py", "blocks"): "blocks of weight_hh are read in the order f o i g, not i o f g",
    ("lstm_tract.py", "bias"): "bias_ih is read in the place of bias_hh",
    ("lstm_tract.py", "state"): "The initial states are c and h in the place of h and c",
}


def built(root, folder, file, slip):
    """Write an example with a slip in it, and return the subject's name."""
    before, after = SLIPS[file][slip]
    source = (root / "examples" / "programs" / file).read_text(encoding="utf-8")
    assert source.count(before) == 1 or not before
    path = folder / f"{slip}_{file}"
    path.write_text(source.replace(before, after) if before else source, encoding="utf-8")
    if file.endswith(".js"):
        return f"process:node {path}"
    if file.endswith(".py"):
        return f"process:{sys.executable} {path}"
    subprocess.run([str(C), "-O1", "-o", path.with_suffix(""), path, "-lm"], check=True)
    return f"process:{path.with_suffix('')}"


@pytest.mark.parametrize(("file", "dtype"), [
    pytest.param("lstm.c", "float64",
                 marks=pytest.mark.skipif(C is None, reason="needs a C compiler")),
    pytest.param("gru.js", "float64", marks=pytest.mark.skipif(NODE is None, reason="needs node")),
    pytest.param("lstm_tract.py", "float32",
                 marks=pytest.mark.skipif(not TRACT, reason="needs tract and onnx")),
])  # fmt: skip
def test_an_example_passes_and_its_slips_are_named(root, tmp_path, file, dtype):
    subjects = {slip: built(root, tmp_path, file, slip) for slip in SLIPS[file]}
    line = "verify --budget quick --check smoke,forward,gradient,carry,transition --dtype"
    done = invoke(line, dtype, "--runs", tmp_path / "runs", *subjects.values())

    assert done.exit_code == 1, done.output
    (run,) = (tmp_path / "runs").iterdir()
    lines = (run / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
    verdicts = [json.loads(line) for line in lines]
    wrong = {v["subject"] for v in verdicts if v["status"] in ("failed", "crashed")}
    assert wrong == {name for slip, name in subjects.items() if slip != "right"}
    diagnoses = [json.loads(line) for line in
                 (run / "diagnoses.jsonl").read_text(encoding="utf-8").splitlines()]  # fmt: skip
    named = {d["subject"]: d["explanations"] for d in diagnoses}
    for slip, name in subjects.items():
        if slip != "right":
            statements = " ".join(named[name][0]["statements"])
            assert SAID[file, slip] in statements, statements


class TestNumbers:
    """How arrays are written."""

    @pytest.mark.parametrize("encoding", ["base64", "numbers"])
    def test_every_bit_arrives(self, encoding):
        import numpy as np

        array = np.array([[0.1, -0.0, np.nan], [np.inf, -np.inf, 1 / 3]])

        arrived = from_json("x", to_json(array, encoding))

        assert arrived.tobytes() == array.tobytes()

    @pytest.mark.parametrize("numbers", [
        Numbers("float64", (2,), "AAAA"),
        Numbers("float64", (2,), "no base64"),
        Numbers("float64", (3,), values=[1.0]),
        Numbers("float99", (1,), values=[1.0]),
        Numbers("float64", (-1, 7), values=[1.0]),
        Numbers("float64", (-1, 1), values=[1.0]),
        Numbers("object", (1,), values=[1.0]),
        Numbers("float64", (1,), values=["one"]),
    ])  # fmt: skip
    def test_anything_else_is_a_crash(self, numbers):
        with pytest.raises(SubjectCrashed, match="array y"):
            from_json("y", numbers)


def says(tmp_path, *lines):
    """A program that writes these lines, whatever it is asked."""
    path = tmp_path / "said.py"
    path.write_text(
        f"for line in {lines!r}:\n    print(line, flush=True)\nimport time\ntime.sleep(9)\n"
    )
    return f"process:{sys.executable} {path}"


STARTED = '{"protocol": 1, "implementation": "x", "cell": "lstm"}'


@pytest.mark.parametrize(("line", "message"), [
    ("hello", "the program wrote 'hello'"),
    (STARTED.replace("1", "2"), "protocol 2, expected 1"),
    (STARTED.replace("lstm", "transformer"), "cell 'transformer', expected one of"),
    (STARTED[:-1] + ', "dtypes": ["float99"]}', "dtypes float99, expected some of"),
    (STARTED[:-1] + ', "weights": "jot"}', "weights='jot': it states no convention"),
    (STARTED[:-1] + ', "more": 1}', "unknown field `more`"),
])  # fmt: skip
def test_what_is_no_layer_is_a_sentence(tmp_path, line, message):
    with pytest.raises((UnknownSubject, RuntimeError), match=message):
        program(says(tmp_path, line), None)


def test_a_missing_program_is_a_usage_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["verify", "process:./nowhere", "--runs", str(tmp_path / "runs")])
    assert ended.value.code == 2
    assert "process:./nowhere" in capsys.readouterr().err


def test_another_answer_is_the_programs_crash(tmp_path):
    subject = program(says(tmp_path, STARTED, '{"id": 7}'), None)
    from gatewise.verify.cases.case import Case
    from gatewise.verify.subjects.inputs import draw_inputs

    case = Case(2, 2, 2, 2)
    with pytest.raises(SubjectCrashed, match="answered call 7, expected 1"):
        subject.build(case).forward(draw_inputs(subject, case))


def test_an_answer_that_was_left_unread_is_none_to_another_layer(tmp_path):
    """A program that answers every call twice is seen in the second."""
    from gatewise.verify.cases.case import Case
    from gatewise.verify.subjects.inputs import draw_inputs

    zeros = {"dtype": "float64", "shape": [1, 1], "values": [0]}
    one = {"y": zeros | {"shape": [1, 1, 1]}, "h": zeros, "c": zeros}
    answered = json.dumps({"id": 1, "arrays": one})
    subject = program(says(tmp_path, STARTED, answered, answered), None)
    case = Case(1, 1, 1, 1)
    inputs = draw_inputs(subject, case)

    assert subject.build(case).forward(inputs).y.shape == (1, 1, 1)
    with pytest.raises(SubjectCrashed, match="answered call 1, expected 2"):
        subject.build(case).forward(inputs)
