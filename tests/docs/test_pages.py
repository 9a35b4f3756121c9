"""The documentation does what it shows: every block of Python and every command is run.

A block with a title is a file, which all pages find beside them. In a block of ``console`` a line
with ``$`` is run, and what it prints is compared with the lines below it, but for numbers with a
point. ``GATEWISE_WRITE_DOCS=1 pytest tests/docs`` writes down what is printed.
"""

import os
import re
import runpy
import shlex
import shutil
from functools import cache
from pathlib import Path

import pytest

from commands import invoke
from gatewise.cli import main
from gatewise.reference.equation import equations
from gatewise.verify.checks import subject_checks
from gatewise.verify.mutants import mutants
from gatewise.verify.mutants.quantised import QUANTISATION_MUTANTS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), EXAMPLES / "README.md"]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
TORCH, JAX, KERAS = ("torch",), ("jax", "flax"), ("keras", "torch")
NEEDS = {
    **{f"ways-in/{page}.md": TORCH for page in ("torch", "own-names", "declared", "linear",
                                                "recurrences", "examples", "kernels")},
    "diagnosis.md": TORCH, "examples/README.md": TORCH,
    "ways-in/jax.md": JAX, "ways-in/keras.md": KERAS, "ways-in/files.md": ("onnx", "onnxruntime"),
    "ways-in/tflite.md": ("ai_edge_litert", "onnx"),
}  # fmt: skip
"""The packages without which a page's blocks cannot be run."""

MADE = {"ways-in/files.md": ("two_layers.py",), "ways-in/tflite.md": ("two_operators.py",)}
"""Files of a page that make what its commands read."""

os.environ.setdefault("KERAS_BACKEND", "torch")  # else Keras looks for TensorFlow


def needed(package):
    """Skip where a package is missing, or lacks what it needs; the reason says what."""
    pytest.importorskip(package, exc_type=ImportError)


def name(page):
    return page.relative_to(ROOT).as_posix().removeprefix("docs/")


def blocks(page):
    """Return language, title and text of every block of a page."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def pages(text):
    """Return those in which a text stands."""
    return [page for page in PAGES if text in page.read_text(encoding="utf-8")]


@cache
def files():
    """Every file that a page defines: one name means one text everywhere."""
    defined = {}
    for page in PAGES:
        for _, title, text in blocks(page):
            if title:
                assert defined.setdefault(title, text) == text, f"{title} is defined twice"
    return defined


@pytest.fixture
def folder(here):
    """A folder with every file that the documentation defines, and the examples."""
    for path in EXAMPLES.iterdir():
        if path.is_file():
            shutil.copy(path, here)
    for title, text in files().items():
        (here / title).write_text(text, encoding="utf-8")
    return here


def printed(command):
    """Run a command as a user does, where the files are."""
    program, *arguments = shlex.split(command)
    assert program == "gatewise", command
    done = invoke("", *arguments, env={"COLUMNS": "80"})
    assert done.exit_code in (0, 1), done.output
    return done.stdout


def written(text):
    """Return output as a page shows it."""
    return re.sub(r"runs/[\w.-]+", "runs/20260101-120000", text.strip())


def comparable(text):
    """Return output without what differs between machines: folders, roundoff, widths."""
    text = re.sub(r"runs/[\w.-]+", "runs/RUN", text)
    text = re.sub(r"-?\b\d+(\.\d+(e[-+]\d+)?|e[-+]\d+)\b", "NUMBER", text)
    text = re.sub(r"(tried|and)(\s+)\d+", r"\1\2MANY", text)  # the catalogue grows
    return " ".join(re.sub(r"[━─]+", "─", text).split())


def commands(text):
    """Yield each command of a console block, and what the page says that it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


@pytest.mark.parametrize("page", pages("$ gatewise"), ids=name)
def test_commands_print_what_the_page_shows(page, folder):
    """With an error planted in a page's output the test says which line differs."""
    for package in NEEDS.get(name(page), ()):
        needed(package)
    for made in MADE.get(name(page), ()):
        runpy.run_path(made)
    for language, _, text in blocks(page):
        for command, output in commands(text) if language == "console" else ():
            got = printed(command)
            if os.environ.get("GATEWISE_WRITE_DOCS"):
                whole = page.read_text(encoding="utf-8")
                page.write_text(
                    whole.replace(f"$ {command}\n{output}", f"$ {command}\n{written(got)}\n"),
                    encoding="utf-8",
                )
                continue
            assert comparable(got) == comparable(output), (
                f"{command}\nprints\n{got}\nand the page shows\n{output}"
            )


def program(page):
    """Return the blocks of Python without a title."""
    return "\n\n".join(
        text for language, title, text in blocks(page) if language == "python" and not title
    )


@pytest.mark.parametrize("page", [*filter(program, PAGES)], ids=name)
def test_python_runs(page, folder, server):
    for package in NEEDS.get(name(page), ()):
        needed(package)
    done = server.run("-c", program(page), cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", pages("```sh"), ids=name)
def test_commands_are_real(page):
    for language, _, text in blocks(page):
        for line in text.splitlines() if language == "sh" else ():
            words = shlex.split(line.partition("#")[0])
            if not words or not words[0].endswith("gatewise"):
                continue
            command = main.get_command(None, words[1])
            if words[1] == "vectors":
                command = command.get_command(None, words[2])
            assert command is not None, line
            options = {name for option in command.params for name in option.opts}
            if words[1] == "bench":
                continue
            assert {word for word in words if word.startswith("--")} <= options, line


def test_the_test_suite_of_the_examples_passes(folder, server):
    done = server.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_layers.py", cwd=folder)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 50


GRU = "--like torch.nn.GRU"
LSTM = "--like torch.nn.LSTM"

SLIPS = {
    "packed parameters": (
        TORCH, "packed_gru.py", "torch.tanh(xn + r * hn)", "torch.tanh(xn + hn)",
        f"packed_gru.py:PackedGRU {GRU}", "the factor r is missing",
    ),
    "a cell": (
        TORCH, "torch_cell.py", "torch.sigmoid(f) * c", "(1 - torch.sigmoid(i)) * c",
        f"torch_cell_held.py:Layer {LSTM}", "The forget gate is 1 − i",
    ),
    "an autograd.Function": (
        TORCH, "autograd_rnn.py", "(dy[t] + dh)", "dy[t]",
        "autograd_rnn_held.py:rnn", "No gradient flows through the hidden state",
    ),
    "NumPy forward": (
        (), "numpy_gru.py", "z * h + (1 - z) * n", "(1 - z) * h + z * n",
        "numpy_gru_held.py:held", "update gate",
    ),
    "NumPy with caches": (
        (), "coursera_rnn.py", "(1 - a_next**2)", "(1 - a_prev**2)",
        "coursera_rnn_held.py:Held", "h_{t-1}",
    ),
    "lax.scan": (
        JAX, "scan_gru.py", "(1 - z) * h + z * n", "z * h + (1 - z) * n",
        "scan_gru_held.py:held", "update │ keep │ take (differs)",
    ),
    "Flax": (
        JAX, "flax_gru.py", "xr, xz, xn =", "xz, xr, xn =",
        "flax_gru_held.py:held", "order │ zrn │ rzn (differs)",
    ),
    "Keras": (
        KERAS, "keras_gru.py", "hz, hr, hn =", "hr, hz, hn =",
        "keras_gru_held.py:Held", "read in the order r z n",
    ),
}  # fmt: skip
"""Packages, file, what is written there, the slip, the subject, words of the answer."""


@pytest.mark.parametrize("kind", SLIPS)
def test_a_slip_in_each_kind_of_code_is_told(kind, here):
    packages, file, right, wrong, subject, words = SLIPS[kind]
    for package in packages:
        needed(package)
    for title, text in files().items():
        (here / title).write_text(text, encoding="utf-8")
    text = files()[file]
    assert text.count(right) == 1
    (here / file).write_text(text.replace(right, wrong), encoding="utf-8")
    checks = "smoke,forward,gradient" if "dy[t]" in right or "a_next" in right else "smoke,forward"
    command = f"verify {subject} --budget quick --check {checks}"
    if packages == JAX:  # which compiles anew for every size: identify makes few calls
        command = f"identify {subject}"
    said = " ".join(printed(f"gatewise {command}").split())

    assert command.startswith("identify") or "does not conform" in said
    assert words in said.partition("first failure")[0], said


README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_is_one_screen_and_its_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert len(README.split()) <= 700
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_the_readme_shows_the_first_lines_of_the_first_page():
    """The failure that it shows is what the documentation's first command prints."""
    (example,) = re.findall(r"```text\n(.*?)\n  \.\.\.\n```", README, re.DOTALL)
    assert len(example.splitlines()) > 5
    assert example in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


def test_every_page_that_is_made_from_the_code_says_something():
    generated = runpy.run_path(str(ROOT / "docs" / "generated.py"))
    pages = {path: "\n".join(page()) for path, page in generated["PAGES"].items()}
    whole = "\n".join(pages.values())

    assert all(text.startswith("# ") and len(text) > 500 for text in pages.values())
    assert all(f"`{check.id}`" in whole for check in subject_checks())
    every = (*mutants(), *QUANTISATION_MUTANTS)
    assert all(mutant.statement.replace("<", "&lt;") in whole for mutant in every)
    assert all(f"### {equation.name}" in whole for equation in equations())
    assert [
        figure for figure in generated["FIGURES"] if not (generated["PUBLISHED"] / figure).exists()
    ] == []
