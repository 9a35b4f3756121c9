"""What a layer's process answers is untrusted: what is no answer is told as such."""

import pytest

from commands import invoke
from gatewise.verify.execution.diagnosis_tasks import diagnoses
from gatewise.verify.execution.isolation import Isolated
from gatewise.verify.execution.tasks import Description, Named
from gatewise.verify.runs.verdict import Verdict

FORGED = (
    {}, {"subject": 3}, {"fits": "x"}, {"nearest": {}}, {"cases": [[1]]}, {"sha256": None},
    {"cases": [["../../x", "{}"]], "form": {"kind": "explicit", "name": "lstm"}, "dtypes": []},
    {"cases": [["forward", "{"]], "form": {"kind": "explicit", "name": "lstm"}, "dtypes": []},
    {"cases": [["../../x", '{"T":1,"B":1,"D":1,"H":1}']], "form": {"kind": "a", "name": "b"},
     "dtypes": ["float64"]},
    {"problem": "\udcff\x1b[31m"}, {"status": 3, "subject": "a", "dtype": "b"},
)  # fmt: skip


@pytest.fixture(params=FORGED, ids=lambda answer: str(answer)[:30])
def forged(request, here, monkeypatch):
    monkeypatch.setattr(Isolated, "ask", lambda *_, **__: dict(request.param))
    monkeypatch.setattr(Isolated, "describe", lambda _, named, timeout: Description(named))


@pytest.mark.parametrize(
    "command", ["identify torch:LSTM", "identify torch:LSTM --json", "record torch:LSTM -o there"]
)
def test_a_command(forged, tmp_path, command):
    result = invoke(command)
    assert result.exit_code == 3, result.output
    assert "Traceback" not in result.output
    assert "gatewise itself failed" not in result.output
    assert "\x1b[31m" not in result.output
    assert [*tmp_path.iterdir()] == []


def test_a_diagnosis(forged):
    verdict = Verdict("a:L", "lstm", "forward", "", [], "float64", 0, "failed", message="y = 1")
    (found,) = diagnoses([verdict], [Named("a:L")], memory=0)
    assert found.status == "unexplained"
    assert found.message.startswith("it could not be diagnosed: ")
    assert "\x1b" not in found.message


def test_what_stands_beside_a_recording_is_left_alone(here):
    """A folder that is called like the unfinished recording is somebody's."""
    (here / "there.part").mkdir()
    (here / "there.part" / "mine").write_text("kept")
    result = invoke("record torch:LSTM -o there")
    assert result.exit_code == 3
    assert (here / "there.part" / "mine").read_text() == "kept"
