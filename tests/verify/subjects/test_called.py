"""Who failed: the layer, a package that it calls, or one of gatewise's adapters."""

import pytest

from gatewise.verify.subjects.called import SubjectCrashed, with_care
from gatewise.verify.subjects.frameworks import torch_layers


def raising(text, file):
    """A function whose only line is in this file."""
    space = {}
    exec(compile(f"def build():\n    {text}", file, "exec"), space)
    return space["build"]


def test_an_adapters_own_slip_is_not_the_packages_failure():
    """It is raised as it is: whoever judges says that gatewise itself failed."""
    with pytest.raises(AttributeError, match="no attribute 'gone'"):
        with_care(raising("return (1).gone", torch_layers.__file__))


@pytest.mark.parametrize(("text", "name"), [
    ("raise RuntimeError('no kernel')", "RuntimeError"), ("return (1).gone", "AttributeError"),
])  # fmt: skip
def test_a_package_that_fails_is_named(text, name):
    """By the deepest frame, though an adapter called it."""
    inner = raising(text, "/lib/site-packages/some_package/core.py")
    with pytest.raises(
        SubjectCrashed, match=f"{name}: .* \\(some_package/core.py, line 2, in build\\)"
    ):
        with_care(lambda: inner())


def test_what_native_code_raises_below_an_adapter_is_the_packages():
    with pytest.raises(SubjectCrashed, match="RuntimeError: no kernel"):
        with_care(raising("raise RuntimeError('no kernel')", torch_layers.__file__))


def test_a_users_slip_is_the_users():
    with pytest.raises(SubjectCrashed, match=r"AttributeError: .*\(mine.py, line 2, in build\)"):
        with_care(raising("return (1).gone", "/home/me/mine.py"))
