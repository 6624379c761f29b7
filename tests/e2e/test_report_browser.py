"""The report in a real browser: wide and narrow, light and dark, with and without scripts."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from torchkiln.report.page import write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its chromedriver on PATH"),
]

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
KINDS = ("images", "table", "text", "interrupted", "hostile")

OPEN_FOLDS = "for (const fold of document.querySelectorAll('details')) fold.open = true;"
EMPTY_DRAWINGS = """
return [...document.querySelectorAll('svg')].filter(svg => {
  const box = svg.getBoundingClientRect();
  return !(box.width > 20 && box.height > 8);
}).map(svg => svg.outerHTML.slice(0, 200));
"""
LOW_CONTRAST = """
function channels(text) {
  const [r, g, b, a = 1] = text.match(/-?[\\d.]+(e-?\\d+)?/g).map(Number);
  return text.startsWith('color(srgb') ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
}
function luminance(rgb) {
  const [r, g, b] = rgb.map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(element) {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.unshift(channels(getComputedStyle(e).backgroundColor));
  const blend = (under, [r, g, b, a]) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a));
  return layers.reduce(blend, [255, 255, 255]);
}
const poor = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement, style = getComputedStyle(element);
  if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
  if (element.closest('script, style, title, desc')) continue;
  const words = channels(element.closest('svg') ? style.fill : style.color).slice(0, 3);
  const [low, high] = [luminance(words), luminance(behind(element))].sort((a, b) => a - b);
  const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 600);
  const ratio = (high + 0.05) / (low + 0.05);
  if (ratio < (large ? 3 : 4.5)) poor.push([ratio.toFixed(2), walker.currentNode.data.trim().slice(0, 40)]);
}
return poor;
"""

Show = Callable[..., webdriver.Chrome]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of each kind of run."""
    makers = runpy.run_path(str(Path(__file__).parents[1] / "unit" / "report" / "conftest.py"))["MAKERS"]
    folder = tmp_path_factory.mktemp("runs")
    return {kind: write(makers[kind](folder / kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def show(chrome: webdriver.Chrome, pages: dict[str, Path]) -> Show:
    """Open a page as on a device, with nothing left over from the page before."""

    def go(kind: str, device: str, scheme: str = "light", scripts: bool = True) -> webdriver.Chrome:
        width, height = SIZES[device]
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": device == "phone"}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        wish = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)
        chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        chrome.get("about:blank")
        for log in ("browser", "performance"):
            chrome.get_log(log)
        chrome.get(pages[kind].as_uri())
        return chrome

    return go


def requests(chrome: webdriver.Chrome) -> list[str]:
    """Addresses that the page asked for since it was opened."""
    events = [json.loads(entry["message"])["message"] for entry in chrome.get_log("performance")]
    return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("device", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_page_opens_whole_and_alone(show: Show, pages: dict[str, Path], kind: str, device: str) -> None:
    chrome = show(kind, device)
    chrome.execute_script(OPEN_FOLDS)
    asked = requests(chrome)
    assert asked[0] == pages[kind].as_uri()
    assert [url[:40] for url in asked[1:] if not url.startswith("data:")] == []
    assert chrome.execute_script("return performance.getEntriesByType('resource').map(e => e.name)"
                                 ".filter(name => !name.startsWith('data:'))") == []  # fmt: skip
    assert chrome.get_log("browser") == []
    assert chrome.execute_script(EMPTY_DRAWINGS) == []
    assert chrome.execute_script("return document.querySelectorAll('svg').length") > 3
    pictures = "return [...document.images].filter(i => !i.naturalWidth).length"
    assert chrome.execute_script(pictures) == 0


@pytest.mark.parametrize("device", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_page_never_scrolls_sideways(show: Show, kind: str, device: str) -> None:
    chrome = show(kind, device)
    chrome.execute_script(OPEN_FOLDS)
    # Not innerWidth: a phone's browser makes that wider where the content is.
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= SIZES[device][0]


@pytest.mark.parametrize("device", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_verdict_is_in_the_first_screen(show: Show, kind: str, device: str) -> None:
    chrome = show(kind, device)
    ends = chrome.execute_script(
        "return [...document.querySelectorAll('.badge, .headline, .lede, .alerts')]"
        ".map(e => e.getBoundingClientRect().bottom)"
    )
    assert len(ends) >= 2
    assert 0 < max(ends) <= SIZES[device][1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_words_stand_out_from_their_ground(show: Show, kind: str, scheme: str) -> None:
    chrome = show(kind, "desktop", scheme)
    chrome.execute_script(OPEN_FOLDS)
    ground = chrome.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (int(ground.removeprefix("rgb(").split(",")[0]) < 128) == (scheme == "dark")
    assert chrome.execute_script(LOW_CONTRAST) == []


def test_words_of_strangers_do_nothing(show: Show) -> None:
    chrome = show("hostile", "desktop")
    assert chrome.title == "hostile: Better than every baseline"
    assert chrome.execute_script("return document.images.length") == 0


def test_a_table_is_sorted_by_its_heads(show: Show) -> None:
    chrome = show("images", "desktop")
    rows = "[...document.querySelectorAll('#data table.sortable tbody tr')]"
    column = f"return {rows}.map(row => +row.cells[1].dataset.v)"
    head = "document.querySelectorAll('#data table.sortable thead th')[1]"
    before = chrome.execute_script(column)
    chrome.execute_script(f"{head}.querySelector('button').click()")
    assert chrome.execute_script(column) == sorted(before)
    assert chrome.execute_script(f"return {head}.getAttribute('aria-sort')") == "ascending"
    chrome.execute_script(f"{head}.querySelector('button').click()")
    assert chrome.execute_script(column) == sorted(before, reverse=True)


def test_the_page_is_complete_without_scripts(show: Show) -> None:
    words: dict[bool, Any] = {}
    for scripts in (True, False):
        chrome = show("images", "desktop", scripts=scripts)
        words[scripts] = chrome.find_element("tag name", "body").text
        buttons = chrome.find_elements("css selector", "th button")
        assert bool(buttons) == scripts
    assert words[True] == words[False]
    assert "Worst mistakes" in words[False]


def test_paper_shows_what_is_folded(show: Show) -> None:
    chrome = show("images", "desktop")
    chrome.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert chrome.execute_script("return document.querySelectorAll('details:not([open])').length") == 0
    chrome.execute_script("dispatchEvent(new Event('afterprint'))")
    assert chrome.execute_script("return document.querySelectorAll('details:not([open])').length") > 0
