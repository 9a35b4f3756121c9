"""The layout of a framework's files: names of arrays, and arrays that hold several others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...reference.arrays import Floats

DEEPEST = 64
"""The largest number of layers in a file."""

TEMPLATE = "{name}_l{layer}{direction}"
PLACES = ("", "_reverse")


class Unfit(ValueError):
    """A file or its arrays are invalid; the message gives the reason."""


@dataclass(frozen=True)
class Stored:
    """Names and layout of arrays in files; the default is the convention's names.

    ``keys`` are pairs of a convention's array and the framework's own name for it. In a name
    ``{layer}`` is the layer's number, ``{later}`` is ``_1`` for layer 1 and "" for the first;
    ``{direction}`` is one of ``directions``: the only one, forward, backward. ``*`` matches
    anything within a part of a path when a file is read, and is left out when it is written.

    Arrays with one name in common are ``joined`` in the order of the keys: "concatenated", or
    "stacked" along a new axis. ``axis``: both directions lie along a first axis, even if there is
    one. ``turned`` are arrays that files hold transposed.
    """

    keys: tuple[tuple[str, str], ...] = ()
    directions: tuple[str, ...] = ("", *PLACES)
    joined: str = ""
    axis: bool = False
    turned: tuple[str, ...] = ()

    def file_name(self, name: str, *, both: bool = False) -> str:
        """Return the framework's own name of an array, weight_ih_l0_reverse for instance.

        ``both``: it is one of two directions.
        """
        return self._pattern(name, both and not self.axis).replace("*", "")

    def label(self, name: str, *, both: bool = False) -> str:
        """Return the framework's name for messages, with the convention's if that is ambiguous."""
        keys = dict(self.keys)
        several = self.axis or [*keys.values()].count(keys.get(_stem(name), "")) > 1
        file_name = self.file_name(name, both=both)
        return f"{file_name} ({name})" if several else file_name

    def to_file(self, named: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return the arrays of a file from those of all passes under the convention's names."""
        both = any(name.endswith(PLACES[1]) for name in named)
        stems = [stem for stem, _ in self.keys]
        stems += [stem for stem in dict.fromkeys(map(_stem, named)) if stem not in stems]
        contents: dict[str, list[Floats]] = {}
        for place in dict.fromkeys(name.removeprefix(_stem(name)) for name in named):
            parts: dict[str, list[Floats]] = {}
            for stem in (s for s in stems if s + place in named):
                key = self.file_name(stem + place, both=both)
                parts.setdefault(key, []).append(self._turned(stem, named[stem + place]))
            for key, arrays in parts.items():
                contents.setdefault(key, []).append(self._join(arrays))
        return {key: np.stack(a) if self.axis else a[0] for key, a in contents.items()}

    def from_file(
        self, stems: Sequence[str], arrays: Mapping[str, Floats]
    ) -> tuple[dict[str, Floats], list[str]]:
        """Return a file's arrays under the convention's names, and the names of superfluous ones.

        All names may begin with one path to the layer. Arrays that are copies of others, as in
        Paddle's files, are ignored. ``stems`` are the convention's arrays.
        """
        path, both = self._path(f"{stems[0]}_l0", arrays)
        named: dict[str, Floats] = {}
        matched: dict[str, None] = {}
        for layer, reverse in ((k, r) for k in range(DEEPEST) for r in PLACES[: 1 + both]):
            for pattern, names in self._shared(stems, f"_l{layer}{reverse}", both).items():
                key = _matching(path, pattern, arrays)
                if key is not None and key not in matched:
                    matched[key] = None
                    named |= dict(self._parts(key, arrays[key], names))
        contents = (
            {_content(arrays[key]) for key in matched} if len(matched) < len(arrays) else set()
        )
        return named, [
            k for k in arrays if k not in matched and _content(arrays[k]) not in contents
        ]

    def _pattern(self, name: str, both: bool) -> str:
        stem = _stem(name)
        layer, _, reverse = name.removeprefix(f"{stem}_l").partition("_")
        direction = self.directions[(2 if reverse else 1) if both else 0]
        later = "" if layer == "0" else f"_{layer}"
        template = dict(self.keys).get(stem, TEMPLATE)
        return template.format(name=stem, layer=layer, later=later, direction=direction)

    def _path(self, name: str, arrays: Mapping[str, Floats]) -> tuple[str, bool]:
        """Return the path before all names, and whether names distinguish two directions."""
        for both in (False,) if self.axis else (True, False):
            pattern = re.compile(rf"((?:.*[/.])?){_regular(self._pattern(name, both))}")
            for key in arrays:
                if match := pattern.fullmatch(key):
                    return match[1], both
        return "", False

    def _shared(self, stems: Sequence[str], place: str, both: bool) -> dict[str, list[str]]:
        """Return the convention's arrays of each of a pass's names in the file."""
        order = [stem for stem, _ in self.keys if stem in stems]
        shared: dict[str, list[str]] = {}
        for stem in dict.fromkeys([*order, *stems]):
            shared.setdefault(self._pattern(stem + place, both), []).append(stem + place)
        return shared

    def _parts(self, key: str, array: Floats, names: list[str]) -> Iterator[tuple[str, Floats]]:
        """Yield the convention's arrays in one array of a file."""
        if self.axis and array.shape[:1] not in ((1,), (2,)):
            raise Unfit(f"{key}: expected an axis of 1 or 2 directions first, got {_shape(array)}")
        for reverse, direction in zip(PLACES, array if self.axis else [array], strict=False):
            for name, part in zip(names, self._split(key, direction, len(names)), strict=True):
                yield name + reverse, self._turned(_stem(name), part)

    def _join(self, arrays: list[Floats]) -> Floats:
        if len(arrays) == 1:
            return arrays[0]
        return np.stack(arrays) if self.joined == "stacked" else np.concatenate(arrays)

    def _split(self, key: str, array: Floats, count: int) -> list[Floats]:
        if count == 1:
            return [array]
        length = array.shape[0] if array.ndim else 0
        if not length or length % count or (self.joined == "stacked" and length != count):
            raise Unfit(f"{key}: expected {count} arrays {self.joined}, got {_shape(array)}")
        return list(array) if self.joined == "stacked" else np.split(array, count)

    def _turned(self, stem: str, array: Floats) -> Floats:
        return array.T if stem in self.turned else array


def _stem(name: str) -> str:
    """Return weight_ih of weight_ih_l0_reverse."""
    return name.rpartition("_l")[0]


def _regular(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", "[^/]*")


def _matching(path: str, pattern: str, arrays: Mapping[str, Floats]) -> str | None:
    if "*" not in pattern:
        return path + pattern if path + pattern in arrays else None
    expression = re.compile(re.escape(path) + _regular(pattern))
    return next(filter(expression.fullmatch, arrays), None)


def _content(array: Floats) -> tuple[str, tuple[int, ...], bytes]:
    return str(array.dtype), array.shape, array.tobytes()


def _shape(array: Floats) -> str:
    return str(list(array.shape))
