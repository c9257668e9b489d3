"""The application that every stack of the matrix serves: one path, one case.

What happened inside is told over HTTP: ``/seen`` gives the notes of all handlers and
the paths of all plain requests, and forgets them.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import gevent

from gws import ConcurrencyError, ConnectionClosed, Router
from gws.wsgi import Refused, WebSocketApp, accept, is_websocket


Environ = dict[str, Any]

#: What `seen` tells.
notes: list[str] = []

#: The size of each of the messages of `/senders`.
BIG = 3_000_000


def note(text: str) -> None:
    notes.append(text)


# Plain HTTP


def plain(environ: Environ, start_response: Any) -> list[bytes]:
    """Answer anything; what was asked is noted."""
    note(f"HTTP {environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
    return text(start_response, "hello")


def seen(environ: Environ, start_response: Any) -> list[bytes]:
    told = json.dumps(notes)
    notes.clear()
    return text(start_response, told)


def text(start_response: Any, body: str) -> list[bytes]:
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body.encode()]


# Handlers


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


def tell(ws: Any) -> None:
    """Say where the request came from, and what was asked."""
    ws.send(json.dumps([ws.remote_address, ws.path]))


def describe(ws: Any) -> None:
    """Say what kind of socket the connection has."""
    kind = type(ws.stream.sock)
    ws.send(json.dumps(f"{kind.__module__}.{kind.__name__}"))


def fail(ws: Any) -> None:
    raise ValueError("the handler failed")


def leave(ws: Any) -> None:
    """Return at once: the connection is closed with 1000."""


def killed(ws: Any) -> None:
    raise gevent.GreenletExit


def hasty(ws: Any) -> None:
    """Wait too short a time, again and again, until the message is there."""
    with gevent.Timeout(0.01, False):
        ws.recv()
    ws.send("waiting")
    while True:
        with gevent.Timeout(0.01, False):
            ws.send(ws.recv())
            return


def waker(ws: Any) -> None:
    """Be closed by another greenlet; note whether that woke the receiver.

    It did if the peer's answer came before close_timeout (10 s) was over.
    """
    gevent.spawn(ws.close, 4000, "elsewhere")
    began = time.monotonic()
    try:
        ws.recv()
    except ConnectionClosed:
        seconds = time.monotonic() - began
        note("woken" if seconds < 5 else f"woken after {seconds:.1f} s")


def senders(ws: Any) -> None:
    """Have two greenlets send at once."""
    messages = [letter * BIG for letter in "ab"]
    gevent.joinall([gevent.spawn(ws.send, m) for m in messages], raise_error=True)


def receivers(ws: Any) -> None:
    """Have two greenlets receive at once."""
    first = gevent.spawn(ws.recv)
    gevent.sleep(0)
    try:
        ws.recv()
    except ConcurrencyError as exc:
        ws.send(f"ConcurrencyError: {exc}")
    ws.send(first.get())


def impatient(ws: Any) -> None:
    """Close while the peer says nothing."""
    began = time.monotonic()
    ws.close()
    note(f"closed after {time.monotonic() - began:.1f}")


def close_early(ws: Any, request: Any) -> None:
    """Close the connection before it is open, as a hook of `serve` may."""
    ws.close()


def forbid(ws: Any, request: Any) -> Any:
    return 403, {"Content-Type": "text/plain"}, b"not you"


# With accept itself


def early_failure(environ: Environ, start_response: Any) -> list[bytes]:
    raise ValueError("the application failed")


def direct(environ: Environ, start_response: Any) -> list[bytes]:
    """Serve a connection by hand."""
    with contextlib.closing(accept(environ, start_response)) as ws:
        echo(ws)
    return []


def abandoned(environ: Environ, start_response: Any) -> list[bytes]:
    """Return without closing."""
    ws = accept(environ, start_response)
    ws.send("left alone")
    return [b"not for the peer"]


def broken(environ: Environ, start_response: Any) -> list[bytes]:
    """Fail without closing."""
    accept(environ, start_response)
    raise ValueError("the application failed")


def cookie(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Put headers into the 101."""
    headers = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    extra = {"X-Extra": "yes"}
    try:
        ws = accept(environ, start_response, headers, extra_headers=extra)
    except Refused as refused:
        return refused(environ, start_response)
    ws.send(json.dumps(ws.response_headers.get_all("Set-Cookie")))
    ws.close()
    return ()


def reaching(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Do what a server may do with its socket, after it was taken."""
    keys = ("gunicorn.socket", "gunicorn.sock", "werkzeug.socket")
    found = [environ[key] for key in keys if key in environ]
    sock = found[0] if found else environ["wsgi.input"].raw._sock
    with contextlib.closing(accept(environ, start_response)) as ws:
        ws.recv()
        for act in (
            lambda: sock.sendall(b"HTTP/1.1 500 Failed\r\n\r\n"),
            lambda: sock.shutdown(socket.SHUT_RDWR),
            sock.close,
        ):
            with contextlib.suppress(OSError):
                act()
        echo(ws)
    return ()


def twice(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Accept again what was accepted."""
    with contextlib.closing(accept(environ, start_response)) as ws:
        try:
            accept(environ, start_response)
        except RuntimeError as exc:
            ws.send(str(exc))
    return ()


def doubtful(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Say what `accept` says where there can be no WebSocket."""
    try:
        ws = accept(environ, start_response)
    except RuntimeError as exc:
        return text(start_response, f"RuntimeError: {exc}")
    ws.close()
    return ()


# Around them


def wrapped(app: Any) -> Any:
    """Give the application a `start_response` that is not the server's."""

    def middleware(environ: Environ, start_response: Any) -> Any:
        def start(status: str, headers: Any, exc_info: Any = None) -> Any:
            headers = [*headers, ("X-Wrapped", "yes")]
            return start_response(status, headers, exc_info)

        return app(environ, start)

    return middleware


router = Router()


@router.route("/rooms/<name>")
def room(ws: Any, name: str) -> None:
    ws.send(name)


APPS: dict[str, Callable[..., Iterable[bytes]]] = {
    "/seen": seen,
    "/echo": WebSocketApp(echo),
    "/tell": WebSocketApp(tell),
    "/describe": WebSocketApp(describe),
    "/fail": WebSocketApp(fail),
    "/leave": WebSocketApp(leave, close_timeout=0.3),
    "/killed": WebSocketApp(killed),
    "/hasty": WebSocketApp(hasty),
    "/waker": WebSocketApp(waker),
    "/senders": WebSocketApp(senders),
    "/receivers": WebSocketApp(receivers),
    "/impatient": WebSocketApp(impatient, close_timeout=0.3),
    "/forbidden": WebSocketApp(echo, process_request=forbid),
    "/closed-early": WebSocketApp(echo, process_request=close_early),
    "/protocols": WebSocketApp(echo, subprotocols=["chat"]),
    "/early-failure": early_failure,
    "/direct": direct,
    "/abandoned": abandoned,
    "/broken": broken,
    "/cookie": cookie,
    "/reaching": reaching,
    "/twice": twice,
    "/doubtful": doubtful,
}

MOUNTED = WebSocketApp(router)


def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if not path.startswith("/"):  # pywsgi gives a whole URL as it comes
        path = urlsplit(path).path
    if path.startswith("/wrapped/"):
        environ["PATH_INFO"] = path.removeprefix("/wrapped")
        return wrapped(app)(environ, start_response)
    if path.startswith("/mount/"):
        environ["SCRIPT_NAME"] += "/mount"
        environ["PATH_INFO"] = path.removeprefix("/mount")
        return MOUNTED(environ, start_response)
    if path.startswith("/tell/"):
        path = "/tell"
    if path in APPS and (is_websocket(environ) or path in ("/seen", "/doubtful")):
        return APPS[path](environ, start_response)
    return plain(environ, start_response)
