"""What all tests share: the deterministic Hypothesis profile, and where the source lies."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before NumPy is imported: products of small matrices take ten times as long on several threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import preloaded
import shapes

# What is imported until all tests are there is kept compiled, with assertions rewritten: that takes
# as long as all else until then. Layers that tests write within a second are not to be.
KEPT, sys.dont_write_bytecode = sys.dont_write_bytecode, False

pytest.register_assert_rewrite("commands", "judgements")

settings.register_profile("gatewise", max_examples=40, deadline=None, derandomize=True,
                          database=None, suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
settings.load_profile("gatewise")

shapes.install()
os.environ.pop("COLUMNS", None)  # xdist's workers have it, and lines would break there


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests of processes: only the last tests of a worker are stolen by another.

    One run serves many of them, and would be made twice.
    """
    items.sort(key=lambda item: "execution" not in item.path.parts)


def pytest_collection_finish() -> None:
    """Look seldom for cycles, and never among tests and modules, which live until the end."""
    sys.dont_write_bytecode = KEPT
    gc.freeze()
    gc.set_threshold(preloaded.SELDOM)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root, which is the package."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def other(root: Path) -> Callable[[str], str]:
    """Name a subject of a framework that does not exist."""
    return lambda name: f"{root}/tests/doubles/other_frameworks.py:{name}"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def server() -> Iterator[preloaded.Server]:
    """What forks processes that have imported PyTorch."""
    server = preloaded.Server()
    yield server
    server.close()


@pytest.fixture(scope="module", autouse=True)
def workers(request: pytest.FixtureRequest, server: preloaded.Server) -> Iterator[None]:
    """Let subjects run in forks of one process, which do not import PyTorch anew.

    Tests of the processes themselves start fresh ones.
    """
    with pytest.MonkeyPatch.context() as patch:
        if preloaded.FORKS and "execution" not in request.path.parts:
            patch.setattr(preloaded.STARTING, server.double)
        yield
