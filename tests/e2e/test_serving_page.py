"""The page of the server in a real browser, wide and narrow: nothing from elsewhere, nothing to scroll sideways."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import bundles
import pytest
import servers
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait
from servers import Process

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its chromedriver on PATH"),
]
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("bundles")
    paths = [
        f"{name}={servers.with_golden(getattr(bundles, name), folder / name)}" for name in ("table", "text", "pictures")
    ]
    with servers.process(*paths, options=("--workers", "1")) as made:
        yield made


@pytest.fixture(scope="module", params=SIZES)
def chrome(request: pytest.FixtureRequest, server: Process) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, Service(DRIVER))
    width, height = SIZES[request.param]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": request.param == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(server.url)
    yield browser
    browser.quit()


def choose(chrome: webdriver.Chrome, server: Process, model: str) -> None:
    chrome.get(server.url)
    wait = WebDriverWait(chrome, 10)
    wait.until(lambda c: c.execute_script("return document.body.dataset.model"))
    Select(chrome.find_element(By.ID, "model")).select_by_value(model)
    wait.until(lambda c: c.execute_script("return document.body.dataset.model") == model)


def answer(chrome: webdriver.Chrome) -> str:
    return str(chrome.find_element(By.ID, "answer").text)


@pytest.mark.parametrize("model", ["table", "text", "pictures"])
def test_a_golden_example_is_answered(model: str, chrome: webdriver.Chrome, server: Process, tmp_path: Path) -> None:
    choose(chrome, server, model)
    if model == "pictures":
        (tmp_path / "p.png").write_bytes(bundles.png((0, 0, 255)))
        chrome.find_element(By.ID, "file").send_keys(str(tmp_path / "p.png"))
        WebDriverWait(chrome, 10).until(lambda c: c.find_element(By.ID, "shown").is_displayed())
    chrome.find_element(By.ID, "ask").click()
    WebDriverWait(chrome, 10).until(answer)
    assert answer(chrome).split("\n")[0] in bundles.CLASSES
    assert len(chrome.find_elements(By.CSS_SELECTOR, "#answer progress")) == 2
    assert chrome.execute_script(WIDER) <= 0
    if folder := os.environ.get("TORCHKILN_SCREENSHOTS"):
        width = chrome.execute_script("return window.innerWidth")
        shot = chrome.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (Path(folder) / f"{model}-{width}.png").write_bytes(base64.b64decode(shot["data"]))


def test_a_wrong_value_is_told(chrome: webdriver.Chrome, server: Process) -> None:
    choose(chrome, server, "table")
    since = chrome.find_element(By.NAME, "since")
    since.clear()
    since.send_keys("yesterday")
    chrome.find_element(By.ID, "ask").click()
    WebDriverWait(chrome, 10).until(lambda c: c.find_element(By.ID, "problem").is_displayed())
    assert "since" in chrome.find_element(By.ID, "problem").text


def test_routes_limits_and_versions_are_there(chrome: webdriver.Chrome, server: Process) -> None:
    choose(chrome, server, "table")
    for where, what in (("paths", "/v1/models/table:predict"), ("limits", "deadline_seconds"), ("rows", "READY"),
                        ("schema", "town"), ("curl", "curl"), ("drift", "age")):  # fmt: skip
        assert what in chrome.find_element(By.ID, where).text, where


def test_the_policy_holds_and_nothing_complains(chrome: webdriver.Chrome, server: Process) -> None:
    choose(chrome, server, "table")
    bad = [line for line in chrome.get_log("browser") if line["level"] == "SEVERE" and "422" not in line["message"]]
    assert bad == []
    policy = server.ask("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    urls = chrome.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert urls and all(url.startswith(server.url) for url in urls)
