"""A headless Chromium that a test talks to through a pipe, by the DevTools protocol: no port, no network."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = Path(os.environ.get("BCCLI_AXE") or "/nowhere/axe.min.js")
"""The file of axe-core, which looks for what keeps people from reading a page."""

_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
)  # fmt: skip

_START = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, pipe in zip((3, 4), pipes):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads from the file with the number 3 and writes into that with the number 4."""


@contextmanager
def opened(profile: Path) -> Iterator["Tab"]:
    """A tab of a new browser whose profile lies in a folder; the browser ends with the block."""
    ours, theirs = os.pipe(), os.pipe()
    numbers = str(ours[0]), str(theirs[1])
    words = [sys.executable, "-c", _START, *numbers, str(CHROMIUM), *_OPTIONS, f"--user-data-dir={profile}"]
    with subprocess.Popen(
        words, pass_fds=(ours[0], theirs[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        os.close(ours[0])
        os.close(theirs[1])
        with os.fdopen(ours[1], "wb") as to, os.fdopen(theirs[0], "rb") as back:
            try:
                tab = Tab(to, back)
                yield tab
                tab.close()
            except BaseException:
                process.kill()
                raise


class Tab:
    """A tab, and what it has said: `events` by their names in the protocol."""

    def __init__(self, to: Any, back: Any) -> None:
        self._to, self._back, self._numbers = to, back, itertools.count(1)
        self._session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": found["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setScrollbarsHidden", hidden=True)

    def call(self, method: str, **parameters: Any) -> Any:
        """Ask for something and wait for its answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **self._session}
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (answer := self._next()).get("id") != number:
            self.events.append(answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """End the browser with all of its processes."""
        self._session = {}
        self.call("Browser.close")

    def _next(self) -> dict[str, Any]:
        """The next message."""
        found = bytearray()
        while (byte := self._back.read(1)) != b"\0":
            if not byte:
                raise AssertionError("the browser has ended")
            found += byte
        return json.loads(found)

    def open(self, path: Path, *, dark: bool = False, width: int = 1280, media: str = "") -> None:
        """Open a file, as wide as a window and in a scheme of colours, and wait until it is loaded."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, expression: str) -> Any:
        """What an expression comes to, once it is there."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open_details(self) -> None:
        """Unfold all that is folded."""
        self.value("document.querySelectorAll('details').forEach(one => { one.open = true })")

    def violations(self) -> list[str]:
        """What axe-core finds, a line for each rule and place."""
        self.value(AXE.read_text("utf-8") + "; 0")
        found = self.value("axe.run(document).then(result => result.violations)")
        return [
            f"{rule['id']}: {node['html'][:200]} ({node['failureSummary'][:300]})"
            for rule in found
            for node in rule["nodes"]
        ]

    def complaints(self) -> list[str]:
        """What the browser's console says of errors."""
        found = []
        for event in self.events:
            said: Mapping[str, Any] = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(said["exceptionDetails"]))
            if event.get("method") == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
                found.append(str(said["entry"]["text"]))
            if event.get("method") == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
                found.append(str(said["args"]))
        return found

    def requests(self) -> list[str]:
        """The addresses that were asked for, but for data that stands in the page itself."""
        asked = (event for event in self.events if event.get("method") == "Network.requestWillBeSent")
        urls = [event["params"]["request"]["url"] for event in asked]
        return [url for url in urls if not url.startswith("data:")]

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path: Path) -> None:
        """Print the page into a file."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"]))
