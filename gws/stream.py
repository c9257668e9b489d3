"""A non-blocking socket on the gevent hub: octets in, octets out.

Reading is driven by the hub: one persistent watcher calls back, and `read` takes
what is there into a buffer that all connections of the hub share. Writing is
corked: who has something to send appends it to ``out``, and `flush` hands all of
it to the kernel in one call. What the kernel does not take stays in ``out``; a
second watcher, there only while it is needed, says when to go on.

Nothing here knows what the octets mean, and nothing here blocks.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from typing import Any

from gevent.socket import wait_read, wait_write

from .protocol.frames import Frame
from .protocol.mask import recv_fd, send_fd
from .protocol.reader import HEADROOM
from .tls import RECORD, TLSSocket


if sys.platform != "win32":
    import fcntl
    import termios

#: The most that is read at once. A connection that always has data gives way to
#: the others after this much. Empty messages, 6 octets each, then hold them up for
#: some 10 ms, with a handler that echoes; not compiled they take ten times as long.
READ_SIZE = 2**14 if hasattr(Frame.__init__, "__code__") else 2**17

READ = 1
WRITE = 2

#: The read or write would block; for TLS it may wait for the other direction.
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def read_buffer() -> bytearray:
    """Return a new buffer to be shared by the streams of a hub."""
    return bytearray(HEADROOM + READ_SIZE)


class Stream:
    """One socket. All of it belongs to the thread of its hub.

    Args:
        sock: connected, plain or TLS, from `socket` or from gevent; the stream
            owns it from now on and makes it non-blocking.
        hub: the hub whose loop calls back.
        buffer: where `read` puts what came, behind `HEADROOM`.
        out: what waits to be written; others append to it.
    """

    def __init__(
        self,
        sock: socket.socket,
        hub: Any,
        buffer: bytearray,
        out: bytearray,
    ) -> None:
        sock.setblocking(False)
        #: Until `start`, another object for the same descriptor may take its place.
        self.sock: Any = sock
        self._fd = sock.fileno()
        self._loop = hub.loop
        self._buffer = buffer
        self.out = out
        # Asked of the socket itself: the TLS sockets of gevent and of the standard
        # library have no class in common.
        self._tls = hasattr(sock, "pending")
        # Plain sockets are read and written by descriptor (measured: 8 % more
        # messages a second than by the socket's methods).
        self._direct = os.name == "posix" and not self._tls
        self._on_readable: Callable[[], None] | None = None
        self._read_watcher: Any = None
        self._write_watcher: Any = None
        #: `wait_writable` waits: the kernel was full, and may be yet.
        self.awaits_room = False
        # What was given back, to be read first.
        self._unread = b""
        # There are octets that the descriptor does not announce: these, or TLS's.
        self._more = False
        self._reads_later = False
        #: Reading has stopped; `resume` starts it again.
        self.paused = False
        # This direction has ended.
        self._shut = False

    def start(self, on_readable: Callable[[], None]) -> None:
        """Call ``on_readable`` in the hub whenever there is something to read."""
        self._on_readable = on_readable
        self._read_watcher = self._loop.io(self._fd, READ)
        self._read_watcher.start(on_readable)
        if self._tls or self._unread:
            # Somebody who read from it before, a WSGI server say, or the outer one
            # of two connections may have left octets that no watcher tells of.
            self._more = True
            self._read_later()

    def pause(self) -> None:
        """Stop reading; the kernel's window then slows down the peer."""
        if self._read_watcher is not None and not self.paused:
            self.paused = True
            self._read_watcher.stop()

    def resume(self) -> None:
        """Read again after `pause`."""
        if self._read_watcher is not None and self.paused:
            self.paused = False
            self._read_watcher.start(self._on_readable)
            if self._more:
                self._read_later()

    def unread(self, data: bytes) -> None:
        """Give back the end of what was read: it is read again, at a later turn."""
        self._unread = data + self._unread
        self._more = True
        if not self.paused:
            self._read_later()

    def read(self) -> int:
        """Read once into the shared buffer.

        Returns:
            How many octets came; 0 at the end of the stream; -1 if none are there.

        Raises:
            OSError: if the connection is broken.
        """
        if self._fd < 0:
            return -1
        if self._unread:
            return self._read_again()
        if self._direct:
            return recv_fd(self._fd, self._buffer, HEADROOM)
        return self._read_by_method()

    def _read_again(self) -> int:
        # Somebody may give back more than the buffer holds.
        data = self._unread[:READ_SIZE]
        n = len(data)
        self._unread = self._unread[n:]
        self._buffer[HEADROOM : HEADROOM + n] = data
        self._more = self._tls or len(self._unread) > 0
        if self._more and not self.paused:
            self._read_later()
        return n

    def _read_by_method(self) -> int:
        # TLS: a record at a time, until the buffer is full or nothing is left
        # that the descriptor would not announce.
        n: int = 0
        self._more = False
        with memoryview(self._buffer) as view, view[HEADROOM:] as room:
            try:
                n = self.sock.recv_into(room)
                while 0 < n < READ_SIZE and self._tls and self.sock.pending():
                    n += self.sock.recv_into(room[n:])
            except NOT_NOW:
                return n or -1
        self._more = self._tls and n == READ_SIZE
        if self._more and not self.paused:
            self._read_later()
        return n

    def _read_later(self) -> None:
        # Once, however many ask for it.
        if not self._reads_later:
            self._reads_later = True
            self._loop.run_callback(self._read_more)

    def _read_more(self) -> None:
        # What was given back, or what TLS had decrypted when the buffer was full.
        self._reads_later = False
        if self._more and not self.paused and self._on_readable is not None:
            self._on_readable()

    def flush(self) -> None:
        """Write as much of ``out`` as the kernel takes now.

        Raises:
            OSError: if the connection is broken.
        """
        out = self.out
        if not out or self._fd < 0:
            return
        n = send_fd(self._fd, out) if self._direct else self._write_by_method()
        if n == len(out):
            out.clear()
        elif n > 0:
            del out[:n]

    def _write_by_method(self) -> int:
        # A record at a time: of more OpenSSL says only at the end how much is gone,
        # and of a peer that reads slowly nothing would show.
        n: int = 0
        with memoryview(self.out) as view:
            try:
                while n < len(view):
                    with view[n : n + RECORD] as record:
                        n_sent = self.sock.send(record)
                    if not n_sent:  # gevent's TLS socket does not raise
                        break
                    n += n_sent
            except NOT_NOW:
                pass
        return n

    def wait_writable(self, on_writable: Callable[[], None]) -> None:
        """Call ``on_writable`` in the hub when the kernel takes more."""
        if self._write_watcher is None and self._fd >= 0:
            self.awaits_room = True
            self._write_watcher = self._loop.io(self._fd, WRITE)
            self._write_watcher.start(on_writable)

    def stop_waiting_writable(self) -> None:
        """Undo `wait_writable`."""
        if self._write_watcher is not None:
            self.awaits_room = False
            self._write_watcher.close()
            self._write_watcher = None

    def n_unacknowledged(self) -> int:
        """Return how many octets the kernel holds that the peer has not taken.

        It falls while the peer reads, even when it reads so slowly that the kernel
        has no use for more yet. -1 where the system does not tell.
        """
        if sys.platform == "win32" or self._fd < 0:
            return -1
        try:
            (n,) = struct.unpack(
                "i", fcntl.ioctl(self._fd, termios.TIOCOUTQ, b"\0" * 4)
            )
        except OSError:
            return -1
        return int(n)

    def stop_reading(self) -> None:
        """Stop reading for good: the stream has ended."""
        if self._read_watcher is not None:
            self._read_watcher.close()
            self._read_watcher = None
            self._on_readable = None

    def shut(self) -> None:
        """End the stream in our direction; the peer reads to its end.

        What it still sends may be read, and dropped: of TLS it comes encrypted.
        """
        if self._shut or self._fd < 0:
            return
        self._shut = True
        if self._tls:
            # Sends close_notify. That the peer has not sent its own yet is an
            # error here, and no matter; but after one OpenSSL reads no more.
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()
            self._tls = False
        with contextlib.suppress(OSError):
            # Of a TLS socket, this leaves the plain one.
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket, once, after its watchers.

        Only then may the kernel give its descriptor to somebody else.
        """
        self.stop_reading()
        self.stop_waiting_writable()
        if self._fd >= 0:
            self.shut()
            self._fd = -1
            self.sock.close()


def wrap_tls(
    sock: Any,
    context: ssl.SSLContext,
    *,
    server_side: bool,
    server_hostname: str | None = None,
) -> ssl.SSLSocket | TLSSocket:
    """Do the TLS handshake on a connected socket, waiting cooperatively.

    The socket given is used up; on an error the connection is closed. It may be a
    TLS socket itself, such as that to an ``https://`` proxy.

    Raises:
        OSError: if it fails (`ssl.SSLError` is one).
    """
    sock.setblocking(False)
    tls: ssl.SSLSocket | TLSSocket
    if hasattr(sock, "pending"):
        tls = TLSSocket(
            sock, context, server_side=server_side, server_hostname=server_hostname
        )
    else:
        # Of a peer that has gone Python would leave a TLS socket that nobody closes.
        sock.getpeername()
        tls = context.wrap_socket(
            sock,
            server_side=server_side,
            server_hostname=server_hostname,
            do_handshake_on_connect=False,
        )
    try:
        while True:
            try:
                tls.do_handshake()
                return tls
            except ssl.SSLWantReadError:
                wait_read(tls.fileno())
            except ssl.SSLWantWriteError:
                wait_write(tls.fileno())
    except BaseException:
        tls.close()
        raise
