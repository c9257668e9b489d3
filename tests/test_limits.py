"""What a server on the internet bounds: how many, how fast, how slow, how long.

Time is moved by hand where a connection's own clock decides.
"""

from __future__ import annotations

import logging
import resource
import socket as original_socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest

import gws
from gws import ConnectionClosedError, HeaderLimits, InvalidStatus, connect, serve
from gws.hubs import share_of
from gws.limits import MIN_RATE, Bucket, Meter
from gws.options import Options
from gws.protocol.frames import make_frame
from gws.server.admission import Addresses, Admission, descriptors_allow, key_of
from gws.server.forwarded import TrustedProxies
from gws.testing import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    FakeClock,
    RawPeer,
    request,
    settle,
)

from .wire import (
    LOCAL_PAIRS,
    LONG,
    dial,
    echo,
    frame,
    header,
    port_of,
    raw_client,
    server_pair,
    uri,
)


pytestmark = pytest.mark.usefixtures("leakcheck")

MIB = 2**20
SMALL = 2**14


@pytest.fixture(params=LOCAL_PAIRS)
def open_pair(request: pytest.FixtureRequest) -> Any:
    return LOCAL_PAIRS[request.param]


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock


def options(**changes: Any) -> Options:
    return Options(logger=logging.getLogger("gws"), **changes)


# The parts


def test_a_bucket() -> None:
    bucket = Bucket(10, 5, 100.0)
    assert bucket.take(3, 100.0) == 3
    assert bucket.take(3, 100.0) == 2
    assert bucket.take(1, 100.05) == 0
    assert bucket.take(1, 100.1) == 1
    # It does not fill above its burst.
    assert bucket.take(100, 200.0) == 5
    assert bucket.take(1, 200.0) == 0
    # What it had room for while it was full counts as gone.
    assert bucket.take(0, 300.0) == 0
    assert bucket.take(100, 300.0) == 5


def test_a_meter_counts_both_directions() -> None:
    meter = Meter(options(), 6, 0.0)
    events = ["text", make_frame(0x89, b"ping"), make_frame(0x02, b"a"), b"binary"]
    assert meter.take_events(events, 1.0) == 4
    assert meter.take_events([make_frame(0x80, b"z"), object()], 1.0) == 2
    assert meter.take_bytes(100, 1.0) == 100
    meter.sent(False, 2.0)
    meter.sent(True, 2.0)
    assert (meter.frames_in, meter.messages_in, meter.bytes_in) == (5, 3, 100)
    assert (meter.frames_out, meter.messages_out, meter.bytes_out) == (2, 1, 0)
    assert meter.next_due() == 0.0
    assert meter.overdue(1e9, False) == ""


def test_what_keys_tell_apart() -> None:
    assert key_of(("192.0.2.1", 1)) == key_of(("192.0.2.1", 2))
    assert key_of(("192.0.2.1", 1)) == key_of(("::ffff:192.0.2.1", 1, 0, 0))
    assert key_of(("192.0.2.1", 1)) != key_of(("192.0.2.2", 1))
    assert key_of(("2001:db8::1", 1, 0, 0)) == key_of(("2001:db8::2:3:4:5", 2, 0, 0))
    assert key_of(("2001:db8::1", 1)) != key_of(("2001:db8:0:1::1", 1))
    assert key_of(("fe80::1%lo", 1, 0, 1)) == key_of(("fe80::2", 1))
    # No IPv6 network is an IPv4 address.
    assert key_of(("::102:304:0:0:0:0", 1)) != key_of(("1.2.3.4", 1))
    for other in ("", "/tmp/socket", b"", ("", 0), ("unknown", 0)):
        assert key_of(other) is None


def test_addresses() -> None:
    addresses = Addresses(2)
    one, other = ("192.0.2.1", 1), ("192.0.2.2", 1)
    assert addresses.enter("a", one, None)
    assert addresses.enter("a", one, None)  # once
    assert addresses.enter("b", one, None)
    assert not addresses.enter("c", one, None)
    assert addresses.enter("c", other, None)
    # Whose address is known better later counts there.
    addresses.move("b", "d")
    assert addresses.enter("d", other, None)
    assert addresses.enter("e", one, None)
    assert not addresses.enter("f", other, None)
    for owner in "abcdefx":
        addresses.leave(owner)
    addresses.move("x", "y")
    assert addresses.enter("f", other, None)
    # Neither proxies nor Unix sockets count.
    proxies = TrustedProxies(["192.0.2.1"])
    for i in range(10):
        assert addresses.enter(i, one, proxies)
        assert addresses.enter(-i, "", None)
    assert all(Addresses(None).enter(i, one, None) for i in range(10))


@pytest.mark.parametrize(
    "name", ["max_connections", "max_handshakes", "max_per_address"]
)
def test_nobody_admitted_is_refused_at_once(name: str) -> None:
    for value in (0, -1):
        with pytest.raises(ValueError, match=name):
            serve(echo, "127.0.0.1", 0, **{name: value})


@pytest.mark.once
def test_what_descriptors_allow() -> None:
    # In another process: a limit that was lowered stays so.
    program = """
import resource
from gws.server.admission import Admission, descriptors_allow
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
for soft in (1024, 256, 60):
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    n = descriptors_allow()
    admission = Admission()
    print(n, admission.has_room(n - 1), admission.has_room(n),
          admission.is_crowded(n - 1), admission.is_crowded(n))
"""
    root = Path(gws.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    expected = [f"{n} True False False True" for n in (960, 192, 1)]
    assert run.stdout.splitlines() == expected


def test_without_a_limit_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda which: unlimited)
    assert descriptors_allow() is None
    assert Admission().has_room(10**9)
    assert not Admission().is_crowded(10**9)
    monkeypatch.setattr("gws.server.admission.resource", None)  # as on Windows
    assert descriptors_allow() is None


# How long a head may be


def test_header_limits() -> None:
    limits = HeaderLimits(line=300, headers=12, total=1000)
    ask = request()
    with serve(echo, "127.0.0.1", 0, header_limits=limits) as server:
        for extra, status in [
            ("", 101),
            ("A: " + "x" * 295 + "\r\n", 101),
            ("A: " + "x" * 296 + "\r\n", 431),
            ("A: b\r\n" * 20, 431),
            (("A: " + "x" * 290 + "\r\n") * 4, 431),
        ]:
            assert status_of(server, with_header(ask, extra)) == status
        assert status_of(server, request("/" + "x" * 300)) == 414


def test_greater_header_limits() -> None:
    seen = []

    def handler(ws: Any) -> None:
        seen.append(len(ws.request_headers["A"]))
        seen.append(len(ws.request.headers.get_all("B")))

    limits = HeaderLimits(line=2**16, headers=500, total=2**18)
    with serve(handler, "127.0.0.1", 0, header_limits=limits) as server:
        extra = "A: " + "x" * 60_000 + "\r\n" + "B: c\r\n" * 400
        with raw_client(server) as peer:
            peer.ask(with_header(request(), extra))
            assert peer.receive_close()[0] == 1000
    assert seen == [60_000, 400]


def status_of(server: Any, ask: bytes) -> int:
    with raw_client(server) as peer:
        peer.write(ask)
        return int(peer.read_head().split()[1])


def with_header(ask: bytes, extra: str) -> bytes:
    return ask[:-2] + extra.encode() + b"\r\n"


def test_bad_header_limits() -> None:
    with pytest.raises(ValueError, match="header_limits"):
        serve(echo, "127.0.0.1", 0, header_limits=HeaderLimits(line=0))
    for wrong in (8192, (1, 2, 3), HeaderLimits(line="1")):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="header_limits"):
            serve(echo, "127.0.0.1", 0, header_limits=wrong)  # type: ignore[arg-type]


# How many


def test_half_open_connections() -> None:
    with serve(echo, "127.0.0.1", 0, max_handshakes=2) as server, ExitStack() as stack:
        silent = [stack.enter_context(raw_client(server)) for _ in range(2)]
        settle()
        for _ in range(20):
            with raw_client(server) as peer:
                assert_turned_away(peer, 503)
        # One of them opens: there is room for another handshake.
        assert " 101 " in silent[0].ask(request())
        with connect(uri(server)) as ws:
            ws.send("x")
            assert ws.recv() == "x"


def assert_turned_away(peer: Any, status: int) -> None:
    octets = peer.read_to_end().decode()
    head, _, body = octets.partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert header(head, "Retry-After") == "5"
    assert header(head, "Connection") == "close"
    assert header(head, "Content-Length") == str(len(body))
    assert body


def test_half_open_connections_with_tls(tls_files: Path, server_context: Any) -> None:
    options = {"max_handshakes": 1, "ssl": server_context}
    with serve(echo, "127.0.0.1", 0, **options) as server:
        silent = dial(port_of(server))
        settle()
        late = dial(port_of(server))
        try:
            with gevent.Timeout(LONG):
                assert late.recv(100) == b""
        finally:
            late.close()
            silent.close()


def test_who_is_turned_away_may_have_asked() -> None:
    # Octets that nobody reads must not make of the answer a reset.
    with (
        serve(echo, "127.0.0.1", 0, max_handshakes=1) as server,
        raw_client(server),
    ):
        settle()
        for _ in range(5):
            with pytest.raises(InvalidStatus) as caught:
                connect(uri(server)).open()
            assert caught.value.response.status_code == 503


def test_no_more_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    # Open and half open ones together.
    few = (66, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    with monkeypatch.context() as patch:
        patch.setattr(resource, "getrlimit", lambda which: few)
        server = serve(echo, "127.0.0.1", 0)
    with server, raw_client(server) as one, raw_client(server) as two:
        one.ask(request())
        settle()
        with raw_client(server) as peer:
            assert_turned_away(peer, 503)
        assert " 101 " in two.ask(request())


def test_handshakes_at_the_same_moment() -> None:
    n = 20
    with serve(echo, "127.0.0.1", 0, max_connections=3) as server, ExitStack() as stack:
        peers = [stack.enter_context(raw_client(server)) for _ in range(n)]
        for peer in peers:
            peer.write(request())
        statuses = [int(peer.read_head().split()[1]) for peer in peers]
        assert sorted(statuses) == [101] * 3 + [503] * (n - 3)


def test_per_address() -> None:
    with serve(echo, "127.0.0.1", 0, max_per_address=2) as server:
        with raw_client(server) as one, raw_client(server):
            one.ask(request())
            settle()
            with raw_client(server) as peer:  # half open ones count
                assert_turned_away(peer, 429)
            sock = original_socket.create_connection(
                ("127.0.0.1", port_of(server)), source_address=("127.0.0.2", 0)
            )
            other = RawPeer(gevent.socket.socket(fileno=sock.detach()))
            assert " 101 " in other.ask(request())
            other.end()
        settle()
        with raw_client(server) as peer:
            assert " 101 " in peer.ask(request())


def test_per_address_with_tls(server_context: Any, client_context: Any) -> None:
    options = {"max_per_address": 1, "ssl": server_context}
    with serve(echo, "localhost", 0, **options) as server:
        uri = f"wss://localhost:{port_of(server)}"
        for _ in range(2):
            with connect(uri, ssl=client_context), pytest.raises(OSError):
                connect(uri, ssl=client_context).open()
            settle()


def test_per_address_behind_a_proxy() -> None:
    options: Any = {"max_per_address": 2, "trusted_proxies": ["127.0.0.1"]}
    with serve(echo, "127.0.0.1", 0, **options) as server, ExitStack() as stack:

        def status(client: str) -> str:
            peer = stack.enter_context(raw_client(server))
            extra = f"X-Forwarded-For: {client}\r\n" if client else ""
            peer.write(with_header(request(), extra))
            return peer.read_head().split()[1]

        assert [status("192.0.2.1") for _ in range(3)] == ["101", "101", "429"]
        assert [status("2001:db8::1"), status("2001:db8::ffff")] == ["101", "101"]
        assert status("2001:db8::2") == "429"
        assert status("192.0.2.2") == "101"
        # The proxy itself is nobody's address.
        assert [status("") for _ in range(3)] == ["101"] * 3


def test_who_is_refused_counts_no_longer() -> None:
    with serve(echo, "127.0.0.1", 0, max_per_address=1) as server:
        for _ in range(3):
            foreign = with_header(request(), "Origin: http://other.example\r\n")
            assert status_of(server, foreign) == 403
            settle()
        with raw_client(server) as peer:
            assert " 101 " in peer.ask(request())


# How fast


def test_message_rate(open_pair: Any, clock: FakeClock) -> None:
    with open_pair(message_rate=(10, 5), max_queue=None) as pair:
        for _ in range(4):
            for _ in range(5):
                pair.peer.send(TEXT, b"x")
            clock.advance(0.5)
        pair.peer.write(pair.peer.frame(TEXT, b"y") * 1000)
        settle()
        # What came before it is delivered, then the close.
        assert [pair.ws.recv() for _ in range(25)] == ["x"] * 20 + ["y"] * 5
        with pytest.raises(ConnectionClosedError) as caught:
            pair.ws.recv()
        assert str(caught.value).startswith("sent 1008 (policy violation) rate limit")
        assert pair.peer.receive_close() == (1008, "rate limit")


@pytest.mark.parametrize("opcode", [PING, PONG, CONT])
def test_all_frames_count(open_pair: Any, clock: FakeClock, opcode: int) -> None:
    with open_pair(message_rate=(10, 5)) as pair:
        frame = pair.peer.frame(opcode, first=0 if opcode == CONT else 0x80)
        pair.peer.write(pair.peer.frame(BINARY, first=0) + frame * 4)
        settle()
        assert pair.ws.open
        pair.peer.write(frame)
        assert seen_close(pair.peer) == (1008, b"rate limit")


def test_frames_that_come_with_the_handshake(clock: FakeClock) -> None:
    with server_pair(frame(TEXT, b"x") * 100, message_rate=(10, 5)) as pair:
        assert [pair.ws.recv() for _ in range(5)] == ["x"] * 5
        with pytest.raises(ConnectionClosedError):
            pair.ws.recv()
        assert pair.peer.receive_close() == (1008, "rate limit")


def test_a_close_frame_behind_the_limit_is_not_taken(clock: FakeClock) -> None:
    with server_pair(message_rate=(10, 5), max_queue=None) as pair:
        octets = pair.peer.frame(TEXT, b"x") * 6
        pair.peer.write(octets + pair.peer.frame(CLOSE, b"\x03\xe8"))
        assert [pair.ws.recv() for _ in range(5)] == ["x"] * 5
        with pytest.raises(ConnectionClosedError):
            pair.ws.recv()
        assert pair.peer.receive_close() == (1008, "rate limit")


def test_byte_rate(open_pair: Any, clock: FakeClock) -> None:
    with open_pair(byte_rate=(1000, 3000), max_queue=None) as pair:
        for _ in range(3):
            pair.peer.send(BINARY, bytes(2000))
            clock.advance(2.1)
        message = pair.peer.frame(BINARY, bytes(900))
        pair.peer.write(message * 4)
        assert [len(pair.ws.recv()) for _ in range(6)] == [2000] * 3 + [900] * 3
        with pytest.raises(ConnectionClosedError):
            pair.ws.recv()
        assert pair.peer.receive_close() == (1008, "rate limit")


def test_the_largest_message_passes_at_once(open_pair: Any, clock: FakeClock) -> None:
    with open_pair(byte_rate=10, max_size=100_000) as pair:
        pair.peer.send(BINARY, bytes(100_000))
        assert len(pair.ws.recv()) == 100_000
        assert pair.ws.open


def test_a_peer_that_goes_on_after_the_close(clock: FakeClock) -> None:
    with server_pair(message_rate=(10, 5), byte_rate=(1000, 1000)) as pair:
        pair.ws.begin_close(4000, "enough")
        pair.peer.write(pair.peer.frame(TEXT, b"x") * 20)
        pair.peer.send_close(4000)
        assert pair.peer.receive_close() == (4000, "enough")


def test_a_route_may_have_rates() -> None:
    router = gws.Router()
    router.route("/slow", message_rate=(1, 1), max_fragments=1)(echo)
    router.route("/", name="fast")(echo)
    with serve(router, "127.0.0.1", 0) as server:
        for path, n in [("/", 50), ("/slow", 1)]:
            with raw_client(server) as peer:
                peer.ask(request(path))
                peer.write(peer.frame(TEXT, b"x") * 50)
                for _ in range(n):
                    assert peer.receive() == (TEXT, b"x")
                peer.send_close(1000)
                assert peer.receive_close()[0] == (1000 if n == 50 else 1008)


def test_max_fragments(open_pair: Any) -> None:
    with open_pair(max_fragments=3) as pair:
        for _ in range(2):
            pair.peer.send(TEXT, b"1", first=0)
            pair.peer.send(CONT, b"2", first=0)
            pair.peer.send(CONT, b"3")
            assert pair.ws.recv() == "123"
        pair.peer.write(pair.peer.frame(BINARY, first=0))
        pair.peer.write(pair.peer.frame(CONT, first=0) * 3)
        assert pair.peer.receive_close()[0] == 1009


# How slow


PAUSES = {"with pings": {"ping_timeout": None}, "without": {"ping_interval": None}}


@pytest.fixture(params=PAUSES)
def pings(request: pytest.FixtureRequest) -> Any:
    return PAUSES[request.param]


def seen_close(peer: Any) -> tuple[int, bytes]:
    """Return the close frame; what stands before it are pings and pongs."""
    while (found := peer.receive())[0] in (PING, PONG):
        pass
    opcode, payload = found
    assert opcode == CLOSE
    return int.from_bytes(payload[:2], "big"), payload[2:]


@pytest.mark.parametrize("kind", ["frame", "header", "fragments"])
def test_a_message_that_does_not_go_on(
    open_pair: Any, clock: FakeClock, pings: Any, kind: str
) -> None:
    with open_pair(stall_timeout=60, close_timeout=5, **pings) as pair:
        if kind == "fragments":
            pair.peer.send(BINARY, b"some", first=0)
        else:
            octets = pair.peer.frame(BINARY, bytes(1000))
            pair.peer.write(octets[: 100 if kind == "frame" else 3])
        receiver = gevent.spawn(pair.ws.recv)
        clock.advance(119)
        assert pair.ws.open
        clock.advance(2)
        with pytest.raises(ConnectionClosedError, match=r"1008 .* stalled"):
            receiver.get(block=False)
        assert seen_close(pair.peer) == (1008, b"stalled")


@pytest.mark.parametrize("what", ["fragments", "octets", "pings"])
def test_a_message_that_goes_on_too_slowly(
    open_pair: Any, clock: FakeClock, what: str
) -> None:
    with open_pair(stall_timeout=60, ping_interval=None) as pair:
        octets = {
            "fragments": pair.peer.frame(CONT, first=0) * 5,
            "octets": bytes(MIN_RATE // 2),
            "pings": pair.peer.frame(PING, bytes(120)) * 10,
        }[what]
        if what == "octets":
            pair.peer.write(pair.peer.frame(BINARY, bytes(2**17))[:100])
        else:
            pair.peer.send(BINARY, b"some", first=0)
        for _ in range(121):
            assert pair.ws.open
            pair.peer.write(octets)
            clock.advance(1)
            if not pair.ws.open:
                break
        assert seen_close(pair.peer) == (1008, b"stalled")


def test_a_message_that_goes_on(open_pair: Any, clock: FakeClock) -> None:
    with open_pair(stall_timeout=60, ping_interval=None) as pair:
        octets = pair.peer.frame(BINARY, bytes(600 * MIN_RATE * 2))
        step = MIN_RATE * 20
        for i in range(0, len(octets), step):
            pair.peer.write(octets[i : i + step])
            clock.advance(10)
        assert len(pair.ws.recv()) == 600 * MIN_RATE * 2


def test_many_messages_are_no_stall(open_pair: Any, clock: FakeClock) -> None:
    # One is half way whenever somebody looks; but it is never the same.
    with open_pair(stall_timeout=60, ping_interval=None) as pair:
        pair.peer.send(TEXT, b"a", first=0)
        for _ in range(10):
            clock.advance(59)
            pair.peer.write(pair.peer.frame(CONT, b"b"))
            pair.peer.send(TEXT, b"a", first=0)
            assert pair.ws.recv() == "ab"
        clock.advance(121)
        assert not pair.ws.open


def test_nobody_receives_and_that_is_not_the_peers_fault(
    open_pair: Any, clock: FakeClock
) -> None:
    with open_pair(stall_timeout=60, ping_interval=None, max_queue=2) as pair:
        message = pair.peer.frame(BINARY, bytes(1000))
        pair.peer.write(message * 3 + message[:500])
        clock.advance(1000)
        assert pair.ws.open
        # Reading goes on, a moment before somebody looks.
        clock.advance(59)
        assert [len(pair.ws.recv()) for _ in range(3)] == [1000] * 3
        clock.advance(59)
        pair.peer.write(message[500:])
        assert len(pair.ws.recv()) == 1000
        assert pair.ws.open


def test_a_pause_is_forgiven(open_pair: Any, clock: FakeClock) -> None:
    options = {"stall_timeout": 60, "ping_interval": None, "max_queue": 2}
    with open_pair(**options) as pair:
        message = pair.peer.frame(BINARY, bytes(1000))
        pair.peer.write(message[:500])
        clock.advance(70)  # it is half way: it is measured
        pair.peer.write(message[500:] + message * 3 + message[:500])
        clock.advance(55)
        assert [len(pair.ws.recv()) for _ in range(4)] == [1000] * 4
        clock.advance(50)
        assert pair.ws.open
        clock.advance(120)
        assert not pair.ws.open


def test_a_peer_that_does_not_read(
    open_pair: Any, clock: FakeClock, pings: Any
) -> None:
    options = {"stall_timeout": 60, "close_timeout": 5, **pings}
    with open_pair(receive_buffer=SMALL, **options) as pair:
        sender = gevent.spawn(pair.ws.send, bytes(8 * MIB))
        clock.advance(119)
        assert not sender.ready()
        clock.advance(2)
        with pytest.raises(ConnectionClosedError, match=r"1008 .* stalled"):
            sender.get(block=False)
        clock.advance(5)
        assert pair.ws.closed


def test_a_peer_that_reads_too_slowly(open_pair: Any, clock: FakeClock) -> None:
    options = {"stall_timeout": 60, "ping_interval": None, "write_limit": None}
    with open_pair(receive_buffer=SMALL, **options) as pair:
        pair.ws.send(bytes(8 * MIB))
        for _ in range(12):
            assert pair.ws.open
            clock.advance(10.2)
            pair.peer.read(10)
        assert not pair.ws.open


def test_a_peer_that_reads_slowly(open_pair: Any, clock: FakeClock) -> None:
    options = {"stall_timeout": 60, "ping_interval": None, "write_limit": None}
    with open_pair(receive_buffer=SMALL, **options) as pair:
        pair.ws.send(bytes(4 * MIB))
        for _ in range(60):
            clock.advance(10)
            pair.peer.read(2**16)
            assert pair.ws.open


def test_idle_connections_do_not_stall(open_pair: Any, clock: FakeClock) -> None:
    with open_pair(stall_timeout=60, ping_interval=None) as pair:
        for _ in range(3):
            clock.advance(500)
            pair.peer.send(TEXT, b"x")
            assert pair.ws.recv() == "x"
            pair.ws.send("y")
            assert pair.peer.receive() == (TEXT, b"y")


def test_stalls_that_nobody_minds(open_pair: Any, clock: FakeClock) -> None:
    with open_pair(stall_timeout=None, ping_interval=None) as pair:
        pair.peer.send(BINARY, b"some", first=0)
        clock.advance(10_000)
        assert pair.ws.open


def test_more_than_the_budget_has_room_for(clock: FakeClock) -> None:
    # Both sides send and neither receives: reading goes on, at the budget's cost.
    options = {"max_size": 10_000, "max_queue": 2, "ping_interval": None}
    with server_pair(receive_buffer=SMALL, stall_timeout=60, **options) as pair:
        budget = share_of(gevent.get_hub()).budget
        before = budget.left
        sender = gevent.spawn(pair.ws.send, bytes(8 * MIB))
        settle()
        pair.peer.write(pair.peer.frame(BINARY, bytes(900)) * 20)
        settle()
        assert budget.left < before
        taken, budget.left = budget.left, 0
        pair.peer.write(pair.peer.frame(BINARY, bytes(900)) * 200)
        settle()
        assert budget.left == 0
        # Others give back: whoever waits goes on by the next look.
        budget.left = taken
        clock.advance(60)
        assert budget.left < taken
        sender.kill()
    for _ in range(220):
        assert len(pair.ws.recv()) == 900
    assert budget.left == before


# How long


def test_idle_timeout(clock: FakeClock) -> None:
    with server_pair(idle_timeout=100, ping_timeout=None) as pair:
        for _ in range(3):
            clock.advance(99)
            pair.peer.send(TEXT, b"x")
            assert pair.ws.recv() == "x"
            clock.advance(99)
            pair.ws.send("y")
            settle()
        # Pings and pongs are no messages.
        clock.advance(50)
        pair.peer.send(PING)
        pair.peer.send(PONG)
        clock.advance(49)
        assert pair.ws.open
        clock.advance(1)
        while (found := pair.peer.receive())[0] == TEXT or found[0] in (PING, PONG):
            pass
        assert found == (CLOSE, b"\x03\xe9idle")


def test_who_broadcasts_is_not_idle(clock: FakeClock) -> None:
    with server_pair(idle_timeout=100, ping_interval=None) as pair:
        for _ in range(3):
            clock.advance(99)
            gws.broadcast([pair.ws], "x")
        assert pair.ws.open
        clock.advance(100)
        assert not pair.ws.open


def test_a_message_on_its_way_is_not_idle(clock: FakeClock) -> None:
    with server_pair(idle_timeout=100, stall_timeout=None, ping_interval=None) as pair:
        octets = pair.peer.frame(BINARY, bytes(1000))
        for i in range(0, 1000, 250):
            pair.peer.write(octets[i : i + 250])
            clock.advance(60)
        pair.peer.write(octets[1000:])
        assert len(pair.ws.recv()) == 1000
        assert pair.ws.open


def test_max_lifetime(clock: FakeClock) -> None:
    with server_pair(max_lifetime=1000, ping_interval=None) as pair:
        clock.advance(899)
        pair.ws.send("x")
        assert pair.ws.open
        clock.advance(101)
        assert not pair.ws.open
        assert pair.peer.receive() == (TEXT, b"x")
        assert pair.peer.receive_close() == (1001, "lifetime")


def test_lifetimes_differ() -> None:
    ends = {Meter(options(max_lifetime=100), 6, 50.0).next_due() for _ in range(50)}
    assert len(ends) > 10
    assert all(140 <= end <= 150 for end in ends)


def test_idle_and_lifetime_together(clock: FakeClock) -> None:
    options = {"max_lifetime": 1000, "idle_timeout": 300, "stall_timeout": None}
    with server_pair(**options, ping_interval=None) as pair:
        clock.advance(299)
        pair.ws.send("x")
        clock.advance(299)
        assert pair.ws.open
        clock.advance(1)
        assert pair.peer.receive() == (TEXT, b"x")
        assert pair.peer.receive_close() == (1001, "idle")
