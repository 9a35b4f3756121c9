"""Vectors as C: ``vectors.h`` declares the types, ``vectors.c`` holds the data.

Numbers are hexadecimal constants of double, which hold those of narrower dtypes exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .files import Given, Test, Vectors, Wanted

HEADER = """\
/* Vectors of gatewise: {title}. C99. */
#ifndef GATEWISE_VECTORS_H
#define GATEWISE_VECTORS_H

/* An array: entries in C order. bound is NULL where the array is given; an expected entry is right
   if it differs from its value by no more than its bound. */
typedef struct {{
    const char *name;
    int rank, shape[4], size;
    const double *value, *bound;
}} gatewise_array;

/* A mistake, and where it comes from. */
typedef struct {{
    const char *id, *mistake, *source;
}} gatewise_note;

/* One call. catches are the places in gatewise_notes of the mistakes that it catches, outputs_catch
   of those that it catches without gradients. */
typedef struct {{
    int id;
    const char *comment;
    int T, B, D, H, layers, directions;
    int catches_count, outputs_catch_count, given_count, expected_count;
    const int *catches, *outputs_catch;
    const gatewise_array *given, *expected;
}} gatewise_test;

extern const int gatewise_tests_count, gatewise_notes_count;
extern const gatewise_test gatewise_tests[];
extern const gatewise_note gatewise_notes[];

#endif
"""

CATCHES = ("catches", "outputs_catch")
MOST_AXES = 4
SPECIAL = {"nan": "NAN", "inf": "INFINITY", "-inf": "-INFINITY"}
PER_LINE = 8


def write(folder: Path, document: Vectors) -> tuple[Path, Path]:
    """Write a header and its data into a folder; return their paths."""
    title = f"{document.cell} in {document.dtype}, weights of {document.weights}"
    header, data = folder / "vectors.h", folder / "vectors.c"
    header.write_text(HEADER.format(title=title), encoding="utf-8")
    data.write_text("\n".join(_data(document)) + "\n", encoding="utf-8")
    return header, data


def _data(document: Vectors) -> Iterator[str]:
    """Yield the lines of the data, with arrays before the pointers to them."""
    yield '#include "vectors.h"'
    yield "#include <math.h>"
    places = {id: place for place, id in enumerate(document.notes)}
    for test in document.tests:
        for part in CATCHES:
            caught = ", ".join(str(places[id]) for id in getattr(test, part))
            yield f"static const int t{test.id}_{part}[] = {{{caught or 0}}};"
        yield from _arrays(f"t{test.id}_given", test.given)
        yield from _arrays(f"t{test.id}_expected", test.expected)
    yield "const gatewise_note gatewise_notes[] = {"
    for id, note in document.notes.items():
        yield f"{{{', '.join(map(_text, (id, note.mistake, note.source)))}}},"
    yield "};"
    yield "const gatewise_test gatewise_tests[] = {"
    yield from map(_test, document.tests)
    yield "};"
    yield f"const int gatewise_tests_count = {len(document.tests)};"
    yield f"const int gatewise_notes_count = {len(document.notes)};"


def _test(test: Test) -> str:
    sizes = (test.T, test.B, test.D, test.H, test.layers, 1 + test.bidirectional)
    parts = (*CATCHES, "given", "expected")
    counts = (len(getattr(test, part)) for part in parts)
    pointers = (f"t{test.id}_{part}" for part in parts)
    fields = (str(test.id), _text(test.comment), *map(str, (*sizes, *counts)), *pointers)
    return f"{{{', '.join(fields)}}},"


def _arrays(name: str, arrays: Mapping[str, Given] | Mapping[str, Wanted]) -> Iterator[str]:
    """Yield the numbers of some arrays, and the array of their descriptions."""
    rows = []
    named: list[tuple[str, Given | Wanted]] = [*arrays.items()]
    for place, (array_name, array) in enumerate(named):
        bound = "0"
        yield from _numbers(f"{name}_{place}", array.values)
        if isinstance(array, Wanted):
            bound = f"{name}_{place}_bound"
            yield from _numbers(bound, array.bounds)
        axes = (*map(str, array.shape), *("0",) * (MOST_AXES - len(array.shape)))
        shape = f"{len(array.shape)}, {{{', '.join(axes)}}}, {len(array.values)}"
        rows.append(f"{{{_text(array_name)}, {shape}, {name}_{place}, {bound}}},")
    yield f"static const gatewise_array {name}[] = {{"
    yield from rows
    yield "};"


def _numbers(name: str, values: Sequence[str]) -> Iterator[str]:
    """Yield an array of numbers, of one 0 if it is empty, because C has no empty arrays."""
    entries = [SPECIAL.get(value, value) for value in values] or ["0"]
    yield f"static const double {name}[] = {{"
    for start in range(0, len(entries), PER_LINE):
        yield ", ".join(entries[start : start + PER_LINE]) + ","
    yield "};"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
