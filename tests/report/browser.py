"""Headless Chromium over the WebDriver protocol (W3C), with nothing but Debian's chromium and chromium-driver."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Escape": "\ue00c",
    "End": "\ue010",
    "Home": "\ue011",
    "Left": "\ue012",
    "Right": "\ue014",
    "Down": "\ue015",
}
# Local, whatever proxies the environment names.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PROGRAMS if not shutil.which(name)]


class Browser:
    """One window. Errors of the driver are RuntimeErrors in its own words."""

    def __init__(self, base: str, flags: list[str]) -> None:
        options = {"args": flags, "binary": shutil.which(PROGRAMS[0])}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._base = f"{base}/session"
        self._base += "/" + self._call("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *values: Any) -> Any:
        """The body of a function in the page: what it returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(values)})

    def wait(self, script: str, *, seconds: float = 20) -> Any:
        """Until an expression is true: its value."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {script}")):
            if time.monotonic() > end:
                raise TimeoutError(f"{script} was not true after {seconds} s")
            time.sleep(0.02)
        return value

    def press(self, *keys: str) -> None:
        """Keys, one after another, to what has the focus: names of KEYS, or text to type."""
        text = [key for name in keys for key in KEYS.get(name, name)]
        strokes = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def complaints(self) -> list[str]:
        """What the console holds of warnings and errors since the last call."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def quit(self) -> None:
        self._call("DELETE", "")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._base + path, data=data, method=method, headers=headers)
        try:
            with _OPENER.open(request, timeout=120) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None


@contextlib.contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """A fresh browser with a profile of its own, and its driver; both are gone after the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="radcap-chromium-", ignore_cleanup_errors=True) as profile:
        command = [PROGRAMS[1], f"--port={port}"]
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _until_ready(f"http://127.0.0.1:{port}/status")
            browser = Browser(f"http://127.0.0.1:{port}", [*FLAGS, f"--user-data-dir={profile}", *flags])
            try:
                yield browser
            finally:
                browser.quit()
        finally:
            driver.terminate()
            driver.wait()


def _until_ready(url: str) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            with _OPENER.open(url, timeout=5) as response:
                if json.load(response)["value"]["ready"]:
                    return
        except OSError:
            pass
        if time.monotonic() > end:
            raise TimeoutError(f"{PROGRAMS[1]} did not answer")
        time.sleep(0.05)
