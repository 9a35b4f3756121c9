"""How large a big page is and how long a browser takes over it; and 100 000 verdicts.

``python tests/browser/page_time.py`` measures and prints; nothing is asserted, as times are a
machine's own. ``nox -s browser`` runs it after the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "doubles"))

from gatewise.reports.formats import badge, written
from gatewise.reports.page import render
from gatewise.verify.runs import run as run_files
from made_runs import failure, run, verdict

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = os.environ.get("GATEWISE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run",
             "--disable-quic")  # fmt: skip
ALL = """async () => {
  const started = performance.now();
  for (const each of document.querySelectorAll("main > section")) {
    each.style.contentVisibility = "visible";
  }
  document.querySelector("footer").scrollIntoView();
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - started;
}"""
"""How long what is not in view takes, all at once."""

DTYPES = ("float16", "float32", "float64")
TIMES = """() => {
  const [load] = performance.getEntriesByType("navigation");
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  return [paint ? paint.startTime : null, load.domContentLoadedEventEnd, load.loadEventEnd];
}"""


def big(subjects: int, checks: int) -> run_files.Run:
    """A run of so many subjects and checks in three dtypes; one result in 97 is a failure."""
    verdicts = []
    for k in range(subjects * checks * len(DTYPES)):
        names = dict(subject=f"family:Layer{k // (checks * 3)}", check=f"check-{k // 3 % checks}",
                     dtype=DTYPES[k % 3])  # fmt: skip
        ratio = (k * 7919 % 1000) / 1000
        verdicts.append(failure(**names) if k % 97 == 0 else verdict(**names, worst_ratio=ratio))
    return run(*verdicts)


def took(what, call):
    """Print how long a call takes; return what it returns."""
    started = time.perf_counter()
    found = call()
    size = f", {len(found) / 1e6:.2f} MB" if isinstance(found, str) else ""
    print(f"{what}: {time.perf_counter() - started:.2f} s{size}", flush=True)
    return found


def loaded(path: Path, times: int = 7) -> None:
    """Print medians of the browser's own times, each in a context without a cache."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=[*ARGUMENTS])
        for _ in range(times):
            page = browser.new_context(offline=True, viewport={"width": 1440, "height": 900})
            page = page.new_page()
            page.goto(path.as_uri(), wait_until="load")
            page.wait_for_timeout(500)
            found.append([*page.evaluate(TIMES), page.evaluate(ALL)])
        print(f"Chromium {browser.version}, median of {times}: ", end="")
        browser.close()
    names = ("first contentful paint", "document ready", "load event", "the rest laid out")
    columns = [[t for t in each if t is not None] for each in zip(*found, strict=True)]
    print(
        ", ".join(f"{n} {statistics.median(c):.0f} ms" for n, c in zip(names, columns, strict=True))
    )


def main() -> None:
    print("50 subjects, 80 checks, 3 dtypes")
    page = took("HTML", lambda: render(big(50, 80)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, encoding="utf-8")
        if BROWSER:
            loaded(path)
        print("100 000 verdicts")
        many, kept = big(500, 67), Path(folder) / "run"
        run_files.start(kept, command="c", seed=0, budget="quick", planned=list(many.planned))
        lines = (json.dumps(vars(v)) + "\n" for v in many.verdicts)
        (kept / "verdicts.jsonl").write_text("".join(lines), encoding="utf-8")
        many = took("read", lambda: run_files.read(kept))
    page = took("HTML", lambda: render(many))
    took("Markdown", lambda: written([many], Path("a.md")))
    took("JUnit XML", lambda: written([many], Path("a.xml")))
    took("badge", lambda: badge([many]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, encoding="utf-8")
        if BROWSER:
            loaded(path, 3)


if __name__ == "__main__":
    main()
