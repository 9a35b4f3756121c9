"""CONTRIBUTING's cell is whole: as a file of the reference it is found and proven."""

import re

import pytest

PROVE = """
import gatewise.reference.cells as cells
cells.__path__.append({folder!r})
from gatewise.cli import main
main(["prove", "gradient[ugrnn]"])
"""


@pytest.fixture
def proven(root, server, tmp_path):
    """Put the cell of CONTRIBUTING, changed or not, beside the reference's; prove its gradient."""
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)

    def prove(old="", new=""):
        assert old in code
        (tmp_path / "ugrnn.py").write_text(code.replace(old, new, 1) if old else code)
        return server.run("-P", "-c", PROVE.format(folder=str(tmp_path)), cwd=tmp_path, anew=True)

    return prove


def test_it_is_proven(proven):
    done = proven()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ugrnn" in done.stdout


def test_an_error_in_its_vjp_is_seen(proven):
    done = proven("dh = dh_new * g +", "dh = dh_new +")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "gradient[ugrnn]" in done.stdout


def test_its_equations_name_their_paper(root):
    """As ``test_catalogue.py`` asks of every equation."""
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    documents = re.findall(r"documents=(\(.*?\)),?\n", text)
    assert len(documents) == 2
    assert all(re.fullmatch(r'\(".* \d{4}",\)', each) for each in documents)


@pytest.mark.parametrize(("old", "new", "said"), [
    ("(UGRNN(),)", "(UGRNN())", "ugrnn: expected CELLS, a tuple of cells, got <cell ugrnn>"),
    ("CELLS =", "ALL =", "ugrnn: expected CELLS, a tuple of cells, got None"),
    ('name, title = "ugrnn"', 'name, title = "gru"', "ugrnn: there is a cell gru already"),
    ('equations = ("ugrnn.gate"', 'equations = ("ugrnn.gat"', "no equation is called ugrnn.gat"),
])  # fmt: skip
def test_a_slip_is_told_in_a_sentence(proven, old, new, said):
    done = proven(old, new)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
