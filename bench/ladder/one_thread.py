"""Call a function in a process whose numerical libraries use one thread.

They read the number of threads once, when they are loaded: too late for this process.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar
from unittest.mock import patch

from ..timing.environment import THREADS

P = ParamSpec("P")
R = TypeVar("R")


def in_one_thread(function: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
    """Return ``function(...)``, called in a process of its own."""
    context = multiprocessing.get_context("spawn")  # a forked process would have them loaded
    with (
        patch.dict(os.environ, dict.fromkeys(THREADS, "1")),
        ProcessPoolExecutor(1, context) as pool,
    ):
        return pool.submit(function, *args, **options).result()
