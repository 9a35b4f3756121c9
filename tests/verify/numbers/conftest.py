"""Every call in these tests is held to the shapes of its signature."""

import pytest

import shapes


@pytest.fixture(autouse=True)
def _shapes_of_signatures():
    with shapes.checking():
        yield
