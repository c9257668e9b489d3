"""What both sides say about compression in the opening handshake (RFC 7692, 7.1).

What they agreed on does its work in `deflate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ..exceptions import (
    DuplicateParameter,
    InvalidParameterName,
    InvalidParameterValue,
    NegotiationError,
)
from ..protocol.headers import ExtensionParameter
from .base import ClientExtensionFactory, Extension, ServerExtensionFactory
from .deflate import NAME, THRESHOLD, check_int
from .deflate import PerMessageDeflate as PerMessageDeflate


SERVER_NO_CONTEXT_TAKEOVER = "server_no_context_takeover"
CLIENT_NO_CONTEXT_TAKEOVER = "client_no_context_takeover"
SERVER_MAX_WINDOW_BITS = "server_max_window_bits"
CLIENT_MAX_WINDOW_BITS = "client_max_window_bits"

#: All parameters, in the order in which they are sent (section 7.1).
PARAMETERS = (
    SERVER_NO_CONTEXT_TAKEOVER,
    CLIENT_NO_CONTEXT_TAKEOVER,
    SERVER_MAX_WINDOW_BITS,
    CLIENT_MAX_WINDOW_BITS,
)

#: Section 7.1.2.1: "a decimal integer value without leading zeroes between 8 to 15,
#: inclusive".
WINDOW_BITS = {str(bits): bits for bits in range(8, 16)}

#: Parameters by name; True is one without value.
Terms = dict[str, int]


def _parse_terms(params: Sequence[ExtensionParameter], *, offer: bool) -> Terms:
    """Return the parameters of an offer or of an answer (section 7.1)."""
    terms: Terms = {}
    for name, value in params:
        if name not in PARAMETERS:
            raise InvalidParameterName(name)
        if name in terms:
            raise DuplicateParameter(name)
        if name.endswith("no_context_takeover"):
            # Sections 7.1.1.1 and 7.1.1.2: "This parameter has no value."
            valid = value is None
        else:
            # Section 7.1.2.2: in an offer it "may or may not have a value".
            no_value = offer and name == CLIENT_MAX_WINDOW_BITS and value is None
            valid = no_value or value in WINDOW_BITS
        if not valid:
            raise InvalidParameterValue(name, value)
        terms[name] = True if value is None else WINDOW_BITS[value]
    return terms


def _build_params(terms: Terms) -> list[ExtensionParameter]:
    """Return the parameters as they are sent: the reverse of `_parse_terms`."""
    return [
        (name, None if terms[name] is True else str(terms[name]))
        for name in PARAMETERS
        if terms.get(name)
    ]


def _check_first(accepted_extensions: Sequence[Extension]) -> None:
    # Two of them would both claim RSV1.
    if any(extension.name == NAME for extension in accepted_extensions):
        raise NegotiationError(f"duplicate extension: {NAME}")


class ClientPerMessageDeflateFactory(ClientExtensionFactory):
    """Offers permessage-deflate with these parameters (RFC 7692, section 7.1).

    Args:
        server_no_context_takeover: the server must not use context takeover.
        client_no_context_takeover: we won't.
        server_max_window_bits: the server's window has at most 2**bits bytes; from
            8 to 15.
        client_max_window_bits: ours has; from 9 to 15. True: the server may say.
            None: it may not.
        compress_settings: level, memLevel and strategy of ``zlib.compressobj``.
        threshold: whole messages shorter than this many bytes are not compressed.

    Raises:
        ValueError, TypeError: if an argument makes no sense.
    """

    name = NAME

    def __init__(
        self,
        server_no_context_takeover: bool = False,
        client_no_context_takeover: bool = False,
        server_max_window_bits: int | None = None,
        client_max_window_bits: int | Literal[True] | None = True,
        compress_settings: Mapping[str, int] | None = None,
        threshold: int = THRESHOLD,
    ) -> None:
        if server_max_window_bits is not None:
            check_int(SERVER_MAX_WINDOW_BITS, server_max_window_bits, 8, 15)
        if client_max_window_bits is not None and client_max_window_bits is not True:
            # zlib has no 8. A server that asks for it is another matter.
            check_int(CLIENT_MAX_WINDOW_BITS, client_max_window_bits, 9, 15)
        PerMessageDeflate(True, True, 15, 15, compress_settings, threshold)
        self.server_no_context_takeover = server_no_context_takeover
        self.client_no_context_takeover = client_no_context_takeover
        self.server_max_window_bits = server_max_window_bits
        self.client_max_window_bits = client_max_window_bits
        self.compress_settings = compress_settings
        self.threshold = threshold

    def get_request_params(self) -> list[ExtensionParameter]:
        """Return the parameters to offer."""
        return _build_params(
            {
                SERVER_NO_CONTEXT_TAKEOVER: bool(self.server_no_context_takeover),
                CLIENT_NO_CONTEXT_TAKEOVER: bool(self.client_no_context_takeover),
                SERVER_MAX_WINDOW_BITS: self.server_max_window_bits or 0,
                CLIENT_MAX_WINDOW_BITS: self.client_max_window_bits or 0,
            }
        )

    def process_response_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> PerMessageDeflate:
        """Make the extension, unless the answer fits no offer of ours.

        Raises:
            NegotiationError: if it does not; a client must fail the connection then
                (RFC 7692, section 7.1).
        """
        _check_first(accepted_extensions)
        terms = _parse_terms(params, offer=False)
        # Section 7.1.1.1: the server accepts "by including the
        # "server_no_context_takeover" extension parameter" in its answer.
        if self.server_no_context_takeover and SERVER_NO_CONTEXT_TAKEOVER not in terms:
            raise NegotiationError(f"expected {SERVER_NO_CONTEXT_TAKEOVER}")
        # Section 7.1.2.1: "with the same or smaller value as the offer".
        server_bits = terms.get(SERVER_MAX_WINDOW_BITS)
        # Without the parameter the server's window has 15 bits. Some servers leave it
        # out where that is what we offered.
        if (server_bits or 15) > (self.server_max_window_bits or 15):
            raise NegotiationError(f"unsupported {SERVER_MAX_WINDOW_BITS}")
        # Section 7.1.2.2: if the offer has none, the answer "MUST NOT include" it.
        # What we offered we keep to, whether the server repeats it or not.
        client_bits = terms.get(CLIENT_MAX_WINDOW_BITS)
        if self.client_max_window_bits is None:
            if client_bits is not None:
                raise NegotiationError(f"unexpected {CLIENT_MAX_WINDOW_BITS}")
        elif self.client_max_window_bits is not True:
            if client_bits is None:
                client_bits = self.client_max_window_bits
            elif client_bits > self.client_max_window_bits:
                raise NegotiationError(f"unsupported {CLIENT_MAX_WINDOW_BITS}")
        return PerMessageDeflate(
            SERVER_NO_CONTEXT_TAKEOVER in terms,
            self.client_no_context_takeover or CLIENT_NO_CONTEXT_TAKEOVER in terms,
            server_bits or 15,
            client_bits or 15,
            self.compress_settings,
            self.threshold,
        )


class ServerPerMessageDeflateFactory(ServerExtensionFactory):
    """Accepts offers of permessage-deflate (RFC 7692, section 7.1).

    Args:
        server_no_context_takeover: we use no context takeover, asked or not.
        client_no_context_takeover: the client must not use it.
        server_max_window_bits: our window has at most 2**bits bytes; from 9 to 15.
            An offer that asks for 8 is passed: zlib can't.
        client_max_window_bits: the client's has, if it lets us say; from 8 to 15.
        compress_settings: level, memLevel and strategy of ``zlib.compressobj``.
        threshold: whole messages shorter than this many bytes are not compressed.
        require_client_max_window_bits: pass offers that don't let us say
            ``client_max_window_bits``.

    Raises:
        ValueError, TypeError: if an argument makes no sense.
    """

    name = NAME

    def __init__(
        self,
        server_no_context_takeover: bool = False,
        client_no_context_takeover: bool = False,
        server_max_window_bits: int | None = None,
        client_max_window_bits: int | None = None,
        compress_settings: Mapping[str, int] | None = None,
        threshold: int = THRESHOLD,
        *,
        require_client_max_window_bits: bool = False,
    ) -> None:
        if server_max_window_bits is not None:
            check_int(SERVER_MAX_WINDOW_BITS, server_max_window_bits, 9, 15)
        if client_max_window_bits is not None:
            check_int(CLIENT_MAX_WINDOW_BITS, client_max_window_bits, 8, 15)
        elif require_client_max_window_bits:
            raise ValueError(f"no {CLIENT_MAX_WINDOW_BITS} to require")
        PerMessageDeflate(True, True, 15, 15, compress_settings, threshold)
        self.server_no_context_takeover = server_no_context_takeover
        self.client_no_context_takeover = client_no_context_takeover
        self.server_max_window_bits = server_max_window_bits
        self.client_max_window_bits = client_max_window_bits
        self.compress_settings = compress_settings
        self.threshold = threshold
        self.require_client_max_window_bits = require_client_max_window_bits

    def process_request_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """Return the answer to one offer, and the extension.

        Raises:
            NegotiationError: if the offer is wrong, or asks for what we don't do.
        """
        _check_first(accepted_extensions)
        terms = _parse_terms(params, offer=True)
        if self.server_no_context_takeover:
            terms[SERVER_NO_CONTEXT_TAKEOVER] = True
        if self.client_no_context_takeover:
            # Section 7.1.1.2: the answer may have it "even if" the offer has not.
            terms[CLIENT_NO_CONTEXT_TAKEOVER] = True
        # Section 7.1.2.1: "A server declines an extension negotiation offer with
        # this parameter if the server doesn't support it."
        server_bits = min(
            terms.get(SERVER_MAX_WINDOW_BITS, 15), self.server_max_window_bits or 15
        )
        if server_bits == 8:
            raise NegotiationError(f"unsupported {SERVER_MAX_WINDOW_BITS}: 8")
        if SERVER_MAX_WINDOW_BITS in terms or self.server_max_window_bits is not None:
            terms[SERVER_MAX_WINDOW_BITS] = server_bits
        # Section 7.1.2.2: the answer may have it only if the offer has.
        offered = terms.pop(CLIENT_MAX_WINDOW_BITS, None)
        if offered is None:
            if self.require_client_max_window_bits:
                raise NegotiationError(f"required {CLIENT_MAX_WINDOW_BITS}")
        elif offered is not True or self.client_max_window_bits is not None:
            terms[CLIENT_MAX_WINDOW_BITS] = min(
                15 if offered is True else offered, self.client_max_window_bits or 15
            )
        return _build_params(terms), PerMessageDeflate(
            CLIENT_NO_CONTEXT_TAKEOVER in terms,
            SERVER_NO_CONTEXT_TAKEOVER in terms,
            terms.get(CLIENT_MAX_WINDOW_BITS, 15),
            server_bits,
            self.compress_settings,
            self.threshold,
        )


# What compression="deflate" stands for


def enable_client_permessage_deflate(
    extensions: Sequence[ClientExtensionFactory] | None = None,
) -> list[ClientExtensionFactory]:
    """Return the client's extensions, permessage-deflate among them.

    Unless it is there already it comes last, without context takeover.
    """
    enabled = list(extensions or ())
    if all(factory.name != NAME for factory in enabled):
        enabled.append(ClientPerMessageDeflateFactory(True, True))
    return enabled


def enable_server_permessage_deflate(
    extensions: Sequence[ServerExtensionFactory] | None = None,
) -> list[ServerExtensionFactory]:
    """Return the server's extensions, permessage-deflate among them.

    Unless it is there already it comes last, without context takeover.
    """
    enabled = list(extensions or ())
    if all(factory.name != NAME for factory in enabled):
        enabled.append(ServerPerMessageDeflateFactory(True, True))
    return enabled
