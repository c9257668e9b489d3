"""Two connections of gws that are joined without a port.

They do the opening handshake as any others; what is between them is a pair of
connected sockets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

from ..client import ClientConnection, connect
from ..protocol.codes import CloseCode
from ..protocol.datastructures import HeadersLike
from ..server import ServerConnection
from ..sockets import plain
from .peer import TIMEOUT
from .served import CLOSE_TIMEOUT, REMOTE_ADDRESS, Served


class connect_to:
    """Connect to a handler or a router, without a port.

        with connect_to(router, "/chat/lobby") as ws:
            ws.send("hello")
            assert ws.recv() == "lobby: hello"

    ``ws`` is a `ClientConnection`. The handler runs in a greenlet of its own, as
    under `serve`: routes, hooks, subprotocols and origins are those of a server. At
    the end of the ``with`` the connection is closed and the handler must end.

    What the handler or a hook raised is raised there, too; in the body, the end of
    the connection is what is seen of it.

    Args:
        handler: a handler or a router, as for `serve`.
        path: of the request, with its query; or a whole URI, for another host.
        headers: to add to the request.
        server: options for the server's side, as for `serve`. close_timeout is 1 s
            on both sides.
        remote_address: the client's, as the handler sees it.
        timeout: seconds that the handler may take to end.
        options: for the client's side, as for `connect`; with ``ssl`` it is
            ``wss://``.

    Opening raises:
        InvalidStatus: if the server refuses; its ``response`` tells why.
        TypeError, ValueError: if an option makes no sense.

    Ending raises:
        TimeoutError: if the handler does not end; it is stopped.
    """

    def __init__(
        self,
        handler: Any,
        path: str = "/",
        *,
        headers: HeadersLike | None = None,
        server: Mapping[str, Any] | None = None,
        remote_address: Any = REMOTE_ADDRESS,
        timeout: float = TIMEOUT,
        **options: Any,
    ) -> None:
        scheme = "wss" if options.get("ssl") else "ws"
        self._uri = path if "://" in path else f"{scheme}://localhost{path}"
        self._handler = handler
        self._server_options = server or {}
        self._remote_address = remote_address
        self._timeout = timeout
        self._options: dict[str, Any] = {"close_timeout": CLOSE_TIMEOUT, **options}
        if headers is not None:
            self._options["additional_headers"] = headers
        self._stack: ExitStack | None = None
        self._served: Served | None = None

    # Properties

    @property
    def server_connection(self) -> ServerConnection:
        """The other side: the connection that the handler got."""
        ws = self._inside().watched.connection
        assert ws is not None  # it was resolved: the client's side is open
        return ws

    # Public methods

    def handler_exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait until the handler has ended; return what it raised, None if nothing.

        It is then not raised at the end of the ``with``.

        Args:
            timeout: seconds to wait; by default that for its end.

        Raises:
            TimeoutError: if it does not end.
        """
        watched = self._inside().watched
        seconds = self._timeout if timeout is None else timeout
        if not watched.ended.wait(seconds):
            raise TimeoutError(f"the handler has not ended within {seconds} s")
        exc, watched.exception = watched.exception, None
        return exc

    def __enter__(self) -> ClientConnection:
        if self._stack is not None:
            raise RuntimeError("this connect_to() is entered already")
        with ExitStack() as stack:
            served = Served(self._handler, self._server_options, self._timeout)
            self._served = stack.enter_context(served)
            ws = self._open(served)
            stack.push(self._closing(ws))
            self._stack = stack.pop_all()
        return ws

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stack, self._stack = self._stack, None
        assert stack is not None  # __enter__ sets it
        stack.__exit__(exc_type, exc, traceback)

    # Private methods

    def _inside(self) -> Served:
        if self._served is None:
            raise RuntimeError("this connect_to() was not entered")
        return self._served

    def _open(self, served: Served) -> ClientConnection:
        sock = plain(served.dial(self._remote_address))
        try:
            recipe = connect(self._uri, sock=sock, **self._options)
        except BaseException:
            sock.close()
            raise
        return recipe.open()

    def _closing(self, ws: ClientConnection) -> Any:
        def end(exc_type: type[BaseException] | None, *args: Any) -> None:
            code = CloseCode.INTERNAL_ERROR if exc_type else CloseCode.NORMAL_CLOSURE
            close(ws, code, self._timeout)

        return end


@contextmanager
def pair(
    path: str = "/",
    *,
    headers: HeadersLike | None = None,
    client: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
) -> Iterator[tuple[ClientConnection, ServerConnection]]:
    """Give both sides of an open connection, without a port.

        with pair(client={"max_size": 10}) as (client, server):
            server.send("hello")
            assert client.recv() == "hello"

    Both are closed at the end.

    Args:
        path: of the request, with its query; or a whole URI.
        headers: to add to the request.
        client: options for the client's side, as for `connect`.
        server: options for the server's side, as for `serve`.

    Raises:
        InvalidStatus: if the server's side refuses.
        TypeError, ValueError: if an option makes no sense.
    """
    joined = connect_to(
        lambda ws: ws.wait_closed(),
        path,
        headers=headers,
        server=server,
        **(client or {}),
    )
    with joined as ws:
        try:
            yield ws, joined.server_connection
        finally:
            # Otherwise what it has not received would come before the client's
            # close frame.
            joined.server_connection.begin_close()


def close(ws: Any, code: int, timeout: float) -> None:
    """Close a connection; without a closing handshake if that takes too long."""
    ws.begin_close(code)
    if not ws.wait_closed(timeout):
        ws._finish()
