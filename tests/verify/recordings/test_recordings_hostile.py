"""Recordings are files of somebody else: what is not as it should be is refused in a sentence."""

import copy
import hashlib
import json
import os
import random
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import invoke, refused
from gatewise.reports import schemas
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import hold
from gatewise.verify.mutants import right_subject
from gatewise.verify.recordings import files
from gatewise.verify.recordings.files import Entry, Form, Recording
from gatewise.verify.recordings.record import trace_of
from gatewise.verify.runs.records import RunFileError
from gatewise.verify.runs.status import STATUSES
from gatewise.verify.subjects import subject_named
from hostile import alter, places

CASE = Case(4, 3, 2, 5)
CHECKS = ("smoke", "forward", "gradient")


def write(folder):
    """Write a small recording of a right GRU in this process."""
    folder.mkdir()
    subject = right_subject("gru")
    options = {k: v for k, v in vars(subject.options).items() if isinstance(v, bool)}
    entries = []
    for number, check in enumerate(CHECKS):
        name = f"{number:03}-{check}.safetensors"
        digest = files.write_trace(folder / name, trace_of(subject, check, CASE))
        entries.append(Entry(check, json.loads(CASE.to_json()), name, digest))
    files.write(folder, Recording(
        schema=files.SCHEMA, subject=subject.name, form=Form("explicit", "gru"), cells=("gru",),
        dtypes=("float64",), options=options, reasons=(), version="right", device={},
        command="gatewise record", created="2026-01-01T00:00:00Z", seed=0, versions={},
        machine={"processor": "a"}, source="", entries=tuple(entries),
    ))  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    return write(tmp_path_factory.mktemp("hostile") / "right")


@pytest.fixture
def folder(right, tmp_path):
    shutil.copytree(right, tmp_path / "there")
    return tmp_path / "there"


def index(folder):
    return json.loads((folder / "recording.json").read_text())


def put(folder, value):
    (folder / "recording.json").write_text(value if isinstance(value, str) else json.dumps(value))


def rewritten(folder, data, number=1):
    """Put other bytes in the place of a case's file, with the digest that they have."""
    said = index(folder)
    (folder / said["entries"][number]["file"]).write_bytes(data)
    said["entries"][number]["sha256"] = hashlib.sha256(data).hexdigest()
    put(folder, said)


def test_untouched_it_is_read(right):
    assert [e.check for e in files.read(right).entries] == list(CHECKS)
    for entry in files.read(right).entries:
        assert files.read_trace(right, entry).calls


def test_its_index_is_valid_by_the_schema(right):
    jsonschema = pytest.importorskip("jsonschema")
    index = json.loads((right / files.INDEX).read_text())
    holds = jsonschema.Draft202012Validator(schemas.stored()["recording"]).is_valid

    assert holds(index)
    assert not holds(index | {"schema": "gatewise.recording/0"})
    assert not holds(index | {"entries": [{"check": "smoke"}]})


def test_what_ran_is_read_case_by_case(folder):
    said = index(folder)
    said["entries"][1] |= {"ran": "cuDNN in 0 of 1 profiled calls", "lacking": "no cuDNN"}
    put(folder, said)
    subject = files.subject("recording:there", folder)
    verdicts = {check: hold(subject, check_named(check), "float64") for check in CHECKS}

    assert {check: v.status for check, v in verdicts.items()} == {
        "smoke": "passed", "forward": "fallback", "gradient": "passed"}  # fmt: skip
    assert verdicts["forward"].ran == "cuDNN in 0 of 1 profiled calls"


def changed(**fields):
    """Return what puts other values into the index."""
    return lambda folder: put(folder, index(folder) | fields)


def changed_entry(number, **fields):
    """Return what puts other values into an entry of the index."""

    def change(folder):
        said = index(folder)
        said["entries"][number] |= fields
        put(folder, said)

    return change


def one_bit(folder):
    path = folder / "001-forward.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def truncated(folder):
    path = folder / "002-gradient.safetensors"
    os.truncate(path, path.stat().st_size // 2)


def linked(folder):
    path = folder / "000-smoke.safetensors"
    path.rename(folder.parent / "outside")
    path.symlink_to(folder.parent / "outside")


def twice(folder):
    entries = index(folder)["entries"]
    put(folder, index(folder) | {"entries": [*entries, entries[0]]})


PATHS = ("../x", "/etc/passwd", "000-smoke.safetensors/../../x", "a.safetensors", "", "000-smoke")
JSONS = ("", "[]", "{", "null", "\x00", '{"schema": NaN}', "[" * 100_000)
FORMS = (("named", "os:system"), ("like", "my.py:LSTM"), ("explicit", "lstm"))
SIZES = {"T": 4, "B": 3, "D": 2, "H": 5}

DAMAGED = [
    (one_bit, "its SHA-256 differs"),
    (truncated, "its SHA-256 differs"),
    (lambda folder: (folder / "000-smoke.safetensors").unlink(), "there is no such file"),
    (linked, "there is no such file in the recording"),
    (twice, "twice"),
    *((changed_entry(0, file=name), "expected a name in this folder") for name in PATHS),
    *((lambda folder, text=text: put(folder, text), "recording.json: ") for text in JSONS),
    *((changed(form={"kind": kind, "name": name}), "is not known here") for kind, name in FORMS),
    (changed(schema="gatewise.recording/2"), "expected schema gatewise.recording/1"),
    (changed(schema=None), "expected schema"),
    (changed(entries=[]), "expected 1 to 999 cases"),
    (changed(cells=["transformer"]), "cells: unknown: transformer"),
    (changed(cells=[]), "cells"),
    (changed(dtypes=["int8"]), "dtypes: expected some of float64"),
    (changed(options={}), "options: missing or unknown"),
    (changed(surprise=1), "unknown fields: surprise"),
    (changed(seed="0"), "seed: expected int"),
    (changed_entry(1, case={"T": 4, "B": 3, "D": 2}), "H missing"),
    (changed_entry(1, case=SIZES | {"T": 4096}), "T: expected at most"),
    (changed_entry(1, case=SIZES | {"H": 4000}), "H: expected at most"),
    (changed_entry(1, case=SIZES | {"dtype": "float32"}), "is not one of the recording's"),
    (changed_entry(1, case=SIZES | {"T": -1}), "expected 0 to"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGED)
def test_what_is_damaged_is_refused(folder, damage, words):
    damage(folder)

    with pytest.raises(RunFileError, match=words) as said:
        files.subject("recording:there", folder)
    assert "\n" not in str(said.value)
    assert len(str(said.value)) < 600


def test_a_damaged_recording_is_a_usage_error(folder):
    one_bit(folder)
    runs = str(folder.parent / "runs")
    refused(invoke("verify", f"recording:{folder}", "--runs", runs), 2, "its SHA-256 differs")


def forged(folder, number=1):
    """Return the header and the numbers of a case's file."""
    data = (folder / index(folder)["entries"][number]["file"]).read_bytes()
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def joined(header, numbers):
    said = json.dumps(header).encode()
    return len(said).to_bytes(8, "little") + said + numbers


def test_files_that_only_have_the_right_digest(folder):
    """Digests are no signature: whoever forges a file can forge its digest, too."""
    header, numbers = forged(folder)
    missing, ended, nothing = copy.deepcopy(header), copy.deepcopy(header), copy.deepcopy(header)
    said = json.loads(header["__metadata__"]["gatewise"])
    missing["__metadata__"]["gatewise"] = json.dumps(
        said | {"drawn": dict.fromkeys(said["drawn"], "gone")}
    )
    ended["__metadata__"]["gatewise"] = json.dumps(
        said | {"ended": {"kind": "SystemExit", "message": ""}}
    )
    del nothing["__metadata__"]
    for data, words in (
        (b"", "not a safetensors file"),
        (b"\xff" * 8 + b"{}", "not a safetensors file"),
        ((2**40).to_bytes(8, "little"), "not a safetensors file"),
        (joined(header, numbers[:-8]), "not a safetensors file"),
        (joined(missing, numbers), "arrays missing: gone"),
        (joined(ended, numbers), "ended: expected one of"),
        (joined(nothing, numbers), "not JSON"),
    ):
        rewritten(folder, data)
        with pytest.raises(RunFileError, match=words) as error:
            files.read_trace(folder, files.read(folder).entries[1])
        assert "\n" not in str(error.value)


def test_a_forged_file_is_not_tested_and_not_right(folder, tmp_path):
    rewritten(folder, b"")
    line = f"verify recording:{folder} --check forward --dtype float64 --json --runs"
    done = invoke(line, tmp_path / "runs")
    assert done.exit_code == 3
    said = {v["check"]: v for v in json.loads(done.stdout)}["forward"]
    assert said["status"] == "not tested"
    assert "not a safetensors file" in said["message"]
    assert "gatewise itself" not in said["message"]


def test_numbers_of_another_shape(folder):
    header, numbers = forged(folder)
    said = json.loads(header["__metadata__"]["gatewise"])
    keys = list(said["drawn"])
    said["drawn"] = {keys[0]: said["drawn"][next(k for k in keys if k[-8:] != keys[0][-8:])]}
    header["__metadata__"]["gatewise"] = json.dumps(said)
    rewritten(folder, joined(header, numbers))
    with pytest.raises(RunFileError, match="has another shape"):
        files.read_trace(folder, files.read(folder).entries[1])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def read_or_refused(folder):
    """Return why a recording is refused, or how many cases it holds; nothing else is raised."""
    try:
        return "", len(files.subject("recording:there", folder).traces)
    except RunFileError as error:
        return str(error), 0


@given(data=st.data())
def test_anything_in_an_index_is_read_or_refused(right, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz") / "there"
    shutil.copytree(right, folder)
    said = index(folder)
    *way, last = data.draw(st.sampled_from([*places(said)]))
    inner = said
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(JSON)
    put(folder, said)
    said, held = read_or_refused(folder)
    shutil.rmtree(folder)
    assert held == len(CHECKS) or (said and "\n" not in said)


def test_the_subject_is_named_in_the_refusal(tmp_path):
    with pytest.raises(ValueError, match=r"recording:.*there is no such file"):
        subject_named(f"recording:{tmp_path}")


def damaged(draw, folder):
    """Change a value of the index or of a case's file, or bytes of either; a digest may agree."""
    said = index(folder)
    path = draw.choice(sorted(folder.iterdir()))
    how = draw.choice(["value", "value", "bytes", "agreeing", "cut", "lost", "folder"])
    if how == "value":
        alter(said, draw)
        put(folder, said)
    elif how in ("bytes", "agreeing"):
        number = draw.randrange(len(said["entries"]))
        path = folder / said["entries"][number]["file"] if how == "agreeing" else path
        data = bytearray(path.read_bytes())
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(min(len(data), draw.choice([16, 3000])))] = draw.randrange(256)
        if how == "agreeing":
            rewritten(folder, bytes(data), number)
        else:
            path.write_bytes(data)
    elif how == "cut":
        data = path.read_bytes()
        path.write_bytes(data[: draw.randrange(len(data))])
    else:
        path.unlink()
        if how == "folder":
            path.mkdir()


@pytest.mark.parametrize("part", range(10))
def test_a_damaged_recording_is_held_or_refused_in_a_sentence(right, tmp_path, part):
    """GATEWISE_FUZZ says how many are tried; by hand, thousands."""
    draw = random.Random(part)
    for number in range(max(1, int(os.environ.get("GATEWISE_FUZZ", "40")) // 10)):
        folder = shutil.copytree(right, tmp_path / str(number))
        damaged(draw, folder)
        subject, said = opened(folder)
        assert said.isprintable()
        assert len(said) < 600
        for check in CHECKS if subject else ():
            verdict = hold(subject, check_named(check), "float64")
            assert "gatewise itself failed" not in verdict.message
            assert verdict.status in STATUSES
        shutil.rmtree(folder)


def opened(folder):
    """Return the subject that a recording is, or why it is none."""
    try:
        return files.subject("recording:there", folder), ""
    except RunFileError as refused:
        return None, str(refused)
