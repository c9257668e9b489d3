"""python-engineio on gws: real clients of Socket.IO, and peers that misbehave."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import engineio as real_engineio
import gevent
import pytest
from engineio.async_drivers import gevent as gevent_driver
from gevent.event import Event
from gevent.pool import Pool

from gws.testing import TEXT, RawPeer, request
from gws.wsgi import accept, engineio
from gws.wsgi.middleware import WebSocketMiddleware

from ..conftest import Peer
from ..node_packages import install as install_packages
from ..program import Program
from ..wire import dial
from .stacks import LONG, Stack, gunicorn, load, pywsgi


pytestmark = pytest.mark.usefixtures("leakcheck")

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
BOTH = ["polling", "websocket"]

#: A ping often enough that none of python-engineio's greenlets outlives its test by
#: much: it sleeps until the next one is due, whatever happens.
PINGS = {"ping_interval": 0.2, "ping_timeout": LONG}


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    engineio.install()
    yield
    engineio.uninstall()


@contextmanager
def serving(**options: Any) -> Iterator[Stack]:
    """Run the application of socketio_app in this process; ``.app`` is it."""
    app = load("socketio_app:make")(**PINGS | options)
    with pywsgi("pywsgi", app) as stack:
        stack.app = app  # type: ignore[attr-defined]
        try:
            yield stack
        finally:
            app.socketio.server.shutdown()


@pytest.fixture
def server() -> Iterator[Stack]:
    with serving() as stack:
        yield stack


@pytest.fixture(scope="module")
def gunicorn_server() -> Iterator[Stack]:
    with gunicorn("gunicorn", "socketio_app:app", "gevent") as stack:
        yield stack


def url_of(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.address[1]}"


# Real clients


@pytest.fixture
def client(
    request: pytest.FixtureRequest,
    spawn_peer: Callable[..., Peer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], Peer]:
    """Start a client in a process of its own."""
    if request.param == "python":
        return lambda: spawn_peer(HERE / "socketio_peer.py")
    folder = install_packages(HERE / "node", tmp_path_factory, "node-socketio")
    return lambda: spawn_peer(HERE / "node_peer.py", str(folder))


CLIENTS = pytest.mark.parametrize("client", ["python", "node"], indirect=True)


def say(peer: Peer, *command: Any) -> Any:
    """Tell a client what to do, and return what it says next."""
    peer.tell(command)
    return peer.hear()


@CLIENTS
@pytest.mark.parametrize("transports", [["websocket"], BOTH], ids=len)
def test_clients(
    server: Stack, client: Callable[[], Peer], transports: list[str]
) -> None:
    converse(client(), server, transports)


@CLIENTS
def test_clients_on_gunicorn(
    gunicorn_server: Stack, client: Callable[[], Peer]
) -> None:
    converse(client(), gunicorn_server, BOTH)


def converse(peer: Peer, stack: Stack, transports: list[str]) -> None:
    """Connect, have messages echoed, and go."""
    assert say(peer, "connect", url_of(stack), transports) == ["connect", "websocket"]
    mark = stack.log.mark()
    for data in ["hello", "Grüß Gott, 世界", {"hex": "00ff"}, [1, {"hex": "01"}], None]:
        assert say(peer, "emit", "echo", data, 2) == ["event", "echo", data, 2]
    assert say(peer, "call", "join", "lobby") == ["answer", "lobby"]
    assert say(peer, "disconnect")[0] == "disconnect"
    # python-socketio does not always close its socket when we have closed ours.
    peer.end()
    assert "transport=websocket" in stack.log.wait(" 101 ", mark)
    assert "Traceback" not in stack.log.since(mark)


@CLIENTS
def test_the_server_disconnects(server: Stack, client: Callable[[], Peer]) -> None:
    peer = client()
    assert say(peer, "connect", url_of(server), BOTH) == ["connect", "websocket"]
    mark = server.log.mark()
    assert say(peer, "emit", "go")[0] == "disconnect"
    peer.end()
    server.log.wait(" 101 ", mark)
    assert server.app.ends.get(timeout=LONG) == "server disconnect"


def test_the_example(spawn_peer: Callable[..., Peer]) -> None:
    with Program(EXAMPLES / "wsgi_socketio.py", "0") as program:
        url = program.hear().split()[-1]
        ada, bob = (spawn_peer(HERE / "socketio_peer.py") for _ in range(2))
        for peer, name, there in [(ada, "Ada", ["Ada"]), (bob, "Bob", ["Ada", "Bob"])]:
            assert say(peer, "connect", url, ["websocket"])[0] == "connect"
            assert say(peer, "call", "join", name, "lobby") == ["answer", there]
        assert ada.hear() == ["event", "joined", "Bob"]
        ada.tell(["emit", "say", "Hello!"])
        for peer in (ada, bob):
            assert peer.hear() == ["event", "said", "Ada", "Hello!"]
        assert say(bob, "disconnect")[0] == "disconnect"
        assert ada.hear() == ["event", "left", "Bob"]
        bob.end()
        program.signal(signal.SIGTERM)
        assert ada.hear()[0] == "disconnect"
        ada.end()
        code, out, err = program.end()
    assert (code, out) == (0, "")
    assert [line for line in err.splitlines() if '" 101 ' not in line] == []


# Peers without a library


@contextmanager
def session(stack: Stack, path: str = "") -> Iterator[RawPeer]:
    """Connect by WebSocket, to Engine.IO and then to Socket.IO."""
    with stack.peer() as peer:
        open_session(peer, path)
        peer.send(TEXT, b"40")
        assert next_packet(peer).startswith("40{")
        yield peer


def open_session(peer: RawPeer, path: str = "") -> Any:
    peer.ask(request(f"/socket.io/?EIO=4&transport=websocket{path}"))
    packet = next_packet(peer)
    assert packet[0] == "0"
    return json.loads(packet[1:])


def next_packet(peer: RawPeer) -> str:
    """Return the next packet, but for pings, which are answered."""
    while True:
        opcode, payload = peer.receive()
        assert opcode == TEXT, payload
        if payload != b"2":
            return payload.decode()
        peer.send(TEXT, b"3")


def receive_close(peer: RawPeer) -> tuple[int, str]:
    """Return code and reason of the close frame, whatever comes before it."""
    while True:
        opcode, payload = peer.receive()
        if opcode == 8:
            return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def sessions(stack: Stack) -> Any:
    """Return the sessions that the server of Engine.IO knows."""
    return stack.app.socketio.server.eio.sockets


def test_a_room(server: Stack) -> None:
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(session(server)) for _ in range(4)]
        *insiders, outsider = peers
        for n, peer in enumerate(peers):
            room = "hall" if peer is outsider else "lobby"
            peer.send(TEXT, f'42{n}["join","{room}"]'.encode())
            assert next_packet(peer) == f'43{n}["{room}"]'
        outsider.send(TEXT, b'42["tell","lobby","hello"]')
        for peer in insiders:
            assert next_packet(peer) == '42["told","hello"]'
        outsider.send(TEXT, b'42["tell","hall","you"]')
        assert next_packet(outsider) == '42["told","you"]'


def test_emits_of_many_greenlets(server: Stack) -> None:
    with session(server) as peer:
        peer.send(TEXT, b'42["burst",20,50]')
        seen = [json.loads(next_packet(peer)[2:])[1] for _ in range(20 * 50)]
        assert sorted(seen) == [[task, n] for task in range(20) for n in range(50)]
        for task in range(20):
            assert [n for t, n in seen if t == task] == list(range(50))


def test_tcp_ends_as_soon_as_the_server_disconnects(server: Stack) -> None:
    with session(server) as peer:
        peer.send(TEXT, b'42["hang up"]')
        assert next_packet(peer) == "1"
        assert receive_close(peer) == (1000, "")
        peer.send_close(1000)
        assert peer.read_to_end() == b""
    assert server.app.ends.get(timeout=LONG) == "server disconnect"


@pytest.mark.parametrize("how", ["close", "eof", "reset"])
def test_the_peer_goes(server: Stack, how: str) -> None:
    with session(server) as peer:
        mark = server.log.mark()
        if how == "close":
            peer.send_close(1001)
            assert receive_close(peer) == (1001, "")
            assert peer.read_to_end() == b""
        elif how == "reset":
            peer.reset()
    assert server.app.ends.get(timeout=LONG) == "transport close"
    server.log.wait(" 101 ", mark)
    assert "Traceback" not in server.log.since(mark)
    assert sessions(server) == {}


def test_a_message_too_big() -> None:
    with serving(max_http_buffer_size=100) as stack, session(stack) as peer:
        peer.send(TEXT, b'42["echo","%b"]' % (b"x" * 87))
        assert len(next_packet(peer)) == 100
        peer.send(TEXT, b'42["echo","%b"]' % (b"x" * 88))
        code, reason = receive_close(peer)
        assert code == 1009, reason
        peer.send_close(1009)
        assert peer.read_to_end() == b""
        assert stack.app.ends.get(timeout=LONG) == "transport close"


def test_no_pong() -> None:
    with serving(ping_timeout=0.1) as stack, session(stack) as peer:
        assert peer.receive() == (TEXT, b"2")
        peer.send(TEXT, b'42["join","lobby"]')  # it lives, but gives no answer
        assert receive_close(peer) == (1000, "")
        assert stack.app.ends.get(timeout=LONG) == "ping timeout"


def test_silence_without_the_monitor() -> None:
    options = {"ping_timeout": 0.1, "monitor_clients": False}
    with serving(**options) as stack, session(stack) as peer:
        assert receive_close(peer) == (1011, "ping timeout")
        peer.send_close(1011)
        assert peer.read_to_end() == b""
        assert stack.app.ends.get(timeout=LONG)


def test_a_peer_that_never_reads() -> None:
    """It talks all the time, so only what it does not take gives it away."""
    with serving(ping_timeout=0.3, monitor_clients=False) as stack:
        peer = RawPeer(dial(stack.address[1], receive_buffer=4096))
        open_session(peer)
        peer.send(TEXT, b"40")
        next_packet(peer)
        talking = gevent.spawn(talk, peer, b'42["echo","%b"]' % (b"x" * 2**17))
        assert stack.app.ends.get(timeout=LONG)
        talking.kill()
        peer.end()
        stack.log.wait(" 101 ")


def talk(peer: RawPeer, payload: bytes) -> None:
    try:
        while True:
            peer.send(TEXT, payload)
            gevent.sleep(0.01)
    except OSError:
        return


def test_the_server_stops() -> None:
    app = load("socketio_app:make")(monitor_clients=False, **PINGS)
    with pywsgi("pywsgi", app, spawn=Pool()) as stack:
        peer = RawPeer(stack.dial())
        open_session(peer)
        peer.send(TEXT, b"40")
        next_packet(peer)
    assert app.ends.get(timeout=LONG) == "transport error"
    assert receive_close(peer) == (1001, "")
    peer.end()


def test_an_unknown_session_is_a_real_400(server: Stack) -> None:
    with server.peer() as peer:
        peer.write(request("/socket.io/?EIO=4&transport=websocket&sid=nobody"))
        assert peer.read_head().startswith("HTTP/1.1 400 ")


def test_who_may_not_connect_gets_an_answer(server: Stack) -> None:
    with server.peer() as peer:
        open_session(peer, "&refuse-me=")
        peer.send(TEXT, b"40")
        assert next_packet(peer).startswith("44")


@pytest.mark.parametrize("upgrades", [False, True])
def test_a_handshake_refused(server: Stack, upgrades: bool) -> None:
    """It leaves no session behind, unless that lives on by polling."""
    path = "/socket.io/?EIO=4&transport="
    sid = ""
    if upgrades:
        sid = json.loads(server.get(f"{path}polling")[1:])["sid"]
        path = f"{path}websocket&sid={sid}"
    else:
        path = f"{path}websocket"
    wrong = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 7\r\n"
    with server.peer() as peer:
        peer.write(request(path, wrong))
        answer = peer.read_to_end()
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert list(sessions(server)) == ([sid] if upgrades else [])


@pytest.mark.parametrize("packet", [b"x", b"", b"4", b"9", b"42[", b"2probe"])
def test_packets_that_are_none(
    server: Stack, packet: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Which of them engineio puts up with is its business; nothing is left open."""
    caplog.set_level(logging.INFO, "gws.server")
    with server.peer() as peer:
        open_session(peer)
        mark = server.log.mark()
        peer.send(TEXT, packet)
        peer.send_close(1000)
        receive_close(peer)
        assert peer.read_to_end() == b""
    server.log.wait(" 101 ", mark)
    assert "Traceback" not in server.log.since(mark)
    assert [r for r in caplog.records if r.name == "gws.server" and r.exc_info] == []
    assert sessions(server) == {}


def test_an_unreadable_packet(server: Stack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gws.server")
    with session(server) as peer:
        peer.send(TEXT, b"x")
        assert receive_close(peer) == (1002, "")
        peer.send_close(1002)
        assert peer.read_to_end() == b""
        assert server.app.ends.get(timeout=LONG) == "transport error"
    assert "no Engine.IO from " in caplog.text


@pytest.mark.parametrize("probe", [b"2wrong", b"x"])
def test_an_upgrade_that_is_none(server: Stack, probe: bytes) -> None:
    answer = server.get("/socket.io/?EIO=4&transport=polling")
    sid = json.loads(answer[1:])["sid"]
    with server.peer() as peer:
        peer.ask(request(f"/socket.io/?EIO=4&transport=websocket&sid={sid}"))
        peer.send(TEXT, probe)
        assert receive_close(peer)[0] in (1000, 1002)
        peer.send_close(1000)
        assert peer.read_to_end() == b""
    assert "Traceback" not in server.log.since(0)


# What is installed


def test_install_and_uninstall() -> None:
    engineio.uninstall()
    original = gevent_driver._async["websocket"]
    engineio.uninstall()
    assert gevent_driver._async["websocket"] is original
    before = real_engineio.Server(async_mode="gevent")
    engineio.install()
    engineio.install(compression=None)
    after = real_engineio.Server(async_mode="gevent")
    assert before._async["websocket"] is after._async["websocket"] is not original
    engineio.uninstall()
    assert before._async["websocket"] is original


def test_options() -> None:
    with pytest.raises(TypeError, match="not options of a connection: colour"):
        engineio.install(colour="red")
    load("socketio_app:make")  # which installs it, too, when it is imported
    engineio.install(max_size=60, extra_headers={"X-Colour": "red"})
    with serving() as stack, stack.peer() as peer:
        head = peer.ask(request("/socket.io/?EIO=4&transport=websocket"))
        assert "X-Colour: red" in head
        next_packet(peer)
        peer.send(TEXT, b"4" * 61)
        assert receive_close(peer)[0] == 1009


# A connection that somebody else has opened


@contextmanager
def opened_before(websocket: Callable[..., Any]) -> Iterator[tuple[Stack, RawPeer]]:
    """Serve Engine.IO behind who opens the connection for it."""
    server = real_engineio.Server(async_mode="gevent", monitor_clients=False, **PINGS)
    server.on("message", server.send)
    application = real_engineio.WSGIApp(server)

    def opening(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.websocket"] = websocket(environ, start_response)
        return application(environ, start_response)

    with pywsgi("pywsgi", opening) as stack, stack.peer() as peer:
        yield stack, peer


class Lazy:
    """A connection that is opened when it is used."""

    def __init__(self, *request: Any) -> None:
        self.accept = lambda: accept(*request)


@pytest.mark.parametrize("websocket", [accept, Lazy])
def test_a_connection_of_gws(websocket: Callable[..., Any]) -> None:
    with opened_before(websocket) as (_, peer):
        peer.ask(request("/engine.io/?EIO=4&transport=websocket"))
        assert next_packet(peer)[0] == "0"
        peer.send(TEXT, b"4hello")
        assert next_packet(peer) == "4hello"
        peer.send_close(1000)
        assert receive_close(peer) == (1000, "")


def test_behind_the_middleware() -> None:
    """The connection is opened by engineio still, or not at all."""
    app = load("socketio_app:make")(monitor_clients=False, **PINGS)
    app.wsgi_app = WebSocketMiddleware(app.wsgi_app)
    with pywsgi("pywsgi", app) as stack:
        with session(stack) as peer:
            peer.send(TEXT, b'42["echo","hello"]')
            assert next_packet(peer) == '42["echo","hello"]'
            peer.send_close(1000)
            assert receive_close(peer) == (1000, "")
        with stack.peer() as peer:
            peer.write(request("/socket.io/?EIO=4&transport=websocket&sid=nobody"))
            assert peer.read_head().startswith("HTTP/1.1 400 ")


def test_a_connection_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    with opened_before(lambda environ, start_response: Event()) as (_, peer):
        peer.write(request("/engine.io/?EIO=4&transport=websocket"))
        assert peer.read_head().startswith("HTTP/1.1 500 ")
    assert (
        "RuntimeError: environ['wsgi.websocket'] is a gevent."
        in capsys.readouterr().err
    )
