"""Headless Chromium by selenium, with Debian's chromium and chromium-driver; nothing is downloaded."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.support.ui import WebDriverWait

PROGRAMS = ("chromium", "chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
KEYS = {
    "Tab": Keys.TAB,
    "Enter": Keys.RETURN,
    "Escape": Keys.ESCAPE,
    "End": Keys.END,
    "Home": Keys.HOME,
    "Left": Keys.ARROW_LEFT,
    "Right": Keys.ARROW_RIGHT,
    "Down": Keys.ARROW_DOWN,
}


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PROGRAMS if not shutil.which(name)]


class Browser:
    """One window, in the words of these tests. Errors are selenium's."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def run(self, script: str, *values: Any) -> Any:
        """The body of a function in the page: what it returns."""
        return self.driver.execute_script(script, *values)

    def wait(self, script: str, *, seconds: float = 20) -> Any:
        """Until an expression is true: its value."""
        return WebDriverWait(self.driver, seconds, poll_frequency=0.02).until(lambda _: self.run(f"return {script}"))

    def press(self, *keys: str) -> None:
        """Keys, one after another, to what has the focus: names of KEYS, or text to type."""
        actions = ActionChains(self.driver, duration=0)
        actions.send_keys(*(KEYS.get(key, key) for key in keys)).perform()

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def complaints(self) -> list[str]:
        """What the console holds of warnings and errors since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def screenshot(self, path: Path) -> None:
        assert self.driver.save_screenshot(str(path))


@contextlib.contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """A fresh browser with a profile of its own, and its driver; both are gone after the block."""
    # The driver is local, whatever proxies the environment names.
    os.environ |= dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1")
    options = ChromeOptions()
    options.binary_location = str(shutil.which(PROGRAMS[0]))
    for flag in (*FLAGS, *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(executable_path=shutil.which(PROGRAMS[1])))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
