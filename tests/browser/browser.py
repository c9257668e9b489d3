"""Chromium without a window, driven by its DevTools protocol: JSON over a WebSocket,
which is one of gws.

A `Browser` is the process; each `Page` has a context of its own, as if it were another
person's browser. https://chromedevtools.github.io/devtools-protocol/ has the methods.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import gevent
from gevent import subprocess
from gevent.event import AsyncResult

from gws import ConnectionClosed, connect


CHROMIUM = shutil.which("chromium")

#: Seconds in which what must happen does.
SOON = 20

#: Resolves once an expression is true, or with false after some milliseconds.
WAIT = """
new Promise((resolve) => {
  const end = Date.now() + %d;
  (function look() {
    if (%s) resolve(true);
    else if (Date.now() > end) resolve(false);
    else setTimeout(look, 20);
  })();
})
"""


class Browser:
    """A Chromium of its own, with its profile in ``folder``; ends with the ``with``."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None, "there is no chromium"
        command = [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",  # for root; and all pages are ours
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-background-timer-throttling",
            "--disable-renderer-backgrounding",
            "--hide-scrollbars",
            "--remote-debugging-port=0",
            f"--user-data-dir={folder}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._replies: dict[int, AsyncResult] = {}
        self._pages: dict[str, Page] = {}
        self._contexts: set[str] = set()
        self._last = 0

    def __enter__(self) -> Browser:
        try:
            with gevent.Timeout(SOON):
                for line in self._process.stderr:
                    if line.startswith(b"DevTools listening on "):
                        break
            self._log = gevent.spawn(self._process.stderr.read)
            uri = line.split()[-1].decode()
            self._ws = connect(uri, max_size=2**26, compression=None).open()
        except BaseException:
            self._end()
            raise
        self._reader = gevent.spawn(self._read)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ws.close()
        self._reader.join()
        self._end()
        self._log.join()
        self._process.stderr.close()

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Call a method of the protocol and return its result."""
        self._last += 1
        reply = self._replies[self._last] = AsyncResult()
        message = {"id": self._last, "method": method, "params": params}
        self._ws.send(json.dumps(message | ({"sessionId": session} if session else {})))
        return reply.get(timeout=2 * SOON)

    def open(self, url: str, width: int = 1280, height: int = 800) -> Page:
        """Return a page, in a context of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        self._contexts.add(context)
        target = self.call(
            "Target.createTarget", url="about:blank", browserContextId=context
        )["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)
        page = Page(self, context, session["sessionId"])
        self._pages[session["sessionId"]] = page
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        page.resize(width, height)
        page.navigate(url)
        return page

    def close(self, context: str) -> None:
        """Close all pages of a context; no matter if that was done before."""
        if context in self._contexts:
            self._contexts.remove(context)
            self.call("Target.disposeBrowserContext", browserContextId=context)

    # Private methods

    def _read(self) -> None:
        try:
            for text in self._ws:
                message = json.loads(text)
                if "id" not in message:
                    page = self._pages.get(message.get("sessionId"))
                    if page is not None:
                        page.on_event(message["method"], message["params"])
                elif "error" in message:
                    error = RuntimeError(message["error"]["message"])
                    self._replies.pop(message["id"]).set_exception(error)
                else:
                    self._replies.pop(message["id"]).set(message["result"])
        except ConnectionClosed:
            pass
        for reply in self._replies.values():
            reply.set_exception(EOFError("the browser has gone"))

    def _end(self) -> None:
        # Its children share its process group.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Page:
    """A tab."""

    def __init__(self, browser: Browser, context: str, session: str) -> None:
        self._browser = browser
        self._context = context
        self._session = session
        #: What the console would show in red.
        self.errors: list[str] = []

    def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol, for this page."""
        return self._browser.call(method, self._session, **params)

    def close(self) -> None:
        """Close the tab, and forget all that belongs to it."""
        self._browser.close(self._context)

    def navigate(self, url: str) -> None:
        """Open another address."""
        self.call("Page.navigate", url=url)

    def resize(
        self, width: int, height: int, *, mobile: bool = False, scale: float = 1
    ) -> None:
        """Have the window be so large, or be that of a phone."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale}
        self.call("Emulation.setDeviceMetricsOverride", **size, mobile=mobile)

    def prefer(self, scheme: str) -> None:
        """Have the visitor prefer "light" or "dark"."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript; a promise is awaited."""
        found = self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true; fail after `SOON`."""
        end = time.monotonic() + SOON
        while (left := end - time.monotonic()) > 0:
            try:
                if self.evaluate(WAIT % (1000 * left, condition)):
                    return
            except RuntimeError as exc:
                # Asked while the page is left for another one.
                if "context" not in str(exc) and "navigated" not in str(exc):
                    raise
        text = self.evaluate("document.body.innerText")
        raise AssertionError(f"never true: {condition}; errors: {self.errors}\n{text}")

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and let it go."""
        names = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **names)
        self.call("Input.dispatchKeyEvent", type="keyUp", **names | {"text": ""})

    def choose_files(self, selector: str, *paths: Path) -> None:
        """Choose files in a field, as the browser's dialog does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        found = self.call("DOM.querySelector", nodeId=root, selector=selector)
        files = [str(path) for path in paths]
        self.call("DOM.setFileInputFiles", nodeId=found["nodeId"], files=files)

    def screenshot(self, selector: str | None = None) -> bytes:
        """Return what is to be seen, in the window or of an element, as PNG."""
        clip = {}
        if selector is not None:
            of = f"document.querySelector({json.dumps(selector)})"
            box = self.evaluate(f"{of}.getBoundingClientRect().toJSON()")
            sides = {name: box[name] for name in ("x", "y", "width", "height")}
            clip = {"clip": sides | {"scale": 1}}
        return base64.b64decode(self.call("Page.captureScreenshot", **clip)["data"])

    def on_event(self, method: str, params: dict[str, Any]) -> None:
        """Note what went wrong."""
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", details).get("description", ""))
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
