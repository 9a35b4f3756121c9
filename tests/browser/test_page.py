"""The page in a real browser: no network, no error, no sideways scrolling, readable by everybody.

``nox -s browser`` runs these; GATEWISE_CHROMIUM names the browser where it is not found.
"""

import os
import shutil
from pathlib import Path

import pytest

playwright_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python"
)

from gatewise.reports.page import render
from gatewise.verify.checks import subject_checks
from gatewise.verify.runs.diagnosis import Diagnosis, Explanation
from gatewise.verify.runs.run import Planned
from made_runs import bench_run, failure, run, verdict

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = os.environ.get("GATEWISE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(
    not BROWSER, reason="there is no Chromium; name one in GATEWISE_CHROMIUM"
)

STATEMENTS = {check.id: check.statement for check in subject_checks()}
STATES = ("crashed", "timeout", "blind", "known deviation", "not supported")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic"),
)


def memory_run():
    """A bench's run, so that the page has a figure."""
    rows = tuple(
        {"id": f"{cell} {lag}", "status": "OK", "task": "copy", "cell": cell, "lag": lag, "seed": 0,
         "hidden": 9, "parameters": 99, "success": 1 - lag / 100, "loss": 0.1, "diverged": False,
         "seconds": 1.0}
        for cell in ("rnn", "lstm") for lag in (8, 24, 64)
    )  # fmt: skip
    return bench_run("memory", *rows, settings={"lags": [8, 24, 64]})


def held_run():
    """Every state, two dtypes, a diagnosis, and names that are too long."""
    verdicts = [verdict("torch:LSTM", check, dtype=dtype, worst_ratio=ratio)
                for check, ratio in (("forward", 0.4), ("gradient", 1e-3), ("x" * 60, 0.9))
                for dtype in ("float32", "float64")]  # fmt: skip
    odd = [verdict("torch:GRU", state, status=state, cell="gru") for state in STATES]
    found = Diagnosis("torch:GRU", "float64", "explained", ("forward",),
                      [Explanation(("L13",), ("r and z are exchanged.",), ("swap them",))],
                      tried=83, runner_up=4e11, runner_up_name="b not read")  # fmt: skip
    return run(*verdicts, *odd, failure("torch:GRU"), diagnoses=(found,),
               unheard=(Planned("torch:RNN", "forward", "float32"),))  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    with playwright_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=[*ARGUMENTS])
        yield found
        found.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(held_run(), memory_run()), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, file):
    """Open the page without a network; note what it asks for and complains of."""

    def open_page(**options):
        context = browser.new_context(offline=True, **options)
        page = context.new_page()
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda said: page.complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(Path(file).as_uri())
        page.wait_for_selector(".vega-embed svg")
        return page

    return open_page


def test_asks_for_nothing_and_complains_of_nothing(opened, file):
    page = opened()
    assert [url for url in page.asked if not url.startswith("data:")] == [file.as_uri()]
    assert page.complaints == []


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_never_scrolls_sideways(opened, width):
    page = opened(viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def serious_violations(page):
    return [
        f"{v['id']}: {node['html'][:120]}"
        for v in axe.Axe().run(page).response["violations"]
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_is_accessible(opened, scheme):
    """No serious violation of WCAG 2 AA, as axe-core sees it."""
    page = opened(color_scheme=scheme)
    assert serious_violations(page) == []


def test_the_table_is_filtered(opened):
    page = opened()
    label = page.locator(".choices label", has_text="float32").locator("input")
    cells = "[...document.querySelectorAll('.grid tbody tr:first-child td')]"
    columns = f"{cells}.filter(e => e.offsetWidth > 0).length"
    before = page.evaluate(columns)
    label.uncheck()
    assert page.evaluate(columns) < before

    cell = page.locator(".grid td.passed").last
    assert cell.is_visible()
    page.locator("#show-passed").uncheck()
    assert not cell.is_visible()


def test_what_failed_opens_by_keyboard_and_by_click(opened):
    page = opened()
    page.locator(".grid td.failed a").first.click()
    assert page.url.endswith("#failure-" + page.url.rpartition("-")[2])
    details = page.locator("details.failure").nth(1)
    summary = details.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert details.get_attribute("open") is not None


@pytest.mark.parametrize("failed", [0, 1, 20])
def test_one_subject_is_told_on_three_screens(browser, tmp_path, failed):
    checks = list(STATEMENTS)
    red = [failure("torch:LSTM", check=check, dtype=dtype)
           for check in checks[:failed] for dtype in ("float64", "float32")]  # fmt: skip
    green = [verdict("torch:LSTM", check, dtype=dtype, statement=STATEMENTS[check])
             for check in checks[failed:] for dtype in ("float64", "float32")]  # fmt: skip
    path = tmp_path / "report.html"
    path.write_text(render(run(*red, *green)), encoding="utf-8")
    page = browser.new_context(offline=True, viewport={"width": 1440, "height": 900}).new_page()
    page.goto(path.as_uri())
    page.add_style_tag(content="main > section { content-visibility: visible !important; }")
    assert page.evaluate("document.documentElement.scrollHeight") <= 3 * 900


def test_links_open_the_parts_that_are_closed(opened):
    page = opened()
    math = page.locator("#equations math").first
    assert not math.is_visible()
    page.locator("nav a", has_text="Equations").click()
    assert math.is_visible()


def test_is_accessible_with_all_parts_open(opened):
    page = opened()
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert serious_violations(page) == []


def test_figures_answer_to_the_pointer(opened):
    page = opened()
    point = page.locator(".vega-embed svg .mark-symbol path").first
    point.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "lag" in page.locator("#vg-tooltip-element").inner_text()


def test_without_scripts_the_figures_are_there(opened, browser, file):
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator(".chart svg").first.is_visible()
