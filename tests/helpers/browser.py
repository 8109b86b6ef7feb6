"""Headless Chromium for the tests of the page and for the script that takes its picture."""

from __future__ import annotations

import base64
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement

# As root in a container Chromium runs without its sandbox; the rest keeps it from calling its maker.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
]
LAPTOP, PHONE, NARROW = (1280, 800), (390, 844), (360, 740)
PATIENCE = 20.0


def find_chromium() -> tuple[str, str] | None:
    """Return the paths of Chromium and its driver, or None where either is not installed."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """Run headless Chromium with a new profile in this folder; it logs its console and its requests."""
    found = find_chromium()
    if found is None:
        raise FileNotFoundError("Chromium or chromedriver is not installed")
    options = Options()
    options.binary_location = found[0]
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(found[1]))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """The page of one service in a browser, with short names for what the tests do."""

    def __init__(self, driver: Chrome, url: str):
        self.driver, self.url = driver, url.rstrip("/")
        self.emulate()

    def emulate(
        self,
        size: tuple[int, int] = LAPTOP,
        dark: bool = False,
        reduced_motion: bool = False,
        pixels_per_point: int = 1,
    ) -> None:
        """Set the window's size and what the system prefers."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": pixels_per_point, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if reduced_motion else "no-preference"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def forget(self) -> None:
        """Clear what the page keeps in the browser, and the logs."""
        self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": self.url, "storageTypes": "all"})
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get_log("performance")

    def open(self, address: str = "") -> None:
        """Load the page anew at this address, such as #/clusters."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/{address}")

    def go(self, address: str) -> None:
        """Change the address of the loaded page."""
        self.js("location.hash = arguments[0]", address)

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def module(self, name: str, expression: str, *arguments: Any) -> Any:
        """Evaluate an expression over a module of the page, as `m`, and `args`."""
        script = (
            f"const done = arguments[arguments.length - 1], args = [...arguments].slice(0, -1);"
            f"import('/static/js/{name}')"
            f".then((m) => done({{value: {expression}}}), (e) => done({{error: String(e)}}));"
        )
        answer = self.driver.execute_async_script(script, *arguments)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements("css selector", css)

    def wait(self, css: str, text: str = "", patience: float = PATIENCE) -> WebElement:
        """Return the first element that matches and holds the text, waiting for it."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            found = self.js(
                "return [...document.querySelectorAll(arguments[0])]"
                ".find((e) => e.textContent.includes(arguments[1])) ?? null",
                css,
                text,
            )
            if found is not None:
                return found
            time.sleep(0.03)
        shown = self.js("return document.getElementById('main')?.innerText")
        raise AssertionError(f"no {css} with {text!r} within {patience} s; the page shows: {shown}")

    def texts(self, css: str) -> list[str]:
        """The visible texts of all elements that match."""
        found: list[str] = self.js("return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", css)
        return found

    def hover(self, element: WebElement) -> None:
        ActionChains(self.driver).scroll_to_element(element).move_to_element(element).perform()

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def width(self) -> int:
        """How wide the content is: more than the window means a horizontal scroll bar."""
        width: int = self.js("return document.documentElement.scrollWidth")
        return width

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Save a picture of the window, or of the whole page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": whole} | self._clip(whole)
        )
        path.write_bytes(base64.b64decode(picture["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        box = self.js("const e = document.documentElement; return [e.clientWidth, e.scrollHeight]")
        return {"clip": {"x": 0, "y": 0, "width": box[0], "height": box[1], "scale": 1}}

    def console_errors(self) -> list[str]:
        """What the console calls an error since the last call, violations of the content security policy included."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def hosts(self) -> set[str]:
        """The hosts that were asked for anything since the last call."""
        found = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                parts = urlsplit(message["params"]["request"]["url"])
                if parts.scheme not in ("data", "about", "blob", "chrome"):
                    found.add(parts.netloc)
        return found


def keep_screenshot(page: Page, name: str, whole: bool = True) -> None:
    """Save a picture where GAVAMOE_SCREENSHOTS names a directory, as CI does for its artefacts."""
    if directory := os.environ.get("GAVAMOE_SCREENSHOTS"):
        page.screenshot(Path(directory) / f"{name}.png", whole)
