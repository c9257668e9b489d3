"""Where a Redis is: URLs, Unix sockets, TLS, users, prefixes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gws.rooms.redis import Place, master_of, read_slots, slot_of, split_address
from gws.rooms.urls import open_bus as open_bus_at


Make = Callable[..., Any]

pytestmark = pytest.mark.covered


def hello(open_bus: Make, url: str) -> Any:
    heard = open_bus(url, history=3)
    heard.bus.subscribe("r")
    heard.say("r", "hello")
    heard.expect(("r", "hello", 1))
    return heard


def test_unix_socket(redis_server: Any, open_bus: Make) -> None:
    hello(open_bus, f"unix://{redis_server.path}?db=2")
    assert b"db2:keys=2" in redis_server.ask("INFO", "keyspace")


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_database_and_prefix(redis_server: Any, open_bus: Make, scheme: str) -> None:
    url = redis_server.url.replace("redis", scheme)
    heard = hello(open_bus, f"{url}/3?prefix=shop")
    assert b"db3:keys=2" in redis_server.ask("INFO", "keyspace")
    assert redis_server.ask("PUBSUB", "CHANNELS", "*") == [b"shop:{room:r}"]
    # Channels know no databases, but prefixes.
    other = hello(open_bus, f"{url}/3?prefix=other")
    assert heard.settle() == other.settle() == []


def test_user_and_password(start_redis: Make, open_bus: Make) -> None:
    server = start_redis()
    may = ["+@connection", "+@pubsub", "+@scripting", "+role", "+info"]
    may += ["+time", "+@hash", "+@stream", "+del", "+pexpire"]
    server.ask("ACL", "SETUSER", "ann", "on", ">p@ss/word", "~gws:*", "&gws:*", *may)
    url = server.url.replace("//", "//ann:p%40ss%2Fword@")
    heard = hello(open_bus, url)
    other = open_bus(url + "?prefix=other", history=3)
    other.say("r", "no right to that")
    other.expect(("r", "no right to that", None))
    assert other.bus.n_refused == 1
    assert heard.settle() == []
    wrong = open_bus(server.url.replace("//", "//ann:wrong@"))
    wrong.bus.subscribe("r")
    assert wrong.events == ["down"]


@pytest.fixture
def tls_server(start_redis: Make, tls_files: Path) -> Any:
    pem = str(tls_files / "server.pem")
    server = start_redis("--tls-cert-file", pem, "--tls-key-file", pem)
    for name, value in (
        ("tls-ca-cert-file", str(tls_files / "ca.pem")),
        ("tls-auth-clients", "no"),
        ("tls-port", server.tls_port),
    ):
        server.ask("CONFIG", "SET", name, value)
    return server


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_tls(tls_server: Any, tls_files: Path, open_bus: Make, scheme: str) -> None:
    at = f"{scheme}://localhost:{tls_server.tls_port}"
    hello(open_bus, f"{at}?ssl_ca_certs={tls_files / 'ca.pem'}")
    trusting = open_bus(f"{at}?ssl_cert_reqs=none")
    trusting.bus.subscribe("r")
    assert trusting.events == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2"])
def test_tls_of_somebody_else(
    tls_server: Any, tls_files: Path, open_bus: Make, host: str
) -> None:
    """Of an authority that we do not know; of another name."""
    ca = "" if host == "localhost" else f"?ssl_ca_certs={tls_files / 'ca.pem'}"
    tls_server.ask("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2")
    heard = open_bus(f"rediss://{host}:{tls_server.tls_port}{ca}")
    heard.bus.subscribe("r")
    assert heard.events == ["down"]


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "redis+other://localhost:1",
        "unix+cluster:///x:1",
        "redis+cluster://localhost",
        "redis+cluster://localhost:1,:2",
        "redis+cluster://localhost:1/3",
        "redis+sentinel://localhost:1",
        "redis+sentinel://localhost:1/",
        "redis://localhost?no_such_option=1",
        "redis://localhost?socket_timeout=soon",
        "redis://localhost?prefix={}",
    ],
)
def test_urls_that_make_no_sense(url: str) -> None:
    with pytest.raises(ValueError):
        Place(url)
    with pytest.raises(ValueError):
        open_bus_at(url, 0, None, 5)


def test_passwords_that_name_other_schemes() -> None:
    place = Place("redis://:valkey@localhost/1?decode_responses=1")
    assert place._options["password"] == "valkey"
    assert place._options["decode_responses"] is False


def test_addresses() -> None:
    assert split_address("[::1]:6379") == ("::1", 6379)
    assert split_address("redis.example:1") == ("redis.example", 1)


def test_slots() -> None:
    reply = [
        [0, 5000, [b"10.0.0.1", 1, b"id"], [b"10.0.0.9", 9, b"id"]],
        [5001, 10000, [None, 2, b"id"]],
        [10001, 16382, [b"", 2, b"id"]],
    ]
    masters = read_slots(reply, ("asked", 7))
    assert masters == {
        ("10.0.0.1", 1): [(0, 5000)],
        ("asked", 2): [(5001, 10000), (10001, 16382)],
    }
    assert slot_of(b"foo") == 12182 == slot_of(b"gws:{foo}:n")
    assert master_of(masters, b"foo") == ("asked", 2)
    with pytest.raises(ConnectionError):
        master_of({("asked", 2): [(0, 1)]}, b"foo")
