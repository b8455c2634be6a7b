"""The page in a real browser: `apt-get install chromium chromium-driver` (or the like) lets these run."""

import json
import shutil
from collections.abc import Iterator
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
    from selenium.webdriver.support.ui import WebDriverWait

    copy = shutil.copytree(pristine_study.path, tmp_path_factory.mktemp("page") / "docstrings")
    path = write_report(StudyFolder(copy))
    # The browser's own start page asks for things, too.
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(path.as_uri())
    ready = "return document.documentElement.dataset.drawn === 'yes'"
    WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(ready))
    return browser


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
        "document.body.append(s);"
    )
    page.execute_async_script("setTimeout(arguments[0], 300)")
    assert page.execute_script("return window.pwned") is None
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
