"""The schemas in the package are those of the classes that runs are read with."""

import json
import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewise.bench import run as bench_run
from gatewise.reports import schemas
from gatewise.reports.page import render
from gatewise.verify.runs import run as run_files
from gatewise.verify.runs.diagnosis import Diagnosis, Explanation
from gatewise.verify.runs.records import RunFileError
from gatewise.verify.runs.run import Planned
from made_runs import failure, verdict

jsonschema = pytest.importorskip("jsonschema")


def valid(name, value):
    return jsonschema.Draft202012Validator(schemas.stored()[name]).is_valid(value)


def test_the_stored_schemas_are_those_of_the_classes():
    """Write them anew with: python -m gatewise.reports.schemas."""
    assert schemas.stored() == json.loads(json.dumps(schemas.generate()))


def test_the_schemas_are_schemas():
    for one in schemas.stored().values():
        jsonschema.Draft202012Validator.check_schema(one)


def test_what_is_written_is_valid(tmp_path):
    run_files.start(tmp_path / "r", command="c", seed=0, budget="quick",
                    planned=[Planned("a", "b", "c")])  # fmt: skip
    run_files.append(tmp_path / "r", failure())
    found = Diagnosis("a", "float64", "explained", ("b",), [Explanation(("L01",), ("x",), ())])
    run_files.append(tmp_path / "r", found)
    bench_run.start(tmp_path / "b", kind="decay", command="c", seed=0, settings={}, planned=["a"])
    bench_run.append(tmp_path / "b", {"id": "a", "status": "OK", "more": [1]})

    assert valid("run", json.loads((tmp_path / "r" / "run.json").read_text()))
    assert valid("verdict", json.loads((tmp_path / "r" / "verdicts.jsonl").read_text()))
    assert valid("diagnosis", json.loads((tmp_path / "r" / "diagnoses.jsonl").read_text()))
    assert valid("bench", json.loads((tmp_path / "b" / "run.json").read_text()))
    assert valid("row", json.loads((tmp_path / "b" / "rows.jsonl").read_text()))


def test_schema_and_reader_refuse_the_same(tmp_path):
    good = vars(verdict())
    odd = [
        {**good, "status": "fine"}, {**good, "cases": "3"}, {**good, "extra": 1},
        {**good, "worst_ratio": None}, {**good, "equations": [3]}, {**good, "seconds": True},
        {k: v for k, v in good.items() if k != "status"}, good,
    ]  # fmt: skip
    for number, value in enumerate(odd):
        folder = tmp_path / str(number)
        run_files.start(folder, command="c", seed=0, budget="quick", planned=[])
        (folder / "verdicts.jsonl").write_text(json.dumps(value) + "\n")
        try:
            run_files.read(folder)
            read = True
        except RunFileError:
            read = False
        assert read is valid("verdict", value), value


EXAMPLES = int(os.environ.get("GATEWISE_FUZZ", "150"))
"""Hostile runs that are tried; by hand, ten thousand."""

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
                    max_leaves=6)  # fmt: skip
HEADER = {
    "schema": run_files.SCHEMA, "command": "c", "created": "", "seed": 0, "versions": {},
    "machine": {}, "source": "", "budget": "quick", "planned": [],
}  # fmt: skip


@settings(max_examples=EXAMPLES, deadline=None)
@example(header={}, lines=[{"\n": None}], tail=b"")
@example(header={"\x1b[31m" * 300: 1}, lines=[], tail=b"")
@example(header={}, lines=[{"worst_ratio": 10**400}], tail=b"")
@given(
    header=st.dictionaries(st.sampled_from([*HEADER, "request", "x"]), JSON, max_size=3),
    lines=st.lists(st.one_of(JSON, st.dictionaries(st.sampled_from(list(vars(verdict()))), JSON))),
    tail=st.binary(max_size=20),
)
def test_whatever_a_file_holds_it_is_read_or_refused_in_a_sentence(
    tmp_path_factory, header, lines, tail
):
    folder = tmp_path_factory.mktemp("run")
    (folder / "run.json").write_text(json.dumps({**HEADER, **header}), encoding="utf-8")
    with (folder / "verdicts.jsonl").open("wb") as file:
        for line in lines:
            value = {**vars(verdict()), **line} if isinstance(line, dict) else line
            file.write(json.dumps(value).encode() + b"\n")
        file.write(tail)
    said = ""
    try:
        page = render(run_files.read(folder))
    except RunFileError as refused:
        said = str(refused)
        page = ""
    assert bool(said) != bool(page)
    assert len(said) < 600
    assert said.isprintable()
    assert "<script" not in page
