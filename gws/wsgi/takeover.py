"""A WSGI request in; the connection that it came by, taken from its server, out.

Each server shows its socket in another place, has perhaps read on beyond the
request, and goes on with the connection when the application returns, unless it is
told. What is known of each stands here, and only here.

What is taken is all ours: the server keeps an object without a descriptor, so that
nothing it does afterwards, be it to write an error page or to close, can reach our
connection, or another one that got the same number. Until then it is lent: it can be
looked at, and neither read, written nor closed.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from gevent.monkey import get_original
from gevent.socket import socket as GeventSocket
from gevent.ssl import SSLSocket as GeventTLSSocket

from ..sockets import plain


original_socketpair: Any = get_original("socket", "socketpair")

#: A `start_response` of WSGI (PEP 3333).
StartResponse = Callable[..., Callable[[bytes], object]]

#: Where servers put the socket of a request: ours, gunicorn's "gevent" and
#: "gevent_pywsgi" workers, werkzeug's development server.
SOCKET_KEYS = ("gws.socket", "gunicorn.socket", "gunicorn.sock", "werkzeug.socket")

#: The most that is taken of what came behind a request. Servers read ahead less;
#: whatever else there is the connection reads itself.
EARLY = 2**16

#: Headers of the 101 that are between us and the peer.
HOP_BY_HOP = ("connection", "upgrade")

#: What a gevent socket is, besides the attributes of its subclasses.
SOCKET_STATE = ("hub", "timeout", "_sock", "_read_event", "_write_event")

ADVICE = (
    "use gevent.pywsgi, gunicorn with a gevent worker (-k gevent), or a server whose "
    "sockets gevent.monkey.patch_all() has made cooperative"
)


def socket_of(environ: dict[str, Any]) -> Any:
    """Return the socket that a request came by.

    Raises:
        RuntimeError: if the server has none for us, or none of gevent, or it was
            taken before.
    """
    server = environ.get("SERVER_SOFTWARE") or "this server"
    if isinstance(environ.get("wsgi.input"), Taken):
        raise RuntimeError("the WebSocket of this request was accepted before")
    for key in SOCKET_KEYS:
        sock = environ.get(key)
        if sock is not None:
            break
    else:
        sock = getattr(getattr(reader_of(environ), "raw", None), "_sock", None)
    if sock is None:
        raise RuntimeError(f"{server} has no socket for a WebSocket: {ADVICE}")
    if not isinstance(sock, GeventSocket):
        raise RuntimeError(
            f"the socket of {server} is not one of gevent but a "
            f"{type(sock).__module__}.{type(sock).__qualname__}: {ADVICE}"
        )
    return sock


def reader_of(environ: dict[str, Any]) -> Any:
    """Return the file that a server reads requests from, if it uses one."""
    stream = environ.get("wsgi.input")
    # pywsgi gives its own input object, unless the request asks for an upgrade.
    return getattr(stream, "rfile", stream)


def unreader_of(environ: dict[str, Any]) -> Any:
    """Return what gunicorn's own parser reads from; None elsewhere."""
    reader = getattr(environ.get("wsgi.input"), "reader", None)
    if not hasattr(reader, "unreader"):
        reader = getattr(reader, "req", None)  # the body comes in chunks
    return getattr(reader, "unreader", None)


class Taken:
    """The body of a request whose connection was taken: an empty file."""

    def read(self, *args: int) -> bytes:
        """Return what is left: nothing."""
        return b""

    readline = read

    def readlines(self, *args: int) -> list[bytes]:
        """Return what is left: nothing."""
        return []

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        """Do nothing."""


#: One is enough for all.
TAKEN = Taken()


class Ended:
    """In the place of a server's socket, for its parser: nothing comes any more."""

    def recv(self, *args: Any) -> bytes:
        """Return the end of the stream."""
        return b""

    def recv_into(self, *args: Any) -> int:
        """Return the length of what came: 0 at the end of the stream."""
        return 0

    def _decref_socketios(self) -> None:
        # What a file calls when it is closed.
        pass


class Sink:
    """In the place of a server's socket, for what it writes too late: it goes nowhere.

    Such as what an application returns, or an error page of its framework.
    """

    def sendall(self, data: bytes) -> None:
        """Drop it."""

    def close(self) -> None:
        """Do nothing."""


#: One is enough for all.
SINK = Sink()


class Lent:
    """A server's socket while it is the server's: for a `Stream` that did not start.

    Who closes the connection that is not open yet does not close the server's.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def setblocking(self, flag: bool) -> None:
        """Do nothing: the server may still want to write an answer."""

    def unwrap(self) -> None:
        """Do nothing."""

    def shutdown(self, how: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Takeover:
    """The connection of one request, and how to take it from its server.

    Args:
        environ: of the request.
        start_response: of the request.
    """

    def __init__(self, environ: dict[str, Any], start_response: StartResponse) -> None:
        self._environ = environ
        self._start_response = start_response
        self._sock: Any = None
        # The server's own object of this response; not there behind a middleware
        # that has a `start_response` of its own.
        owner = getattr(start_response, "__self__", None)
        self._owner: Any = owner if hasattr(owner, "headers_sent") else None

    # Public methods, in the order of their use

    def borrow(self) -> Lent:
        """Return the connection to look at.

        Raises:
            RuntimeError: as `socket_of`.
        """
        self._sock = socket_of(self._environ)
        return Lent(self._sock)

    def give_back(self) -> None:
        """Leave the connection to the server, for one answer over HTTP.

        It reads no further request: what follows one to upgrade may be frames. May
        be called again.
        """
        if self._sock is not None:
            self.take_early()
        self._end_http()

    def take_early(self) -> bytes:
        """Return what came beyond the request, once."""
        unreader = unreader_of(self._environ)
        if unreader is not None:
            take = getattr(unreader, "take_buffered", None)
            if take is not None:
                return bytes(take())
            octets: bytes = unreader.buf.getvalue()  # gunicorn before 26.2
            unreader.buf = io.BytesIO()
            return octets
        read = getattr(reader_of(self._environ), "read1", None)
        if read is None or self._sock is None:
            return b""
        timeout = self._sock.gettimeout()
        # Gives what is in its buffer or, if that is empty, what one `recv` brings.
        try:
            self._sock.settimeout(0.0)
            return bytes(read(EARLY) or b"")
        except OSError:  # there is nothing, or the peer has gone
            return b""
        finally:
            with contextlib.suppress(OSError):
                self._sock.settimeout(timeout)

    def tell_server(self, headers: list[tuple[str, str]], n_head: int) -> None:
        """Tell the server of the 101 that goes out without it.

        So its log has a line of it, and nothing else is written.

        Args:
            n_head: how many octets its head has.
        """
        # PEP 3333: an application may not use HTTP/1.1 "hop-by-hop" features or
        # headers. Most servers take them nevertheless; wsgiref does not.
        told = [item for item in headers if item[0].lower() not in HOP_BY_HOP]
        self._start_response("101 Switching Protocols", told)
        owner = self._owner
        if owner is None:
            return
        owner.headers_sent = True
        if hasattr(owner, "chunked"):  # gunicorn
            owner.chunked = False
            owner.sock = SINK
        if hasattr(owner, "response_use_chunked"):  # pywsgi
            owner.response_use_chunked = False
            owner.response_length += n_head
            owner.socket = SINK

    def take(self) -> Any:
        """Return the connection as a socket that is ours to close."""
        sock = self._sock
        self._end_http()
        self._free_input()
        self._environ["wsgi.input"] = TAKEN
        is_tls = isinstance(sock, GeventTLSSocket)
        ours = moved_tls(sock) if is_tls else plain(sock)
        ours.setblocking(False)
        if ours.family != getattr(socket, "AF_UNIX", None):
            with contextlib.suppress(OSError):  # the peer has gone
                ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._owner is None:
            # A server that can't be told will still write its head of the response.
            lead_nowhere(sock)
        return ours

    # Private methods

    def _end_http(self) -> None:
        owner = self._owner
        if hasattr(owner, "force_close"):  # gunicorn
            owner.force_close()
        elif hasattr(owner, "close_connection"):  # pywsgi
            owner.close_connection = True
        # That is not enough where nobody knows who the owner is.
        if self._sock is not None:
            self._end_input()

    def _end_input(self) -> None:
        # Let the server's parser find the end of the stream.
        unreader = unreader_of(self._environ)
        if unreader is not None:
            unreader.sock = Ended()
            return
        raw: Any = getattr(reader_of(self._environ), "raw", None)
        if hasattr(raw, "_sock") and raw._sock is self._sock:
            raw._sock = Ended()
            self._sock._decref_socketios()

    def _free_input(self) -> None:
        # pywsgi looks whether its file is closed before it reads. Others don't; but
        # only here do thousands of buffers, of 8 KiB each, matter.
        reader = reader_of(self._environ)
        is_pywsgi = self._environ.get("SERVER_SOFTWARE", "").startswith("gevent")
        if is_pywsgi and isinstance(reader, io.BufferedReader):
            reader.close()
        owner = type(self._owner)
        if all(
            getattr(getattr(owner, name, None), "__module__", "") == "gevent.pywsgi"
            for name in ("log_request", "format_request")
        ):
            # Nobody looks at these again; they would cost an idle connection 3 KB.
            self._owner.headers = None
            self._owner.response_headers = ()


def moved_tls(sock: Any) -> Any:
    """Return the connection of a TLS socket of gevent in a new one.

    A TLS socket can't be detached as others can: what it knows of the session stands
    in the object. So another object gets all of it; the old one is left closed.
    """
    kind: Any = type(sock)
    ours = kind.__new__(kind)
    vars(ours).update(vars(sock))
    for name in SOCKET_STATE:
        setattr(ours, name, getattr(sock, name))
    ours._closed = False
    ours._io_refs = 0  # files that were made of it keep only the old one open
    ours._sock._sslsock = weakref.ref(ours)
    sock._sslobj = None
    lead_nowhere(sock)
    os.close(sock.detach())
    return ours


def lead_nowhere(sock: Any) -> None:
    """Give a detached socket a connection of which the other end is gone.

    What is written to it fails as it does when a peer has gone, which no server
    takes for an error.
    """
    here, there = original_socketpair()
    there.close()
    GeventSocket.__init__(sock, here.family, here.type, here.proto, here.detach())
