"""The page in a real browser: `apt-get install chromium chromium-driver` (or the like) lets these run."""

import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.writing import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="NO BROWSER: chromium and chromedriver must be on PATH"
    ),
]
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(browser: Any, pristine_study: StudyFolder, tmp_path_factory: pytest.TempPathFactory) -> Any:
    copy = shutil.copytree(pristine_study.path, tmp_path_factory.mktemp("page") / "docstrings")
    # The browser's own start page asks for things, too.
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    opened(browser, write_report(StudyFolder(copy)))
    return browser


def opened(browser: Any, path: Path) -> Any:
    """The browser with a page whose plots are drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(path.as_uri())
    ready = "return document.documentElement.dataset.drawn === 'yes'"
    WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(ready))
    return browser


@contextmanager
def seen_as(browser: Any, *, width: int, scheme: str) -> Iterator[None]:
    """A screen of that width, in the light or the dark scheme."""
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    preferred = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preferred})
    try:
        browser.execute_async_script("setTimeout(arguments[0], 400)")
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


SCREENS = pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])


def count(page: Any, selector: str) -> int:
    found: int = page.execute_script("return document.querySelectorAll(arguments[0]).length", selector)
    return found


def test_console_is_clean_and_nothing_is_asked_from_outside(page: Any) -> None:
    assert page.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked, "the log must hold at least the page itself"
    assert [url for url in asked if not url.startswith(("file://", "data:", "blob:"))] == []


def test_hostile_texts_run_nothing_and_show_as_they_are(page: Any) -> None:
    assert page.execute_script("return window.pwned") is None
    assert count(page, "main img") == 0
    texts = page.execute_script("return [...document.querySelectorAll('pre')].map(e => e.textContent)")
    assert any("{{ 7 * 7 }} {% raw %} ${1+1}" in text for text in texts)
    assert any("=cmd|' /C calc'!A0" in text for text in texts)


def test_policy_stops_a_script_that_got_in(page: Any) -> None:
    page.execute_script(
        "const s = document.createElement('div'); s.innerHTML = '<img src=x onerror=\"window.pwned = 2\">';"
        "s.id = 'intruder'; document.body.append(s);"
    )
    page.execute_async_script("setTimeout(arguments[0], 300)")
    assert page.execute_script("return window.pwned") is None
    page.execute_script("document.getElementById('intruder').remove()")
    page.get_log("browser")


def test_plots_hold_the_data(page: Any) -> None:
    assert count(page, "#dev .scatterlayer .trace path.js-line") == 11
    assert count(page, "#dev .scatterlayer .trace path.point") == 7 * 4 + 3 * 2 + 1
    assert count(page, "#loss .scatterlayer .trace path.js-line") == 11
    assert count(page, "#scores .scatterlayer path.point") == 7
    assert count(page, "#scores .errorbar") == 7
    assert count(page, "#set .errorbar") == count(page, "#set path.point") == 2
    # Seven complete trials, and in the strip below them five that were pruned, failed, never ran or still do.
    assert count(page, "#history .scatterlayer path.point") == 7 + 5
    assert [count(page, f"#slice-{n} path.point") for n in range(4)] == [7 + 5] * 4


def test_tables_sort_numbers_as_numbers_and_empty_last(page: Any) -> None:
    def column(index: int) -> list[str]:
        cells: list[str] = page.execute_script(
            "return [...document.querySelectorAll('#ranking tbody tr')]"
            ".map(row => row.cells[arguments[0]].textContent)",
            index,
        )
        return cells

    click = "document.querySelectorAll('#ranking th button')[1].click()"
    page.execute_script(click)
    assert column(1) == ["0", "1", "3", "5", "7", "9", "10"]
    page.execute_script(click)
    assert column(1) == ["10", "9", "7", "5", "3", "1", "0"]


def test_dark_scheme_repaints_the_plots(page: Any) -> None:
    colour = "return getComputedStyle(document.querySelector('#history path.point')).fill"
    light = page.execute_script(colour)
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    try:
        page.execute_async_script("setTimeout(arguments[0], 300)")
        assert page.execute_script(colour) != light
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_phone_width_scrolls_tables_not_the_page(page: Any) -> None:
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.execute_async_script("setTimeout(arguments[0], 300)")
        assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def axe() -> str | None:
    """The script of axe-core: of the file in AXE_CORE, else of the package axe-core-python."""
    if named := os.environ.get("AXE_CORE"):
        return Path(named).read_text(encoding="utf-8")
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")


@pytest.mark.skipif(axe() is None, reason="NO AXE: axe-core-python, or axe.min.js in AXE_CORE")
@SCREENS
def test_axe_finds_nothing(page: Any, width: int, scheme: str) -> None:
    with seen_as(page, width=width, scheme=scheme):
        page.execute_script(axe())
        found = page.execute_async_script(
            "axe.run().then(arguments[0], error => arguments[0]({violations: [String(error)]}))"
        )
    told = [(rule["id"], rule["impact"], rule["nodes"][0]["html"]) for rule in found["violations"]]
    assert told == []


# axe leaves a contrast open where elements overlap, as plots and tables that scroll do.
CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const channels = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const luminance = ([r, g, b]) => {
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const [x, y, z] = [r, g, b].map(v => linear(v / 255));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = channels(getComputedStyle(e).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return [255, 255, 255, 255];
};
const seen = new Map();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !element.getClientRects().length) continue;
  const style = getComputedStyle(element);
  const colour = element.closest("svg") ? style.fill : style.color;
  const [a, b] = [luminance(channels(colour)), luminance(behind(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const place = `${element.tagName} ${colour}: ${ratio.toFixed(2)}`;
  if (ratio < 4.5) seen.set(place, element.textContent.slice(0, 40));
}
return [...seen];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(page: Any, scheme: str) -> None:
    with seen_as(page, width=1280, scheme=scheme):
        assert page.execute_script(CONTRAST) == []


def test_headings_go_down_one_level_at_a_time(page: Any) -> None:
    levels = page.execute_script(
        "return [...document.querySelectorAll('h1, h2, h3, h4, h5')].map(e => Number(e.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_everything_has_a_name_and_is_reached_by_keyboard(page: Any) -> None:
    assert count(page, ".plot") == count(page, ".plot[role=img][aria-label]") > 8
    assert count(page, "table") == count(page, "table:has(thead th[scope=col])") >= 5
    assert count(page, "th:empty") == 0
    unnamed = "return [...document.querySelectorAll('button, a')].filter(e => !e.textContent.trim()).length"
    assert page.execute_script(unnamed) == 0
    stuck = """
      const scrolls = (e) => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1;
      const shown = (e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
      return [...document.querySelectorAll("main *")]
        .filter(e => shown(e) && scrolls(e) && e.tabIndex < 0).map(e => e.outerHTML.slice(0, 80));
    """
    assert page.execute_script(stuck) == []


@SCREENS
def test_tables_and_plots_stay_in_their_boxes(page: Any, width: int, scheme: str) -> None:
    outside = """
      const main = document.querySelector("main").getBoundingClientRect();
      return [...document.querySelectorAll(".card, .scroll, .plot, figure, pre, p, dl, ul")]
        .map(e => [e, e.getBoundingClientRect()])
        .filter(([e, box]) => box.width && (box.right > main.right + 1 || box.left < main.left))
        .map(([e]) => e.outerHTML.slice(0, 80));
    """
    with seen_as(page, width=width, scheme=scheme):
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        assert page.execute_script(outside) == []


def test_first_screen_has_verdict_plot_test_and_command(
    browser: Any, quickstart: StudyFolder, tmp_path: Path
) -> None:
    copy = shutil.copytree(quickstart.path, tmp_path / "quickstart")
    adapter = StudyFolder(copy).adapter("0011")
    adapter.mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (adapter / name).touch()
    opened(browser, write_report(StudyFolder(copy)))
    bottom = "return document.querySelector(arguments[0]).getBoundingClientRect().bottom"
    with seen_as(browser, width=1280, scheme="light"):
        for part in (".says", "#set", ".next .facts"):
            assert 0 < browser.execute_script(bottom, part) < 800
    text = browser.execute_script("return document.querySelector('.answer').innerText")
    assert "Trials 11, 8, 6 and 9 may be best." in text
    assert "[0.1724, 0.2876]" in text  # trial 11 on test
    assert f"loratory publish {copy} --repo me/quickstart --base-id me/BASE" in text


def test_diverged_trials_do_not_flatten_the_losses(
    browser: Any, quickstart: StudyFolder, tmp_path: Path
) -> None:
    copy = shutil.copytree(quickstart.path, tmp_path / "quickstart")
    opened(browser, write_report(StudyFolder(copy)))
    top = "return document.getElementById('loss').layout.yaxis.range[1]"
    marks = "return document.getElementById('loss').data.at(-1).visible !== false"
    press = "document.querySelector(arguments[0]).click()"
    narrow = browser.execute_script(top)
    assert narrow < 7
    assert browser.execute_script(marks)
    browser.execute_script(press, '[data-whole="loss"]')
    assert browser.execute_script(top) > 2 * narrow
    assert not browser.execute_script(marks)
    browser.execute_script("Plotly.relayout('loss', {'yaxis.range': [3, 4], 'xaxis.range': [0, 10]})")
    browser.execute_script(press, '[data-reset="loss"]')
    assert browser.execute_script(top) > 2 * narrow
    browser.execute_script(press, '[data-whole="loss"]')
    assert browser.execute_script(top) == narrow
    assert browser.execute_script(marks)
    assert browser.get_log("browser") == []


def test_a_table_that_is_cut_says_so_until_its_end_is_seen(browser: Any, study: StudyFolder) -> None:
    page = opened(browser, write_report(study))
    state = (
        "const region = document.querySelector('#ranking').closest('.scroll');"
        "return [region.classList.contains('more'), region.previousElementSibling.hidden]"
    )
    to_the_end = "document.querySelector('#ranking').closest('.scroll').scrollLeft = 1e5"
    with seen_as(page, width=390, scheme="light"):
        assert page.execute_script(state) == [True, False]
        page.execute_script(to_the_end)
        page.execute_async_script("setTimeout(arguments[0], 100)")
        assert page.execute_script(state) == [False, False]


def test_a_command_is_not_broken_at_its_hyphens(browser: Any, study: StudyFolder) -> None:
    page = opened(browser, write_report(study))
    heights = "return [...document.querySelectorAll('.command span')].map(e => e.getClientRects().length)"
    with seen_as(page, width=390, scheme="light"):
        assert set(page.execute_script(heights)) == {1}
