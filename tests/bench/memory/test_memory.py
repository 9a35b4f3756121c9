"""Long-range tasks: their answers are right, and only what remembers can give them."""

import json

import numpy as np
import pytest

from commands import invoke
from gatewise.bench.memory import plan as memory
from gatewise.bench.memory.tasks import STRING, SYMBOLS, TASKS, TOLERANCE, is_right
from gatewise.bench.memory.trained_layer import GATES, Effort, parameters, train, width

torch = pytest.importorskip("torch")


def drawn(task, lag, rows=400):
    return TASKS[task].draw(np.random.default_rng(3), rows, lag)


@pytest.mark.parametrize("lag", [2, 7, 30])
def test_adding_asks_for_two_marked_numbers(lag):
    batch = drawn("adding", lag)
    values, marks = batch.x[..., 0], batch.x[..., 1]

    assert len(values) == lag + 1
    assert (marks[0] == 1).all()
    assert (marks.sum(axis=0) == 2).all()
    np.testing.assert_allclose((values * marks).sum(axis=0), batch.target[0])


@pytest.mark.parametrize("lag", [2, 7, 30])
def test_copy_asks_for_what_stood_lag_steps_before(lag):
    batch = drawn("copy", lag)
    symbols, cue = batch.x[..., :SYMBOLS], batch.x[..., SYMBOLS]

    assert (symbols[:STRING].argmax(axis=-1) == batch.target).all()
    assert not symbols[STRING:].any()
    assert (cue[:lag] == 0).all()
    assert (cue[lag:] == 1).all()
    assert len(batch.x) - STRING == lag


@pytest.mark.parametrize("lag", [3, 7, 30])
def test_counting_differs_by_one_at_most(lag):
    batch = drawn("counting", lag)
    a, b = batch.x[..., 0].sum(axis=0), batch.x[..., 1].sum(axis=0)

    assert set(np.abs(a - b)) == {0, 1}
    assert ((a == b) == batch.target[0]).all()
    assert (batch.x.sum(axis=-1) <= 1).all()
    assert len(batch.x) == lag + 1


@pytest.mark.parametrize("task", TASKS)
def test_guessing_is_as_often_right_as_is_said(task):
    """The best answer that does not look at the sequence, on many of them."""
    batch = drawn(task, 9, rows=20_000)
    if TASKS[task].classes:
        answers = np.zeros((*batch.target.shape, TASKS[task].outputs))
        answers[..., 1] = 1
    else:
        answers = np.full((*batch.target.shape, 1), 1.0)
    share = is_right(TASKS[task], answers, batch.target).mean()
    assert share == pytest.approx(TASKS[task].guessing, abs=0.012)


def test_an_answer_may_be_off_by_the_tolerance_and_no_more():
    target = np.array([[1.0, 1.0]])
    answers = np.array([[[1 + 0.99 * TOLERANCE], [1 - 1.01 * TOLERANCE]]])
    assert is_right(TASKS["adding"], answers, target).tolist() == [True, False]


@pytest.mark.parametrize("cell", GATES)
def test_all_cells_have_about_as_many_parameters(cell):
    kinds = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU}
    H = width(cell, 3, 2, 1500)
    layer, head = kinds.get(cell, torch.nn.LSTM)(3, H), torch.nn.Linear(H, 2)
    count = sum(p.numel() for p in (*layer.parameters(), *head.parameters()))

    assert parameters(cell, 3, H, 2) == count <= 1500
    assert parameters(cell, 3, H + 1, 2) > 1500


BRIEF = Effort(parameters=600, updates=250, rate=2e-2)


def test_what_remembers_learns_and_what_forgets_does_not():
    """A layer whose state is cut in the pause cannot answer: it is as good as a guess."""

    class Cut(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            first, _ = self.layer(x[:STRING])
            rest, state = self.layer(x[STRING:])
            return torch.cat([first, rest]), state

    learned = train(TASKS["copy"], "gru", 3, 0, BRIEF)
    forgot = train(TASKS["copy"], "gru", 3, 0, BRIEF, wrap=Cut)

    assert learned.success > 0.9
    assert forgot.success < 3 * TASKS["copy"].guessing


def test_the_same_seed_trains_the_same_layer():
    effort = Effort(parameters=300, updates=5)
    one, other, odd = (train(TASKS["adding"], "lstm", 5, seed, effort) for seed in (1, 1, 2))
    assert (one.success, one.loss) == (other.success, other.loss)
    assert one.loss != odd.loss


def test_the_forget_bias_is_the_forget_gates():
    """lstm+1 differs from lstm in H biases of gate f, by 1."""
    seen = {}

    def look(cell):
        def wrap(layer):
            seen[cell] = layer.bias_ih_l0.detach().clone()
            return layer

        return wrap

    for cell in ("lstm", "lstm+1"):
        train(TASKS["copy"], cell, 2, 0, Effort(parameters=300, updates=1), wrap=look(cell))
    moved = (seen["lstm+1"] - seen["lstm"]).reshape(4, -1)
    np.testing.assert_allclose(moved, np.eye(4)[1][:, None] * np.ones_like(moved), atol=1e-6)


def test_a_loss_that_is_no_number_ends_the_training():
    class Broken(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            y, state = self.layer(x)
            return y * float("nan"), state

    found = train(TASKS["copy"], "rnn", 2, 0, Effort(updates=3), wrap=Broken)
    assert found.diverged
    assert found.loss is None


def test_the_command_trains_tells_and_reports(here):
    command = ["bench", "memory", "--task", "copy", "--cell", "rnn", "--cell", "gru", "--lag", "2",
               "--seeds", "2", "--updates", "2", "--parameters", "200"]  # fmt: skip
    told = invoke(*command, "--report", "page.html")

    assert told.exit_code == 0, told.output
    assert "copy" in told.stdout
    assert "Right answers against lag" in (here / "page.html").read_text(encoding="utf-8")
    asked = invoke(*command, "--json")
    assert {row["id"] for row in json.loads(asked.stdout)} == {
        f"copy {cell} lag 2 seed {k}" for cell in ("rnn", "gru") for k in (0, 1)
    }


@pytest.mark.parametrize(("options", "words"), [
    (["--task", "sorting"], "task 'sorting': expected adding, copy, counting"),
    (["--cell", "qrnn"], "cell 'qrnn': expected rnn, gru, lstm, lstm+1"),
    (["--lag", "1"], "1 is not in the range x>=2"),
])  # fmt: skip
def test_a_wrong_option_is_one_sentence(options, words):
    told = invoke("bench memory", *options)
    assert told.exit_code == 2
    assert words in told.stderr


def test_without_torch_nothing_is_tested(here, monkeypatch):
    monkeypatch.setattr(memory, "find_spec", lambda name: None)
    told = invoke("bench memory --lag 2 --seeds 1")
    assert "not tested: 12 of 12: torch is not installed" in told.stdout
