"""What ``nox -s conformance`` reads: environments, declared deviations, findings."""

import ast
import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

from gatewise.verify.checks import check_named
from gatewise.verify.execution.availability import families
from gatewise.verify.runs.deviations import Deviations
from gatewise.verify.subjects import subjects
from gatewise.verify.subjects.frameworks import packages
from gatewise.verify.subjects.frameworks import torch_backends as torch_elsewhere
from gatewise.verify.subjects.quantised import in_arithmetic


@pytest.fixture
def folder(root):
    return root / "reports" / "results" / "conformance"


@pytest.fixture
def files(folder):
    """The declarations for the quick budget, and those that the standard one adds."""
    return [folder / "deviations.toml", folder / "deviations-standard.toml"]


@pytest.fixture
def declared(files):
    return [one for path in files for one in Deviations.read(path).declared]


def environments(root):
    """Return the arguments of every Environment in noxfile.py: extras, families."""
    tree = ast.parse((root / "noxfile.py").read_text(encoding="utf-8"))
    (table,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ENVIRONMENTS"
    )
    return {key.value: [ast.literal_eval(argument) for argument in call.args[:2]] for key,
            call in zip(table.keys, table.values, strict=True)}  # fmt: skip


def constant(root, name):
    """Return a literal of noxfile.py."""
    tree = ast.parse((root / "noxfile.py").read_text(encoding="utf-8"))
    return next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )


def test_every_package_is_pinned_once(root, folder):
    """What ``nox -s packages`` installs has the distribution of every row, with one version."""
    lines = (folder / "packages.txt").read_text(encoding="utf-8").splitlines()
    pins = [re.fullmatch(r"([\w.-]+)==[\w.]+", line)[1] for line in lines if line[0] != "#"]
    assert len(pins) == len(set(pins))
    assert {row.package for row in packages.SUBJECTS} <= set(pins)


def test_every_family_has_one_environment(root):
    held = [name for _, names in environments(root).values() for name in names]
    elsewhere = [name.partition(":")[0] for name in torch_elsewhere.NAMES]
    held += constant(root, "PACKAGE_FAMILIES")

    assert sorted({*held, *elsewhere}) == sorted(families())
    assert len(held) == len({*held})
    assert not {*held} & {*elsewhere}


def test_every_environment_has_its_extras(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = (root / "constraints.txt").read_text(encoding="utf-8").lower().splitlines()
    pinned = {pin.partition("==")[0] for pin in pins}

    for extras, _ in environments(root).values():
        for extra in extras.split(","):
            for needed in project["optional-dependencies"][extra]:
                assert re.match(r"[\w-]+", needed)[0] in pinned


def test_deviations_are_about_subjects_and_checks_that_there_are(declared):
    assert declared
    for one in declared:
        adapter = subjects()[one.subject]
        subject = in_arithmetic(adapter, getattr(adapter, "quantised", ""))
        assert check_named(one.check).concerns(subject), one
        assert one.dtype in ("", *subject.dtypes), one
        assert one.reason, one
        assert one.expires == date(2027, 11, 30), one


def test_no_deviation_is_declared_twice(declared):
    """Of two about one verdict the second would never be read."""
    keys = [(one.subject, one.check, one.dtype) for one in declared]
    bare = {(one.subject, one.check) for one in declared if not one.dtype}
    assert len(set(keys)) == len(keys)
    assert not [one for one in declared if one.dtype and (one.subject, one.check) in bare]


def test_every_entry_is_one_line(files):
    """So noxfile.py joins the files."""
    for path in files:
        text = path.read_text(encoding="utf-8")
        lines = sum(line.startswith("  {") for line in text.splitlines())
        assert lines == len(tomllib.loads(text)["deviation"])


def test_every_finding_is_in_the_table_and_every_link_leads_somewhere(folder, files):
    scripts = {path.name for path in (folder / "findings").glob("*.py")}
    linked = re.findall(r"findings/(\w+\.py)", (folder / "README.md").read_text(encoding="utf-8"))
    texts = [path.read_text(encoding="utf-8") for path in files]
    named = re.findall(r"findings/(\w+\.py)", "".join(texts))

    assert sorted(linked) == sorted(scripts)
    assert set(named) <= scripts


def test_findings_need_no_gatewise(folder):
    for path in sorted(Path(folder / "findings").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        says = ast.get_docstring(ast.parse(text))
        assert "gatewise" not in text, path
        assert re.search(r"Seen\s+with", says), path
        assert re.search(r"no\s+report\s+known|reported:|similar:", says), path
