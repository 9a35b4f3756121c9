"""What tests of the diagnosis share."""

import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.diagnosis import examination
from gatewise.verify.diagnosis.observation import VALUES, Experiment

SMALL = Case(3, 2, 2, 3)


@pytest.fixture
def briefly(monkeypatch):
    """Ask for one small experiment beside the failing cases: enough for mistakes that show."""
    monkeypatch.setattr(examination, "basic", lambda subject, dtype: [Experiment(VALUES, SMALL)])
    monkeypatch.setattr(examination, "thorough", lambda subject, dtype: [])
