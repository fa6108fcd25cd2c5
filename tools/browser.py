"""A real browser without a screen: Chromium, driven by Selenium."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")

# It opens only files of these tests, so root may go without the sandbox. The others keep Chromium
# itself from the network.
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-lcd-text",
)


class Browser:
    """A browser with one page.

    Args:
        driver: What Selenium drives it with.
    """

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver

    def open(self, page: Path, *, width: int = 1200, scheme: str = "light") -> None:
        """Open a file in a window of a width, for a reader who prefers a colour scheme."""
        self._command("Emulation.setEmulatedMedia", features=[_feature(scheme)])
        self._resize(width, 900)
        self.console()
        self.requests()
        self._driver.get(page.as_uri())

    def run(self, script: str) -> Any:
        """Return what a function body of JavaScript returns in the page."""
        return self._driver.execute_script(script)

    def console(self) -> list[str]:
        """Return what the console shows since the page was opened."""
        return [each["message"] for each in self._log("browser")]

    def requests(self) -> list[str]:
        """Return the URL of each request since the page was opened."""
        messages = [json.loads(each["message"])["message"] for each in self._log("performance")]
        return [
            each["params"]["request"]["url"]
            for each in messages
            if each["method"] == "Network.requestWillBeSent"
        ]

    def _log(self, name: str) -> Any:
        return self._driver.execute("getLog", {"type": name})["value"]

    def picture(self, path: Path, *, width: int, height: int) -> None:
        """Write a PNG of the top of the page, with 1.5 dots per pixel."""
        self._resize(width, height, dots=1.5)
        assert self._driver.save_screenshot(str(path))

    def _resize(self, width: int, height: int, dots: float = 1) -> None:
        self._command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=dots,
            mobile=width < 500,
        )

    def _command(self, name: str, **parameters: Any) -> None:
        self._driver.execute_cdp_cmd(name, parameters)


def _feature(scheme: str) -> dict[str, str]:
    return {"name": "prefers-color-scheme", "value": scheme}


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser, and end it."""
    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in _ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(CHROMEDRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
