"""The client's side of a connection: a request out, and the server's answer in."""

from __future__ import annotations

from typing import Any

from gevent import Timeout

from ..connection import Connection
from ..exceptions import InvalidStatus
from ..options import Options
from ..protocol.client import ClientProtocol
from ..protocol.codes import State
from ..protocol.datastructures import Headers, HeadersLike
from ..protocol.http11 import Request, Response


#: How long to wait for the end of a refusal that does not say how long it is.
BODY_TIMEOUT = 1.0


class ClientConnection(Connection):
    """The client's side of a connection: what `connect` opens.

    Attributes of your own may be set on it.
    """

    protocol: ClientProtocol

    def __init__(
        self, sock: Any, protocol: ClientProtocol, options: Options, remote_address: Any
    ) -> None:
        super().__init__(sock, protocol, options, remote_address)
        self._request: Request | None = None
        self._response: Response | None = None

    # Properties

    @property
    def request(self) -> Request | None:
        """Our request in the opening handshake; None before it was sent."""
        return self._request

    @property
    def response(self) -> Response | None:
        """The server's answer; None before it has come."""
        return self._response

    @property
    def path(self) -> str:
        """The path and query of the request."""
        return self.protocol.uri.resource_name

    @property
    def request_headers(self) -> Headers:
        """The headers of the request."""
        return Headers() if self._request is None else self._request.headers

    @property
    def response_headers(self) -> Headers:
        """The headers of the response."""
        return Headers() if self._response is None else self._response.headers

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self.protocol.subprotocol

    # Public methods

    def open_handshake(self, headers: HeadersLike) -> None:
        """Do the opening handshake.

        Args:
            headers: to add to the request.

        Raises:
            InvalidHandshake: if the server refuses, or its answer is not right.
        """
        protocol = self.protocol
        request = protocol.connect()
        added = Headers(headers)
        for name in ("Authorization", "Host"):
            # In the place of what the URI says.
            if name in added:
                request.headers.pop(name, None)
        request.headers.update(added)
        protocol.send_request(request)
        self._request = request
        self.start()
        self._wait_response()
        self._response = self.handshake_event
        self.handshake_event = None
        if protocol.handshake_exc is not None:
            raise protocol.handshake_exc

    def abort(self) -> None:
        """End the TCP connection, without a closing handshake."""
        self._finish()

    # Private methods

    def _wait_response(self) -> None:
        grace: Timeout | None = None
        try:
            while self.handshake_event is None and self.state is State.CONNECTING:
                self.wait_input()
                if grace is None and self.protocol.response_so_far() is not None:
                    grace = Timeout.start_new(BODY_TIMEOUT)
        except Timeout as exc:
            refusal = self.protocol.response_so_far()
            if exc is not grace or refusal is None:
                raise
            raise InvalidStatus(refusal) from None
        finally:
            if grace is not None:
                grace.close()
