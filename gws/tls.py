"""TLS inside TLS: a TLS connection whose records travel through another one.

So it is with ``wss://`` through an ``https://`` proxy. The system knows nothing of
the inner connection: its records come from a TLS socket and go into it by way of
two buffers in memory. `TLSSocket` behaves as a non-blocking `ssl.SSLSocket` does.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

from gevent.monkey import get_original


# The socket class that gevent did not replace.
Socket: Any = get_original("socket", "socket")

#: The most that one TLS record holds, in octets (RFC 8446 5.1).
RECORD = 2**14


class TLSSocket:
    """A TLS connection inside a TLS socket, with the methods of one.

    What would block raises `ssl.SSLWantReadError` or `ssl.SSLWantWriteError`: then
    wait for the descriptor, which is that of TCP, and call again.

    Args:
        outer: a non-blocking TLS socket, of the standard library or of gevent, with
            its handshake done; it belongs to this object from now on.
        context: of the inner connection.
        server_side: whether we are its server.
        server_hostname: the name that the certificate must have, and for SNI.
    """

    def __init__(
        self,
        outer: Any,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None,
    ) -> None:
        self._outer = outer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
        )
        # Records that the outer connection has not taken.
        self._unsent = bytearray()
        # How much of what `send` was given is encrypted and not yet reported.
        self._n_encrypted = 0
        self._ended = False
        self._shut = False

    # Properties

    @property
    def family(self) -> int:
        """The address family of the TCP socket."""
        return int(self._outer.family)

    # Public methods

    def do_handshake(self) -> None:
        """Do the inner handshake, or go on with it."""
        try:
            self._run(self._tls.do_handshake)
        except ssl.SSLWantReadError:
            # The peer says nothing until it has all of our part.
            self._flush()
            raise
        self._flush()

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        """Read at most a record; return its length, 0 at the end of the stream.

        After `shutdown` what comes is not decrypted.
        """
        if self._shut:
            return int(self._outer.recv_into(buffer))
        if self._ended:
            return 0
        try:
            n: int = self._run(self._tls.read, len(buffer), buffer)
        except ssl.SSLWantReadError:
            # Reading never waits for writing, nor fails with it.
            with contextlib.suppress(OSError):
                self._flush()
            raise
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            n = 0
        if n == 0:
            self._end()
        return n

    def send(self, data: bytes | bytearray) -> int:
        """Write at most a record; return how much of ``data`` went into it.

        After `ssl.SSLWantWriteError`, call again with the same octets, or more: what
        is encrypted once must go out as it is. OpenSSL asks for the same.
        """
        if self._shut:
            return int(self._outer.send(data))
        if self._n_encrypted == 0:
            with memoryview(data) as view, view[:RECORD] as record:
                self._n_encrypted = self._run(self._tls.write, record)
        # Only then: who is told that all was written does not wait any more for
        # the socket to become writable.
        self._flush()
        n: int = self._n_encrypted
        self._n_encrypted = 0
        return n

    def pending(self) -> int:
        """Return how much is here that the descriptor does not announce.

        It may be less than what `recv_into` needs to return something.
        """
        if self._ended or self._shut:
            return 0
        n: int = self._outer.pending()
        return n + self._incoming.pending + self._tls.pending()

    def unwrap(self) -> None:
        """Send close_notify, inside and outside."""
        # Raised, as the peer has not sent its own. The record is there.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()
        self._outer.unwrap()

    def shutdown(self, how: int) -> None:
        """Shut down TCP. Nothing is encrypted or decrypted after that."""
        self._shut = True
        self._outer.shutdown(how)

    def close(self) -> None:
        """Close the TCP socket."""
        self._outer.close()

    def fileno(self) -> int:
        """Return the descriptor of the TCP socket; -1 after `close`."""
        return int(self._outer.fileno())

    def setblocking(self, flag: bool) -> None:
        """Only for ``setblocking(False)``, which it is anyway."""
        if flag:
            raise ValueError("TLS inside TLS doesn't block")

    def getpeername(self) -> Any:
        """Return the other end of TCP: the proxy's address."""
        return self._outer.getpeername()

    def getsockname(self) -> Any:
        """Return our end of TCP."""
        return self._outer.getsockname()

    def setsockopt(self, *args: Any) -> None:
        """Set an option of the TCP socket."""
        self._outer.setsockopt(*args)

    # Private methods

    def _run(self, operation: Callable[..., Any], *args: Any) -> Any:
        # Do it, with as many records as it takes.
        while True:
            try:
                return operation(*args)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()  # the alert that tells the peer
                raise
            self._fill()

    def _fill(self) -> None:
        data = self._outer.recv(RECORD)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        while self._unsent:
            n = self._outer.send(self._unsent)
            if n == 0:  # gevent's TLS socket returns 0 where the standard one raises
                raise ssl.SSLWantWriteError("the outer connection takes no more")
            del self._unsent[:n]

    def _end(self) -> None:
        # The end was in a record that may have come with others, so that the kernel
        # has nothing left to announce; but who reads must look once more to find it.
        # A descriptor that is shut down for reading is always readable. Not by the
        # socket's own method: that of a TLS socket ends TLS for writing as well.
        self._ended = True
        with contextlib.suppress(OSError):
            fd = socket.dup(self.fileno())
            with Socket(self.family, socket.SOCK_STREAM, 0, fd) as same:
                same.shutdown(socket.SHUT_RD)
