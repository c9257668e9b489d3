"""A server without a port: its connections are handed to it."""

from __future__ import annotations

import dataclasses
import functools
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from gevent import GreenletExit, get_hub, kill, sleep, socket
from gevent.event import Event
from greenlet import greenlet

from ..exceptions import ConnectionClosed, InvalidStatus
from ..protocol.http11 import Request, Response
from ..server import Server, ServerConnection, serve
from ..server.route import Route, with_path
from ..sockets import Socket, plain


#: The options of `serve` and of a route that take a function.
HOOKS = frozenset(
    {"process_request", "process_response", "select_subprotocol", "extra_headers"}
)

#: For close_timeout, unless set: nothing is far away.
CLOSE_TIMEOUT = 1.0

#: Who connects, unless set. A port that nobody has: there is none.
REMOTE_ADDRESS = ("127.0.0.1", 0)


class Watched:
    """A handler, or a router, that keeps what it raised; itself a handler for `serve`.

    An end of its connection that it did not catch is no failure, nor is
    `gevent.GreenletExit`: a server does not log them either.
    """

    def __init__(self, handler: Any) -> None:
        self._handler = with_path(handler)
        #: The connection of the latest request.
        self.connection: ServerConnection | None = None
        #: What the handler or a hook raised.
        self.exception: BaseException | None = None
        #: Set when the handler has ended.
        self.ended = Event()

    # Public methods

    def resolve(self, ws: ServerConnection, request: Request) -> Route | Response:
        """Choose who serves a request, as `Router.resolve` does."""
        self.connection = ws
        if not hasattr(self._handler, "resolve"):
            run = functools.partial(self._run, self._handler)
            return Route(run, {}, {})
        found: Route | Response = self._call(self._handler.resolve, ws, request)
        if isinstance(found, Response):
            return found
        return dataclasses.replace(
            found,
            handler=functools.partial(self._run, found.handler),
            options=self.watch_hooks(found.options),
        )

    def watch_hooks(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``options``; what the hooks in them raise is kept as well."""
        return {
            name: functools.partial(self._call, value)
            if name in HOOKS and callable(value)
            else value
            for name, value in options.items()
        }

    # Private methods

    def _call(self, hook: Callable[..., Any], /, *args: Any) -> Any:
        try:
            return hook(*args)
        except Exception as exc:
            self.exception = exc
            raise

    def _run(self, handler: Callable[..., Any], ws: Any, /, **kwargs: Any) -> None:
        try:
            handler(ws, **kwargs)
        except GreenletExit:
            raise
        except ConnectionClosed as exc:
            if ws.open:  # it was not this connection that closed
                self.exception = exc
            raise
        except BaseException as exc:
            self.exception = exc
            raise
        finally:
            self.ended.set()


class Served:
    """A running server without a port; for ``with``.

    At the end of the ``with`` it waits for its handlers, and raises what one of them
    raised, unless the body raised something that is no consequence of it.

    Args:
        handler: a handler or a router, as for `serve`.
        options: as for `serve`.
        timeout: seconds that handlers may take to end.
    """

    def __init__(
        self, handler: Any, options: Mapping[str, Any], timeout: float
    ) -> None:
        self._timeout = timeout
        self.watched = Watched(handler)
        options = {"close_timeout": CLOSE_TIMEOUT, **self.watched.watch_hooks(options)}
        # It stands in the place of one that listens.
        sock = Socket()
        try:
            self._server: Server = serve(self.watched, sock=sock, **options)
        except BaseException:
            sock.close()
            raise

    # Public methods

    def dial(self, remote_address: Any, receive_buffer: int | None = None) -> Any:
        """Return our end, of gevent, of a new connection to the server."""
        theirs, ours = socketpair(receive_buffer)
        hub = get_hub()
        serving = greenlet(self._server._serve, hub)
        hub.loop.run_callback(serving.switch, theirs, remote_address)
        try:
            sleep(0)  # once it has begun, the end waits for it
        except BaseException:
            ours.close()
            raise
        return ours

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        raise_failure(self.watched.exception, exc)

    # Private methods

    def _end(self) -> None:
        self._server.close()
        if self._server.wait_closed(self._timeout):
            return
        greenlets = list(self._server._greenlets)
        stacks = [traceback.format_stack(found.gr_frame) for found in greenlets]
        for found in greenlets:
            kill(found)
        self._server.wait_closed(self._timeout)
        for ws in list(self._server.connections):
            ws._finish()
        raise TimeoutError(
            f"a handler has not ended within {self._timeout} s after its connection "
            "had to; it was here:\n" + "\n".join(map("".join, stacks))
        )


def socketpair(receive_buffer: int | None = None) -> tuple[Any, Any]:
    """Return two connected sockets: a plain one for gws, one of gevent for its peer.

    Args:
        receive_buffer: about how many bytes the peer takes without reading them.
    """
    ours, theirs = socket.socketpair()
    if receive_buffer is not None:
        # Of local sockets the sender's buffer counts, of others both do.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, receive_buffer)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    return plain(ours), theirs


def raise_failure(failure: BaseException | None, exc: BaseException | None) -> None:
    """Raise what went wrong on the server's side, at the end of a ``with``.

    Args:
        failure: what did; None if nothing.
        exc: what the body of the ``with`` raised. If that is no consequence of the
            failure it is left alone, with a note.
    """
    if failure is None or failure is exc:
        return
    if exc is not None and not is_consequence(exc):
        exc.add_note(f"What was served had failed with {failure!r}.")
        return
    # It tells what came before it in its own place, not the body's exception.
    context = failure.__context__
    try:
        raise failure
    finally:
        failure.__context__ = context


def is_consequence(exc: BaseException) -> bool:
    """Tell whether ``exc`` is what a client sees of a server's failure."""
    if isinstance(exc, InvalidStatus):
        return bool(exc.response.status_code == 500)
    return isinstance(exc, ConnectionClosed)
