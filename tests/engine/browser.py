"""A headless Chromium that loads one page after the other, and says what it did.

It is told what to do over a pipe, in Chrome's DevTools protocol: https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

NAMES = ("chromium", "chromium-browser", "google-chrome")
# The browser reads from its descriptor 3 and writes to 4.
START = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
FLAGS = ("--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
SECONDS = 30.0  # for one answer

Message = dict[str, Any]


class Loaded(NamedTuple):
    """What a page did while it was loaded."""

    requests: list[str]  # addresses, without the page's own
    complaints: list[str]  # of the console and of scripts


class Browser:
    """A browser with one tab."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin and process.stdout
        self._in: IO[bytes] = process.stdin
        self._out: IO[bytes] = process.stdout
        self._rest = b""
        self._count = 0
        self._session: str | None = None
        self._events: list[Message] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> Message:
        """Calls a method of the protocol. Raises RuntimeError where it fails."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        self._in.write(json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0")
        self._in.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: Message = answer["result"]
                return result
            self._events.append(answer)

    def _next(self) -> Message:
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            if not select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            read = self._out.read1(1 << 16)  # type: ignore[attr-defined]
            if not read:
                raise RuntimeError("Chromium has ended")
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        found: Message = json.loads(message)
        return found

    def load(self, page: Path | str, *, width: int, height: int = 800, scheme: str = "light") -> Loaded:
        """Loads a file, without a network, or what is at an address, on a screen of so many pixels."""
        address = page if isinstance(page, str) else page.as_uri()
        rates = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.call("Network.emulateNetworkConditions", offline=isinstance(page, Path), **rates)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._events.clear()
        self.call("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(self._next())
        self.evaluate("new Promise(done => setTimeout(done, 50))")  # what starts late has started by then
        return Loaded(
            [
                event["params"]["request"]["url"]
                for event in self._events
                if event["method"] == "Network.requestWillBeSent" and event["params"]["request"]["url"] != address
            ],
            [
                str(event["params"])
                for event in self._events
                if event["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
            ],
        )

    def picture(self, path: Path) -> None:
        """Writes what is to be seen as a PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def evaluate(self, script: str) -> Any:
        """What a script in the page gives, once it is there."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")


@contextmanager
def browser(profile: Path) -> Iterator[Browser | None]:
    """A browser with an empty profile, until the end; None where none of NAMES is on PATH."""
    binary = next(filter(None, map(shutil.which, NAMES)), None)
    if binary is None:
        yield None
        return
    process = subprocess.Popen(
        ["sh", "-c", START, "sh", binary, *FLAGS, f"--user-data-dir={profile}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        started = Browser(process)
        yield started
        started.call("Browser.close")
    finally:
        process.communicate()
