"""Shapes in signatures, held to: what is called with other shapes, or returns them, raises.

``install`` is an import hook: every annotated function of the modules that it is given is wrapped
when its module is imported, so that it does not matter who calls it and by which name. Those
functions check while ``checking()`` is open, in the tests of those modules.
"""

import ast
import dataclasses
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import re
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import contextmanager

ROOMS = ("gatewise.reference", "gatewise.verify.numbers")
_state = {"checking": False, "calls": 0}
_held = []


class WrongShape(AssertionError):
    """An array has not the shape that a signature says."""


@contextmanager
def checking():
    """Check every call of a held function inside the block; yield the count of checked calls."""
    before = _state["checking"]
    _check_calls(True)
    try:
        yield lambda: _state["calls"]
    finally:
        _check_calls(before)


def _check_calls(checking):
    if checking != _state["checking"]:
        _state["checking"] = checking
        for function, codes in _held:
            function.__code__ = codes[checking]


def held(function):
    """Return a function whose arguments and result are checked.

    While nothing is checked its code is its own, so that a call costs what it costs without this.
    """
    if function.__closure__:
        return _checked(function)
    own = types.FunctionType(function.__code__, function.__globals__, function.__name__,
                             function.__defaults__)  # fmt: skip
    for name in ("__annotations__", "__kwdefaults__", "__module__", "__qualname__"):
        setattr(own, name, getattr(function, name))
    function.__wrapped__ = own
    constants = (_checked(own) if c == THE_CHECKED else c for c in _relay.__code__.co_consts)
    codes = own.__code__, _relay.__code__.replace(co_consts=tuple(constants))
    _held.append((function, codes))
    function.__code__ = codes[_state["checking"]]
    return function


THE_CHECKED = "the checked function"
"""The constant in whose place ``_relay`` calls another function."""


def _relay(*args, **kwargs):
    checked = "the checked function"
    return checked(*args, **kwargs)


def _checked(function):
    where = f"{function.__module__}.{function.__qualname__}"
    names, checks = (), None

    @functools.wraps(function)
    def checked(*args, **kwargs):
        nonlocal names, checks
        if not _state["checking"]:
            return function(*args, **kwargs)
        if checks is None:
            names, checks = tuple(inspect.signature(function).parameters), _checks(function)
        if not checks:
            return function(*args, **kwargs)
        _state["calls"] += 1
        sizes = {}
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if name in checks:
                checks[name](value, sizes, f"{where}: {name}")
        result = function(*args, **kwargs)
        if "return" in checks:
            checks["return"](result, sizes, f"{where}: result")
        return result

    return checked


def held_now(function):
    """Return a function that another one makes while it runs: checked if that one's call is."""
    return _checked(function) if _state["checking"] else function


def _checks(function):
    """Return a check for each argument, and for "return", whose annotation names shapes.

    Parameters bind the sizes of a call where they are its only ones; its gradient has theirs.
    """
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError:  # what is imported for type checkers alone
        return {}
    cells = [n for n, h in hints.items() if n != "return" and _is_parameters(h)]
    checks = {name: _check(hint, len(cells) == 1) for name, hint in hints.items()}
    checks = {name: check for name, check in checks.items() if check is not None}
    named = checks.keys() - set(cells)  # Parameters alone name no shapes
    return dict(sorted(checks.items(), key=lambda item: item[0] not in cells)) if named else {}


def _is_parameters(hint):
    return getattr(hint, "__name__", "") == "Parameters"


@functools.cache
def _check(hint, bound=False):
    """Return a function of a value, sizes and where it stands, or None where nothing is said."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        axes = hint.__metadata__[0]
        return _shape_check(axes) if isinstance(axes, str) else None
    if _is_parameters(hint):
        return _parameters_check if bound else None
    if origin in (typing.Union, types.UnionType):
        arms = [check for check in (_check(arm, bound) for arm in args) if check]
        return _all(arms) if arms else None
    if origin is tuple and not (len(args) == 2 and args[1] is ...):
        parts = [_check(each, bound) for each in args]
        return _tuple_check(parts) if any(parts) else None
    if origin in (tuple, list, Sequence):
        each = _check(args[0])
        return each and _each(each, lambda value: isinstance(value, list | tuple), enumerate)
    if origin in (dict, Mapping):
        each = _check(args[1])
        return each and _each(
            each, lambda value: isinstance(value, Mapping), lambda value: value.items()
        )
    kind = origin or hint
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = {f.name: _check(hints[f.name]) for f in dataclasses.fields(kind)}
        fields = {name: check for name, check in fields.items() if check}
        return _fields_check(kind, fields) if fields else None
    return None


def _all(checks):
    def check(value, sizes, where):
        if value is not None:
            for each in checks:
                each(value, sizes, where)

    return check


def _tuple_check(parts):
    def check(value, sizes, where):
        if isinstance(value, tuple):
            for k, (each, part) in enumerate(zip(parts, value, strict=True)):
                if each:
                    each(part, sizes, f"{where}[{k}]")

    return check


def _each(each, fits, items):
    def check(value, sizes, where):
        if fits(value):
            for key, part in items(value):
                each(part, sizes, f"{where}[{key!r}]")

    return check


def _fields_check(kind, fields):
    def check(value, sizes, where):
        if isinstance(value, kind):
            for name, each in fields.items():
                each(getattr(value, name), sizes, f"{where}.{name}")

    return check


def _parameters_check(p, sizes, where):
    for name, check in PARAMETERS.items():
        if name in p:
            check(p[name], sizes, f"{where}[{name!r}]")


def _shape_check(axes):
    names = axes.split()
    rest_last = names[-1:] == ["*"]
    names = names[:-1] if rest_last else names
    rest_first = names[:1] == ["..."]
    names = tuple(name for name in names if name != "...")
    least = len(names)

    def check(value, sizes, where):
        try:
            shape = value.shape
        except AttributeError:
            return
        rest = ()
        if rest_last:
            shape = shape[:least]
        if rest_first and len(shape) >= least:
            rest, shape = shape[: len(shape) - least], shape[len(shape) - least :]
        right = len(shape) == least and (not rest_first or sizes.setdefault("...", rest) == rest)
        for name, size in zip(names, shape, strict=False):
            known = size if name == "_" else int(name) if name.isdigit() else None
            right &= size == (sizes.setdefault(name, size) if known is None else known)
        if not right:
            known = ", ".join(f"{axis} = {size}" for axis, size in sizes.items())
            got = tuple(value.shape)
            raise WrongShape(f"{where}: expected ({axes}), got {got}; here {known}")

    return check


PARAMETERS = {n: _shape_check(a) for n, a in (("W", "G D H"), ("U", "G P H"), ("b", "_ H"))}
"""What a cell's parameters say of D, P and H; those that a cell does not have say nothing."""


WITHOUT_SHAPES = {
    "Any", "Arithmetic", "Array", "ArrayLike", "Bounded", "Callable", "Floats", "None", "Self",
    "Sequence", "bool", "dict", "dtype", "float", "int", "np", "object", "str", "tuple",
}  # fmt: skip
"""Names in annotations that say nothing of shapes: a function that has no others is not wrapped."""


def _says_shapes(function):
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every = [function.returns, *(each.annotation for each in every if each.annotation)]
    words = re.findall(r"\w+", " ".join(ast.unparse(each) for each in every if each))
    return not WITHOUT_SHAPES.issuperset(words)


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles a module with ``@held`` on each of its functions, inside all other decorators."""

    def get_code(self, fullname):
        source = self.get_data(self.get_filename(fullname))
        return self.source_to_code(source, self.get_filename(fullname))

    def source_to_code(self, data, path, *, _optimize=-1):
        tree = ast.parse(data)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        inner = {node for outer in functions for node in ast.walk(outer) if node is not outer}
        for node in functions:
            name = "held_now" if node in inner else "held"
            decorator = ast.parse(f"__import__('shapes').{name}", mode="eval").body
            for each in ast.walk(decorator):
                each.lineno = each.end_lineno = node.lineno
                each.col_offset = each.end_col_offset = 0
            generator = any(isinstance(n, ast.Yield | ast.YieldFrom) for n in ast.walk(node))
            if not generator and _says_shapes(node):
                node.decorator_list.append(decorator)
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if not fullname.startswith(tuple(f"{room}." for room in ROOMS)):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install():
    """Wrap the functions of the rooms from now on; none of their modules may be imported yet."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    early = [name for name in sys.modules if name.startswith(tuple(f"{r}." for r in ROOMS))]
    assert not early, f"imported before their shapes could be checked: {early}"
    sys.meta_path.insert(0, _Finder())
