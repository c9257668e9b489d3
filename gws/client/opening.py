"""What to open and how, all decided, in; an open connection, or a refusal, out.

An `Opening` is never changed: where a redirect leads is another one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

from ..exceptions import InvalidStatus
from ..extensions import ClientExtensionFactory
from ..options import Options
from ..protocol.client import ClientProtocol
from ..protocol.datastructures import Headers
from ..protocol.headers import build_authorization_basic
from ..protocol.uri import WebSocketURI, parse_uri
from .connection import ClientConnection
from .dial import Dialer
from .redirects import is_same_origin, without_private


class ChallengeAuth(Protocol):
    """Answers a server that asks who we are; `gws.auth.DigestAuth` does."""

    def authorization(
        self, challenges: list[str], method: str, uri: str, *, again: bool = False
    ) -> str | None:
        """Return the Authorization header for a request, None if there is none.

        Args:
            challenges: the values of the WWW-Authenticate headers of a 401.
            method: of the request: GET.
            uri: of the request: path and query.
            again: whether an answer was refused already.
        """


@dataclasses.dataclass(frozen=True, slots=True, repr=False)  # it holds passwords
class Opening:
    """What `connect` does with one URI."""

    uri: WebSocketURI
    dialer: Dialer
    headers: Headers
    options: Options
    create_connection: Callable[..., ClientConnection]
    origin: str | None = None
    extensions: Sequence[ClientExtensionFactory] | None = None
    subprotocols: Sequence[str] | None = None
    auth: ChallengeAuth | None = None

    # Public methods

    def open(self) -> ClientConnection:
        """Open a connection; if the server asks who we are, on a second try.

        Raises:
            OSError: if there is no TCP or TLS connection.
            InvalidHandshake: if the server refuses, or its answer is not right.
        """
        headers = self.headers
        # An answer may be refused because what it answers is too old.
        for again in (False, True):
            try:
                return self._open(headers)
            except InvalidStatus as exc:
                answer = self._answer_to(exc, again)
                if answer is None:
                    raise
            headers = self.headers.copy()
            headers["Authorization"] = answer
        return self._open(headers)

    def protocol(self) -> ClientProtocol:
        """Return a new protocol, for one connection."""
        return ClientProtocol(
            self.uri,
            origin=self.origin,
            extensions=self.extensions,
            subprotocols=self.subprotocols,
        )

    def with_auth(self, auth: tuple[str, str] | ChallengeAuth) -> Opening:
        """Return the same with who we are, in the place of what the URI says.

        Raises:
            TypeError: if ``auth`` is not one, or the headers have theirs.
        """
        if "Authorization" in self.headers:
            raise TypeError("auth makes the Authorization header: give one")
        headers = self.headers.copy()
        challenged: ChallengeAuth | None = None
        if isinstance(auth, tuple) and len(auth) == 2:
            headers["Authorization"] = build_authorization_basic(*auth)
        elif hasattr(auth, "authorization") and not isinstance(auth, type):
            challenged = auth
        else:
            raise TypeError("auth must be (user, password) or a DigestAuth")
        uri = dataclasses.replace(self.uri, username=None, password=None)
        return dataclasses.replace(self, uri=uri, headers=headers, auth=challenged)

    def redirected(self, target: str) -> Opening:
        """Return what to do with the URI ``target`` in the place of ours."""
        uri = parse_uri(target)
        if not is_same_origin(self.uri, uri):
            return dataclasses.replace(
                self,
                uri=uri,
                headers=without_private(self.headers),
                auth=None,
                dialer=dataclasses.replace(self.dialer, server_hostname=None),
            )
        if uri.user_info is None:
            uri = dataclasses.replace(
                uri, username=self.uri.username, password=self.uri.password
            )
        return dataclasses.replace(self, uri=uri)

    # Private methods

    def _answer_to(self, exc: InvalidStatus, again: bool) -> str | None:
        # A socket that was given serves one request.
        if self.auth is None or self.dialer.sock is not None:
            return None
        if exc.status_code != 401:
            return None
        challenges = exc.response.headers.get_all("WWW-Authenticate")
        resource = self.uri.resource_name
        return self.auth.authorization(challenges, "GET", resource, again=again)

    def _open(self, headers: Headers) -> ClientConnection:
        sock = self.dialer.dial(self.uri)
        try:
            ws = self.create_connection(
                sock, self.protocol(), self.options, sock.getpeername()
            )
        except BaseException:
            sock.close()
            raise
        try:
            ws.open_handshake(headers)
        except BaseException:
            ws.abort()
            raise
        ws.start_keepalive()
        return ws
