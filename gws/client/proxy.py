"""A URI in, the proxy for it out; and with a proxy, a socket to the server behind it.

`get_proxy` says which proxy to use, by option or by environment. `open_tunnel`
connects through it: by CONNECT (RFC 9110 9.3.6) to an HTTP proxy, for which
``https`` means that the way to the proxy is encrypted; or by SOCKS, which the
python-socks library speaks.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import socket
import ssl as tls
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from gevent import socket as gevent_socket

from ..exceptions import InvalidHeader, InvalidProxy, ProxyError
from ..protocol.headers import parse_host
from ..protocol.uri import WebSocketURI
from ..sockets import plain
from ..stream import wrap_tls
from .tunnel import open_by_connect


#: The schemes of proxies, and the ports they have by default.
PORTS = {
    "http": 80,
    "https": 443,
    "socks4": 1080,  # the name is looked up here: SOCKS4 knows addresses only
    "socks4a": 1080,  # and by the proxy
    "socks5": 1080,  # here
    "socks5h": 1080,  # by the proxy
}

# scheme "://" authority [ "/" ]: no path, query or fragment means anything here.
_proxy_uri = re.compile(r"([A-Za-z0-9]+)://([^/?#]*)/?")

# A user and a password, in what may be a proxy's URI.
_credentials = re.compile(r"((?:[^:/@]*://)?[^:@]*):.*@", re.DOTALL)

# An entry of no_proxy: with or without a port, an IPv6 address in brackets, a name, or
# an IPv4 address or network; without a port, an IPv6 address or network.
_no_proxy_entry = re.compile(r"(\[.*\]|[^:]*)(?::([0-9]{1,5}))?|.*")


@dataclasses.dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. ``repr()`` leaves the password out."""

    scheme: str
    """One of `PORTS`."""
    host: str
    """In lower case; an IPv6 address has no brackets."""
    port: int
    """Always set, if need be to that of `PORTS`."""
    username: str | None = None
    """Percent-decoded; None if the URI has no user information."""
    password: str | None = dataclasses.field(default=None, repr=False)
    """Percent-decoded; None without, and always for SOCKS4."""

    @property
    def user_info(self) -> tuple[str, str] | None:
        """Username and password, or None."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password


# Which proxy


def get_proxy(uri: WebSocketURI, proxy: str | bool | None) -> Proxy | None:
    """Return the proxy for ``uri``, or None to connect without.

    Args:
        uri: where to connect.
        proxy: the URI of a proxy; True to ask the environment; None for none.

    Raises:
        InvalidProxy: if what is given or configured is no proxy.
    """
    if proxy is True:
        proxy = _configured(uri)
    if proxy is None or proxy is False:
        return None
    return parse_proxy(proxy)


def parse_proxy(proxy: str) -> Proxy:
    """Parse the URI of a proxy, such as ``http://user:password@host:8080``.

    Raises:
        InvalidProxy: if it is not one; it does not repeat the password.
    """
    try:
        return _parse(proxy)
    except InvalidHeader:
        msg = "host or port isn't valid"
    except ValueError as exc:
        msg = str(exc)
    raise InvalidProxy(_credentials.sub(r"\1:***@", proxy, count=1), msg)


def _parse(proxy: str) -> Proxy:
    if re.fullmatch(r"[!-~]*", proxy) is None:
        raise ValueError("it contains a character that must be percent-encoded")
    match = _proxy_uri.fullmatch(proxy)
    if match is None:
        raise ValueError("it isn't like http://host:port")
    scheme, authority = match[1].lower(), match[2]
    if scheme not in PORTS:
        raise ValueError(f"scheme isn't one of {', '.join(PORTS)}")
    user_info, at, host_port = authority.rpartition("@")
    host, port = parse_host(host_port)
    username, password = _parse_user_info(scheme, user_info) if at else (None, None)
    return Proxy(scheme, host, port or PORTS[scheme], username, password)


def _parse_user_info(scheme: str, user_info: str) -> tuple[str, str | None]:
    """Return username and password; ValueError where they cannot be sent."""
    username, colon, password = user_info.partition(":")
    try:
        username = unquote(username, errors="strict")
        password = unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("user information isn't UTF-8") from None
    # RFC 7617 2: they "MUST NOT contain any control characters". In SOCKS4, NUL
    # ends the username.
    if re.search(r"[\x00-\x1f\x7f]", username + password) is not None:
        raise ValueError("user information contains a control character")
    if scheme.startswith("socks") and not (username + password).isascii():
        raise ValueError("user information isn't ASCII, as it must be for SOCKS")
    if scheme.startswith("socks4"):
        if colon:
            raise ValueError("SOCKS4 has a username but no password")
        return username, None
    if not colon:
        raise ValueError("username provided without password")
    # RFC 7617 2: "a user-id containing a colon character is invalid".
    if scheme.startswith("http") and ":" in username:
        raise ValueError("username contains a colon")
    # RFC 1929 2: both have 1 to 255 octets.
    if scheme.startswith("socks") and not (
        0 < len(username) < 256 and 0 < len(password) < 256
    ):
        raise ValueError("username or password is empty or too long")
    return username, password


def _configured(uri: WebSocketURI) -> str | None:
    """Return the proxy that the environment or the system has for ``uri``."""
    # Not for everyone who imports gws: it loads http.client and email.
    import urllib.request

    proxies = urllib.request.getproxies()
    if _is_excepted(uri.host, uri.port, proxies.get("no", "")):
        return None
    # For what systems configure in other ways, and for entries that we do not know.
    if urllib.request.proxy_bypass(f"{uri.host}:{uri.port}"):
        return None
    # RFC 6455 4.1: implementations are "encouraged to use a SOCKS5 proxy for WebSocket
    # connections, if available, or failing that, to prefer the proxy configured for
    # HTTPS connections over the proxy configured for HTTP connections." One for
    # WebSocket alone is surely meant; one for everything, if there is no other.
    names: tuple[str, ...]
    if uri.secure:
        names = ("wss", "socks", "https", "all")
    else:
        names = ("ws", "socks", "https", "http", "all")
    return next((_completed(n, proxies[n]) for n in names if n in proxies), None)


def _completed(name: str, proxy: str) -> str:
    """Return what was configured for ``name`` as the URI of a proxy."""
    scheme, separator, rest = proxy.partition("://")
    if not separator:
        scheme, rest = "http", proxy
    # macOS gives the SOCKS proxy as "http://host:port"; desktops write "socks://".
    if scheme == "socks" or (name == "socks" and scheme == "http"):
        scheme = "socks5h"
    return f"{scheme}://{rest}"


def _is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Return whether one of the entries of ``no_proxy`` names the server."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in no_proxy.lower().replace(",", " ").split():
        match = _no_proxy_entry.fullmatch(entry)
        assert match is not None  # the last alternative takes anything
        name = (match[1] or entry).strip("[]")
        if match[2] is not None and int(match[2]) != port:
            continue
        if name == "*" or (
            _names(name, host) if address is None else _contains(name, address)
        ):
            return True
    return False


def _names(name: str, host: str) -> bool:
    """Return whether ``host`` is ``name`` or below it, with or without dots."""
    name = name.removeprefix("*").strip(".")
    return bool(name) and f".{host.rstrip('.')}".endswith(f".{name}")


def _contains(
    name: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> bool:
    """Return whether ``name`` is the address, or a network that has it."""
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


# Through it


def open_tunnel(
    proxy: Proxy,
    host: str,
    port: int,
    *,
    dial: Callable[[str, int], Any],
    ssl: tls.SSLContext | None,
    server_hostname: str | None,
    user_agent: str | None,
) -> Any:
    """Connect to a server through a proxy; wait cooperatively, without a limit.

    Args:
        proxy: the proxy.
        host: of the server.
        port: of the server.
        dial: connects to a host and port; returns a non-blocking socket of the
            standard library.
        ssl: for an ``https://`` proxy; by default certificates are verified.
        server_hostname: the name that the certificate of an ``https://`` proxy must
            have; by default the proxy's host.
        user_agent: the User-Agent header for an HTTP proxy; None sends none.

    Returns:
        A non-blocking socket to the server. It is a TLS socket if the proxy is
        ``https://``; `gws.stream.wrap_tls` takes it all the same.

    Raises:
        OSError: if there is no TCP or TLS connection to the proxy.
        ProxyError: if the proxy does not connect us, or does not answer as it must.
        ImportError: if python-socks is needed and not there.
        ValueError: if host or ssl make no sense.
    """
    if ssl is not None and proxy.scheme != "https":
        raise ValueError("proxy_ssl needs an https:// proxy")
    # RFC 9112 3.2.3: authority-form = uri-host ":" port.
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        parse_host(authority)
    except InvalidHeader:
        raise ValueError(f"not a host and port: {authority!r}") from None
    if proxy.scheme.startswith("socks"):
        return _open_socks(proxy, host, port, dial)
    sock = dial(proxy.host, proxy.port)
    try:
        if proxy.scheme == "https":
            sock = wrap_tls(
                sock,
                tls.create_default_context() if ssl is None else ssl,
                server_side=False,
                server_hostname=server_hostname or proxy.host,
            )
        open_by_connect(sock, authority, proxy.user_info, user_agent)
    except BaseException:
        sock.close()
        raise
    return sock


# SOCKS


class _Dialled:
    """To python-socks, a proxy on the way to the proxy; to us, a socket to use.

    Its public API dials by itself, with a socket that blocks the hub, unless another
    proxy is to do that.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def connect(self, **kwargs: Any) -> Any:
        return self._sock


def _open_socks(
    proxy: Proxy, host: str, port: int, dial: Callable[[str, int], Any]
) -> Any:
    """Connect to a server through a SOCKS proxy."""
    try:
        import python_socks.sync
    except ImportError:
        raise ImportError(
            "a SOCKS proxy needs python-socks: pip install 'gevent-gws[socks]'"
        ) from None
    if proxy.scheme in ("socks4", "socks5"):
        # By ourselves, as python-socks would block the hub.
        host = _look_up(host, port, only_ipv4=proxy.scheme == "socks4")
    sock = dial(proxy.host, proxy.port)
    # Of gevent, while python-socks reads and writes: so the hub goes on.
    sock = gevent_socket.socket(sock.family, sock.type, sock.proto, sock.detach())
    sock.settimeout(None)
    kind = "SOCKS4" if proxy.scheme.startswith("socks4") else "SOCKS5"
    try:
        python_socks.sync.Proxy(
            python_socks.ProxyType[kind],
            proxy.host,
            proxy.port,
            proxy.username,
            proxy.password,
            rdns=True,
            forward=_Dialled(sock),  # type: ignore[arg-type]
        ).connect(host, port)
    except BaseException as exc:
        sock.close()
        # Junk makes it raise some ValueError.
        if isinstance(exc, (python_socks.ProxyError, ValueError)):
            raise ProxyError(f"SOCKS proxy: {exc}") from exc
        raise
    sock = plain(sock)
    sock.setblocking(False)
    return sock


def _look_up(host: str, port: int, *, only_ipv4: bool) -> str:
    """Return an address of ``host``; of IPv4 if it has one: proxies reach it best."""
    family = socket.AF_INET if only_ipv4 else socket.AF_UNSPEC
    try:
        found = gevent_socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except UnicodeError:  # Python encodes names; a part may be too long for it
        raise socket.gaierror(
            socket.EAI_NONAME, f"can't find {host}: not a host name"
        ) from None
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return str(found[0][4][0])
