"""Chromium without a window, driven through the W3C WebDriver protocol by `chromedriver`."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MISSING = "needs a browser: apt-get install chromium chromium-driver"
ENTER, ESCAPE = "\ue007", "\ue00c"


def installed() -> bool:
    return all(map(shutil.which, ("chromium", "chromedriver")))


class Browser:
    """One session. What a script throws, or the driver refuses, raises AssertionError."""

    def __init__(self, driver: str, options: dict[str, Any]) -> None:
        self._base = driver
        capabilities = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self._base = f"{driver}/session/{self._call('session', capabilities)['sessionId']}"

    def open(self, url: str) -> None:
        self._call("url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """The value that a JavaScript function body returns; a promise is waited for."""
        return self._call("execute/sync", {"script": script, "args": arguments})

    def text(self, selector: str) -> str:
        """Visible text of an element."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)"
        return list(self.run(script, selector))

    def press(self, *keys: str) -> None:
        """Real key strokes, one after the other, to whatever has the focus."""
        strokes = [
            {"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")
        ]  # fmt: skip
        actions = {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]}
        self._call("actions", actions)

    def click(self, selector: str) -> None:
        [element] = self._call("element", {"using": "css selector", "value": selector}).values()
        self._call(f"element/{element}/click", {})

    def choose(self, selector: str, value: str) -> None:
        """Set a field and tell the page, as a person's choice would."""
        self.run(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input', {bubbles: true}))",
            selector,
            value,
        )

    def wait(self, done: Callable[[], Any], seconds: float = 10.0) -> Any:
        """The first true value of `done`; AssertionError when the time is up."""
        end = time.monotonic() + seconds
        while not (value := done()):
            assert time.monotonic() < end, f"not in {seconds} s; the page: {self.text('body')}"
            time.sleep(0.03)
        return value

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("screenshot")))

    def log(self) -> list[str]:
        """Errors and warnings of the page since the last call."""
        entries = self._call("se/log", {"type": "browser"})
        return [one["message"] for one in entries if one["level"] in ("SEVERE", "WARNING")]

    def resize(self, width: int, height: int) -> None:
        self._call("window/rect", {"width": width, "height": height})

    def chrome(self, command: str, **parameters: object) -> Any:
        """A command of the DevTools protocol."""
        return self._call("goog/cdp/execute", {"cmd": command, "params": parameters})

    def close(self) -> None:
        self._call("", method="DELETE")

    def _call(self, path: str, body: object = None, method: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        url = f"{self._base}/{path}".rstrip("/")
        request = urllib.request.Request(url, data, method=method or ("POST" if data else "GET"))
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile; it and its driver are gone afterwards."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert driver.stdout is not None
        line = next(line for line in driver.stdout if "successfully on port" in line)
        port = line.rsplit(maxsplit=1)[1].rstrip(".")
        # CI runs as root, where Chromium's sandbox does not; only pages of these tests are opened.
        arguments = [
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
            "--window-size=1400,900", f"--user-data-dir={profile}",
        ]  # fmt: skip
        options = {"args": arguments, "binary": shutil.which("chromium")}
        page = Browser(f"http://127.0.0.1:{port}", options)
        try:
            yield page
        finally:
            page.close()
    finally:
        driver.terminate()
        driver.wait()
