"""A SUBJECT is a file's class, a module's, an installed package's; or one sentence says why not."""

import sys
from importlib import metadata

import pytest

import plain_numpy
from commands import invoke, refused
from gatewise.verify.subjects import known, subject_named
from gatewise.verify.subjects import loader as loading
from gatewise.verify.subjects.loader import UnknownSubject

LAYERS = """
import torch

from beside_it import WIDTH


class LSTM(torch.nn.LSTM):
    pass


class Told(torch.nn.LSTM):
    like = "torch.nn.LSTM"


class Celled(torch.nn.LSTM):
    def cell(self, x, h, c):
        return h, c


class Holder:
    class GRU(torch.nn.GRU):
        pass


NUMBER = 3
"""


@pytest.fixture
def folder(here, monkeypatch):
    """A folder with a module of layers, which imports its neighbour, and modules that fail."""
    (here / "beside_it.py").write_text("WIDTH = 3")
    (here / "my_layers.py").write_text(LAYERS)
    (here / "my_layers.txt").write_text(LAYERS)
    (here / "needs.py").write_text("import not_installed_anywhere")
    (here / "breaks.py").write_text("1 / 0")
    (here / "typo.py").write_text("class LSTM(:")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield here
    for name in ("beside_it", "my_layers", "needs", "breaks", "typo"):
        sys.modules.pop(name, None)


def verify(*arguments):
    return invoke("verify --check smoke --dtype float64 --budget quick", *arguments)


@pytest.mark.parametrize(("name", "like", "cell"), [
    ("my_layers.py:LSTM", "torch.nn.LSTM", "lstm"),
    ("./my_layers.py:LSTM", "torch.nn.LSTM", "lstm"),
    ("my_layers:LSTM", "torch.nn.LSTM", "lstm"),
    ("my_layers.py:Told", None, "lstm"),
    ("my_layers.py:Celled", None, "lstm"),
    ("my_layers.py:Holder.GRU", "torch.nn.GRU", "gru"),
    ("torch.nn:RNN", "torch.nn.RNN", "rnn"),
])  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_names_that_lead_to_a_layer(name, like, cell):
    """Files by path, with their neighbours on the path; modules from the current folder."""
    subject = subject_named(name, like)
    assert subject.name == name
    assert subject.cells[0] == cell
    assert subject.options.gradient


def test_the_command_takes_them(folder):
    result = verify("my_layers.py:LSTM", "--like", "torch.nn.LSTM")
    assert result.exit_code == 0
    assert "1 passed" in result.output


def test_installed_packages_register_subjects(monkeypatch, folder):
    point = metadata.EntryPoint("mine:GRU", "plain_numpy:GRU", loading.ENTRY_POINTS)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point])

    assert "mine:GRU" in known()
    assert subject_named("mine:GRU").value is plain_numpy.GRU
    with pytest.raises(UnknownSubject, match=r"there are .*cudnn:\*, .*mine:\*"):
        subject_named("nothing")


@pytest.mark.parametrize(("name", "like", "sentence"), [
    ("nothing", None, "subject 'nothing' is not known; there are allennlp-light:*, brevitas:*, "),
    ("missing.py:LSTM", None, "subject 'missing.py:LSTM': there is no file "),
    ("my_layers.py:LTSM", None, "subject 'my_layers.py:LTSM': there is no LTSM in my_layers.py"),
    ("my_layers.py:", None, "expected path/to/file.py:Name or module:Name"),
    ("my_layers.py::LSTM", None, "expected path/to/file.py:Name or module:Name"),
    ("my_layers.LSTM", None, "; a class of a module is my_layers:LSTM"),
    ("no_module:LSTM", None, "subject 'no_module:LSTM': there is no module no_module"),
    ("big.onnx", None, "big.onnx: there is no such file"),
    ("to/big.onnx:LSTM", None, "to/big.onnx is no Python file; a path may be a folder, "),
    ("weights.npz", None, "Convert weights alone with: gatewise convert"),
    ("my_layers.txt:LSTM", None, "my_layers.txt is no Python file; a path may be a folder, "),
    ("my_layers.txt", None, "A program in any language that answers lines of JSON is: process:"),
    ("my_layers.py:Holder", None, "expected a class with cell and forward, or --like torch.nn."),
    ("my_layers.py:NUMBER", None, "expected a class with cell and forward"),
    ("my_layers.py:NUMBER", None, "gatewise cells lists the cells, and gatewise new CELL writes"),
    ("my_layers.py:LSTM", "selective", "of a cell of that name: --like gatewise.selective"),
    ("my_layers.py:LSTM", "torch.nn.Linear", "--like torch.nn.Linear: expected one of torch.nn."),
    ("torch:LSTM", "torch.nn.LSTM", "subject 'torch:LSTM' is known; --like is for a class of your"),
])  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_a_wrong_name_is_a_usage_error(name, like, sentence):
    result = verify(name, *(("--like", like) if like else ()))
    refused(result, 2, sentence)
    assert len([line for line in result.output.splitlines() if "Error: " in line]) == 1
    assert "Traceback" not in result.output


@pytest.mark.parametrize(("name", "sentence"), [
    ("needs.py:LSTM", "raised ModuleNotFoundError: No module named 'not_installed_anywhere'"),
    ("needs:LSTM", "No module named 'not_installed_anywhere'"),
    ("breaks.py:LSTM", "raised ZeroDivisionError: division by zero"),
    ("breaks:LSTM", "raised ZeroDivisionError: division by zero"),
    ("typo.py:LSTM", "raised SyntaxError: invalid syntax"),
])  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_code_that_cannot_be_imported_is_not_tested(name, sentence):
    result = verify(name)
    refused(result, 3, sentence)
    assert "  not tested      smoke: " in result.output
    assert "Traceback" not in result.output
