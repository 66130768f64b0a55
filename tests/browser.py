"""A headless Chromium, driven over its own pipe: no package, no port.

    python tests/browser.py report/report.html docs

opens a report at the width of a desk and of a phone, light and dark, says what went wrong on the way, and writes
``docs/report-<width>-<scheme>.png``. The suite's `test_browser.py` uses the same.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTHS = {"desktop": (1200, 1000), "phone": (390, 844)}
SCHEMES = ("light", "dark")


def program() -> str | None:
    """The browser that ``XSTILTS_BROWSER`` names, or the first one that is installed."""
    names = (os.environ["XSTILTS_BROWSER"],) if "XSTILTS_BROWSER" in os.environ else PROGRAMS
    return next((path for name in names if (path := shutil.which(name))), None)


class Browser:
    """One tab of a headless Chromium.

    Attributes:
        errors: what the console, the security policy or a script complained about since the last `open`.
        requests: every address that the page asked for since then.
    """

    def __init__(self, path: str) -> None:
        self.profile = tempfile.mkdtemp(prefix="browser-")
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # high numbers, so that the shell can put them at 3 and 4 in any order
        given = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs_in, theirs_out)]
        options = ["--headless", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe", "--hide-scrollbars"]
        options += [f"--user-data-dir={self.profile}", "--disable-dev-shm-usage", "--disable-background-networking"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        command = f'exec "$0" "$@" 3<&{given[0]} 4>&{given[1]}'
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(["bash", "-c", command, path, *options, "about:blank"], pass_fds=given, **quiet)
        for fd in (theirs_in, theirs_out, *given):
            os.close(fd)
        self._out, self._in = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb")
        self._number, self._rest, self._session = 0, b"", ""
        self._events: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            found = self._read()
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found["result"]
            self._note(found)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._in.fileno(), 1 << 20)
            assert more, "the browser went away"
            self._rest += more
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        about = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(about["exceptionDetails"]))
            case "Log.entryAdded":
                self.errors.append(about["entry"]["text"])
            case "Runtime.consoleAPICalled":
                self.errors.append(json.dumps(about["args"]))

    def open(self, address: str, *, width: str = "desktop", scheme: str = "light", media: str = "") -> None:
        """Open an address and wait until it has loaded."""
        wide, high = WIDTHS[width]
        self.do("Emulation.setDeviceMetricsOverride", width=wide, height=high, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.do("Emulation.setEmulatedMedia", media=media, features=features)
        self.errors, self.requests, self._events = [], [], []
        self.do("Page.navigate", url=address)
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            self._note(self._read())

    def value(self, expression: str) -> Any:
        """What a script gives in the page."""
        found = self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self) -> bytes:
        """What is in the window, as PNG."""
        return base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End the browser."""
        self._out.close()
        self._in.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for _ in range(10):  # its helpers end a little after it
            shutil.rmtree(self.profile, ignore_errors=True)
            if not os.path.exists(self.profile):
                break
            time.sleep(0.1)


def main() -> int:
    """Look at a page and keep what is seen."""
    path, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    found = program()
    if found is None:
        raise SystemExit(f"no browser: expected one of {', '.join(PROGRAMS)}")
    browser, wrong = Browser(found), []
    try:
        for width in WIDTHS:
            for scheme in SCHEMES:
                browser.open(path.as_uri(), width=width, scheme=scheme)
                (folder / f"report-{width}-{scheme}.png").write_bytes(browser.picture())
                wrong += browser.errors + [url for url in browser.requests if url != path.as_uri()]
    finally:
        browser.close()
    print("\n".join(wrong) or "nothing asked for, nothing complained about")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
