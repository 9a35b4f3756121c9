"""What the commands' tests share."""

import pytest

from commands import invoke


@pytest.fixture
def run(here):
    """Run the command in an empty folder."""
    return invoke
