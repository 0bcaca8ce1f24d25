"""Headless Chromium for tests of pages, spoken to through its debugging pipe: no port, no network, no more packages."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_SECONDS = 120


def chromium() -> str | None:
    """The program, or None where none is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page in one browser."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive, self._number, self._rest = send, receive, 0, b""
        self.complaints: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show a file; returns when it is loaded."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.ask("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + _PATIENCE_SECONDS
        while self.run("document.readyState") != "complete" or self.run("location.href") == "about:blank":
            assert time.monotonic() < end, "the page does not load"
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """A key, as somebody at the keyboard presses it."""
        codes = {"Enter": 13, "Escape": 27, "ArrowRight": 39, "ArrowLeft": 37, "Tab": 9, " ": 32}
        told = {
            "key": key,
            "code": key,
            "windowsVirtualKeyCode": codes[key],
            **({"text": "\r"} if key == "Enter" else {}),
        }
        self.ask("Input.dispatchKeyEvent", type="keyDown", **told)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=codes[key])

    def picture(self, path: Path, whole: bool = False) -> None:
        """A screenshot as PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        told = {"id": self._number, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            told["sessionId"] = self._session
        os.write(self._send, json.dumps(told).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._hear(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._receive], [], [], _PATIENCE_SECONDS)
            assert ready, "the browser does not answer"
            found = os.read(self._receive, 1 << 20)
            assert found, "the browser has gone"
            self._rest += found
        told, _, self._rest = self._rest.partition(b"\0")
        return json.loads(told)

    def _hear(self, event: dict[str, Any]) -> None:
        """Keep what the console of a page would show in red or yellow."""
        told, name = event.get("params", {}), event.get("method")
        if name == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"].get("exception", told["exceptionDetails"])))
        elif name == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([one.get("value") for one in told["args"]]))
        elif name == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a new profile in a folder of the test's own; it is ended with the test."""
    program = chromium()
    assert program is not None
    (low_in, send), (receive, low_out) = os.pipe(), os.pipe()
    inward, outward = (fcntl.fcntl(low, fcntl.F_DUPFD, 10) for low in (low_in, low_out))
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    flags += [
        f"--user-data-dir={profile}",
        "--remote-debugging-pipe",
        "--allow-file-access-from-files",
        "--no-proxy-server",
    ]
    # The browser reads from 3 and writes to 4: another program puts the ends of the pipes there.
    move = f"import os, sys; os.dup2({inward}, 3); os.dup2({outward}, 4); os.execv(sys.argv[1], sys.argv[1:])"
    moved = [sys.executable, "-S", "-c", move, program, *flags]
    quiet = subprocess.DEVNULL
    running = subprocess.Popen(moved, pass_fds=(inward, outward), stdin=quiet, stdout=quiet, stderr=quiet)
    for used in (low_in, low_out, inward, outward):
        os.close(used)
    try:
        yield Browser(send, receive)
    finally:
        running.terminate()
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        os.close(send)
        os.close(receive)
