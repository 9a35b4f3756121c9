"""The package: light to import, complete when built, imports pointing up."""

import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

from gatewise.verify.mutants import mutants

FRONT = "import gatewise; print(all(hasattr(gatewise, name) for name in gatewise.__all__))"


def python(code):
    """Run code in a fresh interpreter."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(("code", "heavy"), [
    ("import gatewise", "torch flint scipy hypothesis rich jinja2 mpmath distributed"),
    # --help answers without NumPy even
    ("from click.testing import CliRunner; from gatewise.cli import main; "
     "assert not CliRunner().invoke(main, ['--help']).exit_code",
     "torch matplotlib flint scipy hypothesis numpy"),
    # pytest loads it in every project on the machine
    ("import gatewise.verify.pytest_plugin",
     "torch flint scipy hypothesis numpy rich distributed"),
    # every layer has a process of its own that imports it
    ("import gatewise.verify.execution.respondent",
     "torch flint scipy hypothesis rich click distributed"),
], ids=["import", "help", "pytest plugin", "a layer's process"])  # fmt: skip
def test_nothing_heavy_is_loaded(code, heavy):
    assert python(f"{code}; import sys; print({{*{heavy.split()}}} & {{*sys.modules}})") == "set()"


def test_the_front_door_opens():
    assert python(FRONT) == "True"


def test_an_unknown_name_is_an_attribute_error():
    import gatewise

    with pytest.raises(AttributeError, match="no attribute 'LSTMM'"):
        gatewise.LSTMM  # noqa: B018


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """A wheel built from a clean copy of the repository, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, text=True,
                           capture_output=True, check=True).stdout.split("\n")  # fmt: skip
    for name in filter(None, files):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((root / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", str(folder), str(source)], check=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module_and_nothing_else(wheel, root):
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = ("reference", "verify", "bench", "reports", "cli")
    paths = [path.relative_to(root) for top in tops for path in (root / top).rglob("*.py")]
    beside = ("results", "out")  # below reports: pages and scripts, and what runs have left
    code = {f"gatewise/{path}" for path in paths if path.parts[1] not in beside}
    assert code <= names
    assert {"gatewise/py.typed", "gatewise/__main__.py"} <= names
    assert {f"gatewise/reports/templates/page.{kind}" for kind in ("html", "css")} <= names
    assert {f"gatewise/{path.relative_to(root)}" for path in root.glob("bench/**/*.toml")} <= names
    assert not [name for name in names if re.search(r"/(tests/|findings/|noxfile|setup)", name)]


def test_the_conda_recipe_asks_for_what_the_package_asks_for(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = (root / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    (run,) = re.findall(r"^  run:\n((?:    - .*\n)+)", recipe, re.MULTILINE)
    asked = {line.strip("- ").replace(" ", "") for line in run.splitlines()}

    assert asked == {*project["dependencies"], "python" + project["requires-python"]}
    assert f"version: {project['version']}\n" in recipe


def test_the_paper_counts_what_there_is_and_cites_what_it_lists(root):
    """Its length is what JOSS asks for: 250 to 1,000 words."""
    text = (root / "paper" / "paper.md").read_text(encoding="utf-8")
    _, _, body = text.split("---\n", 2)
    listed = re.findall(r"^@\w+\{(\w+),", (root / "paper" / "paper.bib").read_text("utf-8"), re.M)

    assert set(re.findall(r"@(\w+)\]", body)) == set(listed)
    assert 250 <= len(body.split()) <= 1000
    assert f"{len(mutants())} wrong layers" in body
