"""Redis by its URL: connections that wait on gevent's hub, and where the master is.

The only module that knows redis-py. The URLs of a bus are

    redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]     one server
    unix:///PATH[?db=DB]                           on a Unix socket
    redis+sentinel://HOST:PORT[,HOST:PORT...]/SERVICE[/DB]
    redis+cluster://HOST:PORT[,HOST:PORT...]       a Redis Cluster

``rediss`` in the place of ``redis`` is with TLS; ``valkey`` and ``valkeys`` are the
same. What redis-py takes in the query works here: ``?ssl_ca_certs=...``; sentinels that
ask for a password get ``?sentinel_password=``, and ``sentinel_username``. ``?prefix=``
is what the names of keys and channels begin with: "gws" by default. Services that share
a Redis need one each.
"""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import gevent.socket
import gevent.ssl
import redis
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ResponseError as ResponseError

from .urls import check_scheme


#: What a server that has gone, or is no master any more, makes of a call.
ERRORS = (RedisError, OSError, EOFError)

#: What a server says that serves a room no longer, or not yet: another one does.
MOVED = (AskError, TryAgainError)

#: What it says that can't do something now, whereas it, or another, can later: LOADING,
#: which is none of these for redis-py, is among the lost connections.
NO_MASTER = (ReadOnlyError, ClusterDownError, NoScriptError, *MOVED)

#: Seconds for connecting, and for each reply.
TIMEOUT = 5.0

#: What a Redis Cluster divides keys into.
N_SLOTS = 16384


#: Host and port; None for the only one there is.
Address = tuple[str, int] | None

#: The masters of a cluster, each with its ranges of slots.
Masters = dict[tuple[str, int], list[tuple[int, int]]]


def _dial(connection: Any) -> Any:
    # A socket of gevent to where a connection of redis-py wants to go.
    sock = gevent.socket.create_connection(
        (connection.host, connection.port), connection.socket_connect_timeout
    )
    sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
    sock.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_KEEPALIVE, 1)
    sock.settimeout(connection.socket_timeout)
    return sock


class Connection(redis.Connection):
    """A TCP connection of redis-py on gevent's hub, whether patched or not."""

    def _connect(self) -> Any:
        return _dial(self)


class TLSConnection(redis.SSLConnection):
    """The same, with TLS."""

    def _connect(self) -> Any:
        # Not `create_default_context`: its sockets would block the hub.
        context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
        if self.ca_certs or self.ca_path or self.ca_data:
            context.load_verify_locations(self.ca_certs, self.ca_path, self.ca_data)
        else:
            context.load_default_certs()
        # Before the other: there is no checking the name of who need not show one.
        context.check_hostname = self.check_hostname and bool(self.cert_reqs)
        context.verify_mode = self.cert_reqs
        if self.certfile:
            context.load_cert_chain(
                self.certfile, self.keyfile, self.certificate_password
            )
        sock = _dial(self)
        try:
            return context.wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise


class UnixConnection(redis.UnixDomainSocketConnection):
    """The same, on a Unix socket."""

    def _connect(self) -> Any:
        sock = gevent.socket.socket(gevent.socket.AF_UNIX, gevent.socket.SOCK_STREAM)
        try:
            sock.settimeout(self.socket_connect_timeout)
            sock.connect(self.path)
            sock.settimeout(self.socket_timeout)
            return sock
        except BaseException:
            sock.close()
            raise


#: What may follow each scheme after a "+".
KINDS = {
    "redis": ("", "sentinel", "cluster"),
    "rediss": ("", "sentinel", "cluster"),
    "unix": ("",),
}

#: The classes of connections by scheme; and those of redis-py, for who has no hub.
ON_THE_HUB: dict[str, Any] = {
    "redis": Connection,
    "rediss": TLSConnection,
    "unix": UnixConnection,
}
PLAIN: dict[str, Any] = {
    "redis": redis.Connection,
    "rediss": redis.SSLConnection,
    "unix": redis.UnixDomainSocketConnection,
}


class Place:
    """Where a Redis is, as a URL says.

    Args:
        url: see above.
        plain: connections block the thread, as redis-py's own do.

    Raises:
        ValueError: if the URL makes no sense.
    """

    def __init__(self, url: str, plain: bool = False) -> None:
        check_scheme(url)
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        #: What the names of keys and channels begin with.
        self.prefix = query.pop("prefix", "gws")
        if "{" in self.prefix or "}" in self.prefix:
            raise ValueError("prefix: braces are for what a cluster looks at")
        # Of sentinels, which have neither databases nor the users of their servers.
        self._of_sentinels: dict[str, Any] = {
            "db": 0,
            "username": query.pop("sentinel_username", None),
            "password": query.pop("sentinel_password", None),
        }
        scheme, _, kind = parts.scheme.replace("valkey", "redis").partition("+")
        if scheme not in KINDS or kind not in KINDS[scheme]:
            raise ValueError(f"no bus is called {parts.scheme}://")
        #: Several masters, each with some of the slots.
        self.is_cluster = kind == "cluster"
        self._service = ""
        # Sentinels, or nodes of the cluster: those of the URL, and those known now.
        self._seeds: list[tuple[str, int]] = []
        self._nodes: list[tuple[str, int]] = []
        netloc, path = parts.netloc, parts.path
        if kind:
            user, at, hosts = netloc.rpartition("@")
            self._nodes = [split_address(host) for host in hosts.split(",")]
            self._seeds = self._nodes
            netloc = f"{user}{at}localhost"
        if kind == "sentinel":
            self._service, _, path = path.lstrip("/").partition("/")
            if not self._service:
                raise ValueError(f"{parts.scheme}://HOSTS/SERVICE: no service")
        single = f"{scheme}://{netloc}/{path.lstrip('/')}?{urlencode(query)}"
        self._options = parse_options(single)
        if self.is_cluster and self._options.get("db"):
            raise ValueError("a cluster has no databases but 0")
        self._connection_class = (PLAIN if plain else ON_THE_HUB)[scheme]
        check_options(self._connection_class, self._options)

    # Public methods

    def connect(self, address: Address = None, **others: Any) -> Any:
        """Return a connection, open, to the master or to ``address``.

        Args:
            others: options that differ from those of the URL.

        Raises one of `ERRORS`.
        """
        options = {**self._options, **others}
        if address is None and self._service:
            address = self._find_master()
        if address is not None:
            options["host"], options["port"] = address
        connection = self._connection_class(**options)
        try:
            connection.connect()
            return connection
        except BaseException:
            connection.disconnect()
            raise

    def masters(self, first: Address = None) -> Masters:
        """Return the masters of a cluster, each with its ranges of slots.

        Args:
            first: the node to ask first, as one that may know what is new.

        Raises one of `ERRORS`, if no node of the cluster answers.
        """
        failure: Exception = OSError("no node of the cluster is known")
        for node in dict.fromkeys([*filter(None, [first]), *self._nodes]):
            try:
                found = read_slots(self.ask(node, "CLUSTER", "SLOTS"), node)
            except ERRORS as exc:
                failure = exc
                continue
            # Others may answer when those of the URL no longer do.
            self._nodes = list(dict.fromkeys([*found, *self._seeds]))
            return found
        raise failure

    def ask(self, address: tuple[str, int], *command: str, **options: Any) -> Any:
        """Return the reply to one command, on a connection of its own."""
        connection = self.connect(address, **options)
        try:
            connection.send_command(*command)
            return connection.read_response()
        finally:
            connection.disconnect()

    # Private methods

    def _find_master(self) -> tuple[str, int]:
        # https://redis.io/docs/latest/develop/reference/sentinel-clients/: whoever
        # answers first; who connects makes sure that it is a master.
        failure: Exception = OSError("no sentinel is known")
        command = "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service
        for node in self._nodes:
            try:
                found = self.ask(node, *command, **self._of_sentinels)
            except ERRORS as exc:
                failure = exc
                continue
            if found is not None:
                return found[0].decode(), int(found[1])
            failure = OSError(f"no sentinel knows a master of {self._service}")
        raise failure


def parse_options(url: str) -> dict[str, Any]:
    """Return what a connection of redis-py takes, from the URL of one server."""
    try:
        urlsplit(url).port  # noqa: B018
    except ValueError:
        raise ValueError("the bus's URL: port isn't valid") from None
    options: dict[str, Any] = redis.connection.parse_url(url)  # type: ignore[no-untyped-call]
    options.pop("connection_class", None)
    options.setdefault("socket_timeout", TIMEOUT)
    options.setdefault("socket_connect_timeout", TIMEOUT)
    if url.startswith("rediss:"):
        # Not every version of redis-py does by default.
        verifies = options.get("ssl_cert_reqs") != "none"
        options.setdefault("ssl_check_hostname", verifies)
    # We read bytes, and the answers of RESP 2.
    return {**options, "protocol": 2, "decode_responses": False}


def check_options(connection_class: Any, options: dict[str, Any]) -> None:
    """Raise ValueError if redis-py does not take the options; opens nothing."""
    try:
        connection_class(**options)
    except (TypeError, RedisError) as exc:
        raise ValueError(f"the bus's URL: {exc}") from None


def set_timeout(connection: Any, seconds: float) -> None:
    """Have a connection wait so long for a reply, from now on."""
    connection._sock.settimeout(seconds)


def hang_up(connection: Any) -> None:
    """Have the greenlet that reads a connection find its end, now or later.

    What belongs to it is left to it: it may be in the middle of a reply.
    """
    sock = connection._sock
    if sock is not None:
        with contextlib.suppress(OSError):
            # Not that of `ssl`, which takes away what a reader may be using.
            gevent.socket.socket.shutdown(sock, gevent.socket.SHUT_RDWR)


def read_slots(reply: Any, node: tuple[str, int]) -> Masters:
    """Return the masters that CLUSTER SLOTS tells of, asked of ``node``."""
    masters: Masters = {}
    for first, last, (host, port, *_), *_ in reply:
        # "NULL [...] the same endpoint it used to send this command to": CLUSTER SLOTS
        address = (host.decode() if host else node[0], int(port))
        masters.setdefault(address, []).append((int(first), int(last)))
    return masters


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT; an IPv6 host stands in brackets."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def slot_of(key: bytes) -> int:
    """Return the slot of a key, or of a channel."""
    return key_slot(key, N_SLOTS)


def master_of(masters: Masters, channel: bytes) -> tuple[str, int]:
    """Return which master of a cluster serves a channel.

    Raises:
        ConnectionError: if none does at the moment.
    """
    slot = slot_of(channel)
    for address, ranges in masters.items():
        if any(first <= slot <= last for first, last in ranges):
            return address
    raise ConnectionError("no node of the cluster serves this room")
