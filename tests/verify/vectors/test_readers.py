"""The readers in C and JavaScript pass right layers, and name the mistakes of wrong ones."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.vectors import c_source, files, selection
from gatewise.verify.vectors.vector import ALL, FAR_STATE, NAN_PADDING

EXAMPLES = Path(__file__).parents[3] / "examples" / "vectors"
CASES = (
    (Case(3, 2, 2, 3), ALL),
    (Case(2, 2, 2, 2), FAR_STATE),
    (Case(5, 1, 1, 1, layers=2, bidirectional=True), ALL),
    (Case(0, 2, 1, 3), ALL),
    (Case(4, 3, 3, 2, lengths=True, state=False), NAN_PADDING),
)
"""Layers, directions, states, lengths, and no steps at all."""

SLIPS = {
    "reader.c": {
        "L01": ("i = sigmoid(a[0][u]), f = sigmoid(a[1][u])",
                "i = sigmoid(a[1][u]), f = sigmoid(a[0][u])"),
        "C03b": ("a[k][u] = (float)b[k * H + u]", "a[k][u] = 0 * (float)b[0]"),
        "S01": ("h[e] = (float)h0->value[e]", "h[e] = 0"),
        "L05": ("U[(k * H + j) * H + u]", "U[(k * H + u) * H + j]"),
    },
    "reader.js": {
        "F07": ("r * (recurrent(2, u) + b_hn[u])", "recurrent(2, u) + b_hn[u]"),
        "C05": ("z * old + (1 - z) * n", "(1 - z) * old + z * n"),
        "Q01": ("lengths ? lengths[row] : t.T", "t.T"),
    },
}  # fmt: skip
"""What is written, and the slip, by the mistake of the catalogue that it is."""


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """Vectors of an LSTM and of a GRU in float32, from a few cases that are all kept."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "candidates", lambda cell, dtype, seed: (
            (replace(case, dtype=dtype), output) for case, output in CASES
        ))  # fmt: skip
        patch.setattr(selection, "_without_spare", list)
        for reader, cell in (("reader.c", "lstm"), ("reader.js", "gru")):
            folder = tmp_path_factory.mktemp(cell)
            document = files.vectors(selection.select(cell, "float32"))
            files.write(folder, document)
            c_source.write(folder, document)
            made[reader] = folder, document
    return made


def said(reader, text, folder, where):
    """Run a reader over vectors: its exit code, and what it prints."""
    (where / reader).write_text(text, encoding="utf-8")
    command = [shutil.which("node"), str(where / reader), str(folder / files.FILE)]
    if reader.endswith(".c"):
        sources = [str(where / reader), str(folder / "vectors.c")]
        flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{folder}", "-o", str(where / "a")]
        subprocess.run([shutil.which("cc"), *flags, *sources, "-lm"], check=True)
        command = [str(where / "a")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


def needed(reader):
    """Skip where there is no compiler, or no node."""
    program = "cc" if reader.endswith(".c") else "node"
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize("reader", SLIPS)
def test_a_right_layer_passes(reader, vectors, tmp_path):
    needed(reader)
    folder, document = vectors[reader]
    text = (EXAMPLES / reader).read_text(encoding="utf-8")

    code, output = said(reader, text, folder, tmp_path)

    assert len(text.splitlines()) <= 80
    assert (code, output) == (0, f"{len(document.tests)} tests, all passed\n")


@pytest.mark.parametrize(
    ("reader", "mistake"), [(r, m) for r, slips in SLIPS.items() for m in slips]
)
def test_a_slip_is_named(reader, mistake, vectors, tmp_path):
    """The mistake that it is stands among those that fail the same tests; most others do not."""
    needed(reader)
    folder, document = vectors[reader]
    text = (EXAMPLES / reader).read_text(encoding="utf-8")
    right, wrong = SLIPS[reader][mistake]
    assert text.count(right) == 1

    code, output = said(reader, text.replace(right, wrong), folder, tmp_path)

    named = [line for line in output.splitlines() if line.startswith("it fails as")]
    assert code == 1
    assert f"it fails as this mistake does: {document.notes[mistake].mistake}" in named
    assert len(named) < len(document.notes) / 3


def test_the_numbers_of_c_are_those_of_the_file(vectors):
    """Every number and bound, in hexadecimal, and the special ones by their macros."""
    folder, document = vectors["reader.c"]
    text = (folder / "vectors.c").read_text(encoding="utf-8")

    assert "NAN" in text
    for test in document.tests:
        for place, wanted in enumerate(test.expected.values()):
            name = f"t{test.id}_expected_{place}"
            for own, numbers in ((name, wanted.values), (f"{name}_bound", wanted.bounds)):
                body = text.partition(f"double {own}[] = {{")[2].partition("}")[0]
                read = body.replace(",", " ").split()
                assert read == [c_source.SPECIAL.get(v, v) for v in numbers] or not numbers
