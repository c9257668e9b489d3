"""Behind proxies: what they say of a request in, the address of the peer out.

A proxy that passes a request on appends whom it had it from. Whoever is not trusted
can have written what it likes; so the list is read from its end, as far as those who
wrote it are trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from ..exceptions import InvalidHeader, InvalidHeaderFormat
from ..protocol.datastructures import Headers
from ..protocol.grammar import parse_list, parse_quoted_string, parse_token, skip_ows
from ..protocol.headers import parse_host


Address = IPv4Address | IPv6Address

#: The headers that proxies tell in; one of them, since a proxy that writes one passes
#: on what its client put into the other.
HEADERS = ("X-Forwarded-For", "Forwarded")

#: The most entries that are read of a list.
MAX_HOPS = 50


class TrustedProxies:
    """Who is believed, and in which header.

    Args:
        proxies: addresses and networks of the proxies, such as "10.0.0.0/8"; "unix"
            is whoever connects by a Unix socket.
        header: "X-Forwarded-For", or "Forwarded" (RFC 7239).

    Raises:
        TypeError, ValueError: if one makes no sense.
    """

    def __init__(self, proxies: Iterable[str], header: str = HEADERS[0]) -> None:
        if isinstance(proxies, str):
            raise TypeError("trusted_proxies must be a list of addresses and networks")
        if header not in HEADERS:
            raise ValueError(f"proxy_header must be one of {HEADERS}, not {header!r}")
        #: Their names, as given.
        self.names = tuple(proxies)
        self._header = header
        self._trusts_unix = "unix" in self.names
        self._networks = [ip_network(name) for name in self.names if name != "unix"]

    def client_of(self, peer: Any, headers: Headers) -> Any:
        """Return the address of the client that a request came from.

        Args:
            peer: the address of whoever connected to us.
            headers: of the request.

        Returns:
            ``peer``, unless it is trusted and tells of another; then a pair of host
            and port, the port 0 if it does not tell.
        """
        if not self.trusts(peer):
            return peer
        client = peer
        for entry in reversed(self._entries(headers)[-MAX_HOPS:]):
            found = parse_entry(entry)
            if found is None:
                break  # garbage, or an address that is hidden: nothing before counts
            client = found
            if not self._is_trusted(ip_address(found[0])):
                break
        return client

    def trusts(self, peer: Any) -> bool:
        """Tell whether who connects from an address is one of the proxies."""
        if not isinstance(peer, tuple):
            return self._trusts_unix
        try:
            return self._is_trusted(ip_address(peer[0].partition("%")[0]))
        except ValueError:
            return False

    def _entries(self, headers: Headers) -> Sequence[str]:
        values = headers.get_all(self._header)
        if self._header == "X-Forwarded-For":
            return [entry.strip() for value in values for entry in value.split(",")]
        try:
            return [
                element.get("for", "")
                for value in values
                for element in parse_forwarded(value)
            ]
        except InvalidHeader:
            return []

    def _is_trusted(self, address: Address) -> bool:
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def parse_entry(entry: str) -> tuple[str, int] | None:
    """Return host and port of one hop; None if it is no address.

    With and without a port, IPv6 in brackets or not; the port is 0 without one.
    """
    try:
        return str(ip_address(entry)), 0
    except ValueError:
        pass
    try:
        host, port = parse_host(entry)
        return str(ip_address(host)), port or 0
    except (InvalidHeader, ValueError):
        return None


def parse_forwarded(header: str) -> list[dict[str, str]]:
    """Parse a ``Forwarded`` header into the parameters of each hop (RFC 7239 4).

    Raises:
        InvalidHeaderFormat: if it breaks the grammar, or a parameter stands twice.
    """
    return parse_list(_parse_element, header, "Forwarded")


def _parse_element(header: str, pos: int, name: str) -> tuple[dict[str, str], int]:
    """Parse ``forwarded-element = [ pair ] *( ";" [ pair ] )``."""
    element: dict[str, str] = {}
    while pos < len(header) and header[pos] != ",":
        if header[pos] == ";":
            pos = skip_ows(header, pos + 1)
            continue
        key, pos = parse_token(header, pos, name)
        if not header.startswith("=", pos):
            raise InvalidHeaderFormat(name, "expected equals sign", header, pos)
        quoted = header.startswith('"', pos + 1)
        value, pos = (parse_quoted_string if quoted else parse_token)(
            header, pos + 1, name
        )
        # "Each parameter MUST NOT occur more than once per field-value."
        if element.setdefault(key.lower(), value) is not value:
            raise InvalidHeaderFormat(name, "parameter twice", header, pos)
        pos = skip_ows(header, pos)
        if pos < len(header) and header[pos] not in ",;":
            raise InvalidHeaderFormat(name, "expected semicolon", header, pos)
    return element, pos
