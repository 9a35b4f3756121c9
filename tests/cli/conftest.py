"""What the commands' tests share."""

import pytest

from commands import invoke


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return invoke
