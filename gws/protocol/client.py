"""A client's side of a connection: a request out, the answer and then frames in.

`ClientProtocol` adds the opening handshake (RFC 6455, section 4.1) to `Protocol`:

    request = protocol.connect()
    protocol.send_request(request)

The `Response` is the first of `events_received`. `handshake_exc` says why it is
refused, if it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..exceptions import InvalidHandshake, InvalidStatus, NegotiationError
from .base import Protocol
from .codes import Side, State
from .datastructures import Headers
from .handshake import build_request, check_response
from .headers import (
    ExtensionParameter,
    build_authorization_basic,
    build_extension,
    build_host,
    build_subprotocol,
    parse_extension,
    parse_subprotocol,
)
from .http11 import Request, Response, ResponseReader
from .types import MaxSize
from .uri import WebSocketURI


class ClientProtocol(Protocol):
    """A client's side of a WebSocket connection, without I/O.

    Args:
        uri: where to connect.
        origin: the value of the Origin header; None sends none.
        extensions: factories of those to offer, the best first.
        subprotocols: what to offer, the best first.
        max_size: as in `Protocol`.
    """

    __slots__ = (
        "_key",
        "_response_reader",
        "available_extensions",
        "handshake_exc",
        "origin",
        "subprotocol",
        "subprotocols",
        "uri",
    )

    def __init__(
        self,
        uri: WebSocketURI,
        *,
        origin: str | None = None,
        extensions: Sequence[Any] | None = None,
        subprotocols: Sequence[str] | None = None,
        max_size: MaxSize = 2**20,
    ) -> None:
        super().__init__(Side.CLIENT, state=State.CONNECTING, max_size=max_size)
        self.uri = uri
        self.origin = origin
        self.available_extensions = extensions
        self.subprotocols = subprotocols
        #: What was agreed on; None if there was nothing to.
        self.subprotocol: str | None = None
        #: Why the opening handshake failed; None if it did not.
        self.handshake_exc: Exception | None = None
        self._key = ""
        self._response_reader: ResponseReader | None = ResponseReader()

    # Public methods

    def connect(self) -> Request:
        """Make the request; headers may be added to it before `send_request`."""
        uri = self.uri
        headers = Headers()
        headers["Host"] = build_host(uri.host, uri.port, uri.secure)
        if uri.user_info is not None:
            headers["Authorization"] = build_authorization_basic(*uri.user_info)
        if self.origin is not None:
            headers["Origin"] = self.origin
        self._key = build_request(headers)
        if self.available_extensions:
            headers["Sec-WebSocket-Extensions"] = build_extension(
                [(x.name, x.get_request_params()) for x in self.available_extensions]
            )
        if self.subprotocols:
            headers["Sec-WebSocket-Protocol"] = build_subprotocol(self.subprotocols)
        return Request(uri.resource_name, headers)

    def send_request(self, request: Request) -> None:
        """Send the request."""
        self.out.extend(request.serialize())

    def response_so_far(self) -> Response | None:
        """Return a refusal whose body has not all come; None if none has begun.

        For who does not want to wait for the rest.
        """
        reader = self._response_reader
        return None if reader is None else reader.response_so_far()

    # Private methods

    def _receive_handshake(self, data: bytes) -> None:
        reader = self._response_reader
        assert reader is not None  # it is there while CONNECTING
        try:
            response = reader.feed(data)
        except InvalidHandshake as exc:
            self._fail_handshake(exc)
            return
        if response is not None:
            self._receive_response(response, reader.leftover)

    def _receive_handshake_eof(self) -> None:
        reader = self._response_reader
        assert reader is not None  # it is there while CONNECTING
        try:
            response = reader.feed_eof()
        except InvalidHandshake as exc:
            self._fail_handshake(exc)
        else:
            self._receive_response(response, b"")

    def _receive_response(self, response: Response, leftover: bytes) -> None:
        self._response_reader = None
        self.events.append(response)
        try:
            self.subprotocol = self._check_response(response)
        except InvalidHandshake as exc:
            self._fail_handshake(exc)
        else:
            self._open(leftover)

    def _check_response(self, response: Response) -> str | None:
        # Section 4.1: "If the status code received from the server is not 101,
        # the client handles the response per HTTP procedures."
        if response.status_code != 101:
            raise InvalidStatus(response)
        check_response(response.headers, self._key)
        self.use(self._agreed_extensions(response.headers))
        values = [
            subprotocol
            for value in response.headers.get_all("Sec-WebSocket-Protocol")
            for subprotocol in parse_subprotocol(value)
        ]
        if not values:
            return None
        # The same for "a subprotocol that was not present in the client's
        # handshake".
        if len(values) > 1 or values[0] not in (self.subprotocols or ()):
            raise NegotiationError(f"subprotocol not offered: {', '.join(values)}")
        return values[0]

    def _agreed_extensions(self, headers: Headers) -> list[Any]:
        agreed: list[Any] = []
        for value in headers.get_all("Sec-WebSocket-Extensions"):
            for name, params in parse_extension(value):
                agreed.append(self._agreed_extension(name, params, agreed))
        return agreed

    def _agreed_extension(
        self, name: str, params: list[ExtensionParameter], agreed: list[Any]
    ) -> Any:
        # "If the response includes a |Sec-WebSocket-Extensions| header field and
        # this header field indicates the use of an extension that was not present
        # in the client's handshake, the client MUST _Fail the WebSocket
        # Connection_."
        exc = NegotiationError(f"extension not offered: {name}")
        for factory in self.available_extensions or ():
            if factory.name == name:
                try:
                    return factory.process_response_params(params, agreed)
                except NegotiationError as refusal:
                    exc = refusal  # it may answer another of our offers
        raise exc

    def _fail_handshake(self, exc: InvalidHandshake) -> None:
        self._response_reader = None
        self.handshake_exc = exc
        self._end_handshake()
