"""The catalogue in code is complete."""

import json
import re

import pytest

from commands import invoke
from gatewise.reference.cells import cells
from gatewise.reference.equation import equations
from gatewise.verify.proofs.coverage import coverage

IDS = [f"E{n:02d}" for n in range(1, 34) if n != 23] + ["E23a", "E23b"]
DOCUMENT = re.compile(r"D[0-4]|.*\d{4}|PyTorch, cuDNN, Keras")


@pytest.mark.parametrize("id", IDS)
def test_every_id_has_a_function_and_a_check(id):
    rows = [row for row in coverage() if row.id == id]
    assert rows, f"{id} has no function"
    for row in rows:
        assert row.proofs or row.checks, f"{id} {row.name} has no check"


def test_coverage_invents_nothing():
    rows = {row.name: row for row in coverage()}
    assert rows["clip.by_value"].proofs == ("clipping",)
    assert rows["clip.by_value"].checks == ()


def test_no_other_ids():
    """What goes beyond the documents says so: its id begins with X."""
    beyond = {e.id for e in equations()} - set(IDS)
    assert all(re.fullmatch(r"X\d\d", id) for id in beyond)


@pytest.mark.parametrize("e", equations(), ids=lambda e: e.name)
def test_an_equation_carries_latex_and_documents(e):
    assert e.latex.count("{") == e.latex.count("}") > 0 or "{" not in e.latex
    assert e.latex.strip()
    assert e.documents
    assert all(DOCUMENT.fullmatch(document) for document in e.documents)


@pytest.mark.parametrize("cell", cells().values(), ids=lambda cell: cell.name)
def test_a_cell_names_existing_equations(cell):
    assert set(cell.equations) <= {e.name for e in equations()}


def test_the_command_lists_them_without_gap():
    done = invoke("equations --json")
    assert done.exit_code == 0, done.output
    assert {row["id"] for row in json.loads(done.stdout)} >= set(IDS)
