"""How-to pages: what their code promises beyond what run.py sees.

The Python of a page is executed here without its ports: `gws.testing` joins clients to
its routers.
"""

from __future__ import annotations

import ast
import logging
import re
import shutil
import signal
import ssl
import subprocess
from pathlib import Path
from typing import Any

import gevent
import pytest
from flask import g
from flask.testing import FlaskClient
from gevent import socket as gevent_socket

from gws import ConnectionClosed, InvalidStatus, connect, serve, unix_connect
from gws.exceptions import InvalidMessage
from gws.rooms.redis import Place
from gws.testing import connect_to, request, server_pair
from gws.testing.wsgi import WebSocketClient

from ..program import Program
from ..rooms.conftest import RedisServer
from ..wire import port_of, raw_client, until, uri
from .pages import CHECKOUT, blocks, blocks_of


pytestmark = [pytest.mark.once, pytest.mark.usefixtures("leakcheck")]

#: The seconds within which whatever a test waits for must have come.
LONG = 10


def run(*texts: str) -> dict[str, Any]:
    """Execute blocks in one namespace, and return it."""
    names: dict[str, Any] = {"__name__": "page"}
    for text in texts:
        exec(compile(text, "page", "exec", dont_inherit=True), names)
    return names


def python_of(page: str, holding: str) -> str:
    """Return the block of Python with this in it; run.py runs it as well."""
    (text,) = (
        block.text
        for block in blocks_of(page)
        if block.language == "python" and holding in block.text
    )
    return text


def refusal(*args: Any, **options: Any) -> Any:
    """Connect in vain and return the response."""
    with pytest.raises(InvalidStatus) as caught, connect_to(*args, **options):
        pass
    return caught.value.response


def closing(ws: Any) -> tuple[int, str]:
    """Wait for the end; return close code and reason."""
    with pytest.raises(ConnectionClosed):
        ws.recv(LONG)
    return ws.close_code, ws.close_reason


# Flask


class Client(WebSocketClient, FlaskClient):
    """Flask's test client, with `websocket`."""


class Database:
    """Stands for Flask-SQLAlchemy: a session holds a connection from its first query
    to the end of the application context, or to `remove`."""

    def __init__(self) -> None:
        self.session = self
        self.n_held = 0

    def get(self, model: Any, key: str) -> Any:
        if "held" not in g:
            g.held = True
            self.n_held += 1
        return model(key)

    def remove(self, error: BaseException | None = None) -> None:
        self.n_held -= g.pop("held", 0)


class Row:
    def __init__(self, key: str) -> None:
        self.name = f"row {key}"


@pytest.fixture
def flask_page(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the page's application."""
    monkeypatch.setenv("SECRET_KEY", "secret")
    names: dict[str, Any] = {"__name__": "__main__", "db": Database(), "Row": Row}
    app = python_of("docs/howto/flask.md", "# app.py")
    (team,) = blocks("docs/howto/flask.md", "python", "sock.response")
    (rows,) = blocks("docs/howto/flask.md", "python", "db.session")
    for text in (app, team, rows):
        exec(compile(text, "page", "exec", dont_inherit=True), names)
    names["app"].test_client_class = Client
    names["app"].teardown_appcontext(names["db"].remove)
    return names


def test_flask(flask_page: dict[str, Any]) -> None:
    app = flask_page["app"]
    client = app.test_client()
    assert "<form method" in client.get("/").text
    assert client.get("/chat/lobby").status_code == 426
    with pytest.raises(InvalidStatus, match="403"), client.websocket("/chat/lobby"):
        pass
    client.post("/login", data={"name": "Ada"})
    assert 'new WebSocket("ws://localhost/chat/lobby")' in client.get("/").text
    with client.websocket("/chat/lobby") as ws:
        ws.send("hello")
        assert ws.recv(LONG) == "Ada: hello"
        ws.send("x" * (2**14 + 1))
        assert closing(ws)[0] == 1009


def test_flask_refuses_in_a_view(flask_page: dict[str, Any]) -> None:
    client = flask_page["app"].test_client()
    with pytest.raises(InvalidStatus, match="404"), client.websocket("/team/green"):
        pass
    with client.websocket("/team/red") as ws:
        ws.send("hello")
        assert ws.recv(LONG) == "hello"


def test_flask_holds_no_connection_of_the_pool(flask_page: dict[str, Any]) -> None:
    app, db = flask_page["app"], flask_page["db"]

    @app.before_request
    def look_up() -> None:
        db.session.get(Row, "of who asks")

    with app.test_client().websocket("/rows") as ws:
        for key in ("1", "2"):
            ws.send(key)
            assert ws.recv(LONG) == f"row {key}"
            assert db.n_held == 0


# nginx


def test_who_trusts_nginx(unix_path: str) -> None:
    """The page's servers; tests/wsgi/test_nginx.py has its nginx."""
    (text,) = blocks("docs/howto/nginx.md", "python")
    assert text.count('"/run/chat/socket"') == text.count('"127.0.0.1", 8765') == 1
    text = text.replace('"/run/chat/socket"', repr(unix_path))
    tree = ast.parse(text.replace('"127.0.0.1", 8765', '"127.0.0.1", 0'))
    imports = [node for node in tree.body if not isinstance(node, ast.Expr)]
    names = run(ast.unparse(imports), "def handler(ws): ws.send(ws.remote_address[0])")
    made = [node.value for node in tree.body if isinstance(node, ast.Expr)]
    tcp, unix, app = (eval(ast.unparse(value), names) for value in made)
    headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7"}
    with tcp, connect(uri(tcp), additional_headers=headers) as ws:
        assert ws.recv(LONG) == "203.0.113.7"
    with unix, unix_connect(unix_path, additional_headers=headers) as ws:
        assert ws.recv(LONG) == "203.0.113.7"
    with WebSocketClient(app).websocket("/", headers=headers) as ws:
        assert ws.recv(LONG) == "203.0.113.7"


# Proxies that are set up wrongly

#: What a proxy may make of the request; the options of `serve`; and the answer, which
#: the pages of nginx, HAProxy and the metrics show.
WRONG = {
    "no Upgrade": (re.compile(b"(Upgrade|Connection): .*\r\n"), b"", {}, 426),
    "HTTP/1.0": (re.compile(b"HTTP/1.1"), b"HTTP/1.0", {}, 505),
    "PROXY": (re.compile(b"^"), b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", {}, 400),
    "PROXY v2": (re.compile(b"^"), b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\0", {}, 400),
    "no PROXY": (
        re.compile(b"^"),
        b"",
        {"proxy_protocol": True, "trusted_proxies": ["127.0.0.1"]},
        None,
    ),
    "by address": (re.compile(b"x^"), b"", {"allowed_hosts": ["example.com"]}, 400),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_goes_wrong_behind_proxies(what: str) -> None:
    pattern, instead, options, status = WRONG[what]
    with (
        serve(lambda ws: None, "127.0.0.1", 0, **options) as server,
        raw_client(server) as peer,
    ):
        peer.write(pattern.sub(instead, request()))
        try:
            answer = peer.sock.recv(100)
        except ConnectionResetError:
            answer = b""
    assert answer[:12] == (b"" if status is None else b"HTTP/1.1 %d" % status)


# Authentication

#: Where the page with these routes is served.
HOST = "chat.example.com"


@pytest.fixture
def known() -> dict[str, Any]:
    """The names of the page on authentication, up to where it serves."""
    texts = [
        block.text.partition("with serve(")[0]
        for block in blocks_of("docs/howto/authentication.md")
        if block.language == "python" and "connect(" not in block.text
    ]
    assert len(texts) == 4
    return run(*texts)


def test_a_cookie(known: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    router = known["router"]
    for cookie in ("", "session=other", 'a="', "a/b=1"):
        answer = refusal(router, "/chat", headers={"Cookie": cookie} if cookie else {})
        assert (answer.status_code, answer.body) == (403, b"Please log in.\n")
    good = {"Cookie": "a/b=1; session=d2hvZXZlcg"}
    with connect_to(router, "/chat", headers=good) as ws:
        ws.send("hello")
        assert ws.recv(LONG) == "ann: hello"
    caplog.set_level(logging.INFO, "gws.server")
    answer = refusal(router, "/chat", headers=good, origin="https://evil.example")
    assert answer.status_code == 403
    refused = caplog.messages[-1]
    assert refused.startswith("refused ") and "invalid Origin" in refused
    assert refused.endswith("(the option origins says who may connect)")


def test_the_first_message(known: dict[str, Any]) -> None:
    router = known["router"]
    with connect_to(router, "/feed", origin="https://example.com") as ws:
        ws.send("8f14e45f")
        assert ws.recv(LONG) == "hello, ann"
    with connect_to(router, "/feed") as ws:
        ws.send("another")
        assert closing(ws) == (1008, "no token")
    assert refusal(router, "/feed", origin="https://a.example").status_code == 403


def test_a_token_that_does_not_come() -> None:
    text = python_of("docs/howto/authentication.md", "def user_of")
    assert text.count("timeout=5") == 1
    impatient = text.replace("timeout=5", "timeout=0.05")
    names = run("from gws import Router\nrouter = Router()", impatient)
    with connect_to(names["router"], "/feed") as ws:
        assert closing(ws) == (1008, "no token")


def test_a_subprotocol(known: dict[str, Any]) -> None:
    router = known["router"]
    for offered in (["board.v1"], ["board.v1", "token.x"]):
        assert refusal(router, "/board", subprotocols=offered).status_code == 403
    offered = ["token.8f14e45f", "board.v1"]
    with connect_to(router, "/board", subprotocols=offered) as ws:
        assert (ws.subprotocol, ws.recv(LONG)) == ("board.v1", "hello, ann")


# Slow clients


def test_a_picture_is_left_out() -> None:
    text = python_of("docs/howto/slow-clients.md", "def send_frame")
    send_frame = run(text)["send_frame"]
    with server_pair() as (ws, peer):
        n = 0
        while ws.buffered_amount == 0:  # the kernel takes some
            n += 1
            send_frame(ws, b"%06d" % n + bytes(20_000))
            gevent.sleep(0)
        waiting = ws.buffered_amount
        send_frame(ws, b"left out")
        assert ws.buffered_amount == waiting
        for number in range(1, n + 1):
            assert peer.receive()[-1][:6] == b"%06d" % number
        ws.flush(LONG)
        send_frame(ws, b"next")
        assert peer.receive()[-1] == b"next"


def test_the_wait_is_bounded() -> None:
    text = python_of("docs/howto/slow-clients.md", "def send_or_close")
    assert text.count("Timeout(5,") == 1
    names = run("import gevent", text.replace("Timeout(5,", "Timeout(0.05,"))
    with server_pair(close_timeout=0.1) as (ws, peer):
        names["send_or_close"](ws, b"short")
        assert ws.open and peer.receive()[-1] == b"short"
        names["send_or_close"](ws, bytes(2**22))
        assert (ws.close_code, ws.close_reason) == (1006, "")


# TLS


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the page takes as given, in the working directory."""
    monkeypatch.chdir(tmp_path)
    given = CHECKOUT / "tests/docs/given/docs/howto/tls.py"
    run(given.read_text())
    return tmp_path


def test_client_certificates(certificates: Path) -> None:
    """Who has none, or one of another authority, does not get in."""
    text = python_of("docs/howto/tls.md", "class Known").partition("with serve(")[0]
    names = run(text)
    server = serve(
        names["greet"],
        "localhost",
        0,
        ssl=names["context"],
        create_connection=names["Known"],
    )
    ann, nobody, other = (ssl.create_default_context(cafile="ca.pem") for _ in "123")
    ann.load_cert_chain("ann.pem", "ann.key")
    other.load_cert_chain("server.pem", "server.key")
    with server:
        where = f"wss://localhost:{port_of(server)}/"
        with connect(where, ssl=ann) as ws:
            assert ws.recv(LONG) == "hello, ann@example.com"
        for context in (nobody, other):
            with pytest.raises((InvalidMessage, OSError)):
                connect(where, ssl=context).open()
        # TLS is not spoken at all.
        with pytest.raises((InvalidMessage, OSError)):
            connect(where.replace("wss", "ws")).open()


def test_a_program_renews_its_certificate(certificates: Path) -> None:
    text = python_of("docs/howto/tls.md", "# server.py")
    assert text.count('"localhost", 8766') == 1
    with gevent_socket.create_server(("127.0.0.1", 0)) as sock:
        fd, port = sock.fileno(), sock.getsockname()[1]
        made = f"sock=socket.socket(fileno={fd})"
        text = "import socket\n" + text.replace('"localhost", 8766', made)
        certificates.joinpath("server.py").write_text(text)
        program = Program("server.py", cwd=certificates, pass_fds=[fd])
    before = ssl.create_default_context(cafile="ca.pem")
    with program, connect(f"wss://localhost:{port}/", ssl=before) as ws:
        run(CHECKOUT.joinpath("tests/docs/given/docs/howto/tls.py").read_text())
        program.signal(signal.SIGHUP)
        after = ssl.create_default_context(cafile="ca.pem")

        def is_renewed() -> bool:
            try:
                connect(f"wss://localhost:{port}/", ssl=after).open().close()
            except ssl.SSLCertVerificationError:
                return False
            return True

        until(is_renewed)
        ws.send("still here")
        assert ws.recv(LONG) == "still here"
        program.signal(signal.SIGTERM)
        assert closing(ws)[0] == 1001
        assert program.end() == (0, "", "")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_certificate_for_a_try(tmp_path: Path) -> None:
    (command,) = blocks("docs/howto/tls.md", "sh")
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, stderr=-1)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    trusting = ssl.create_default_context(cafile=tmp_path / "server.pem")
    with (
        serve(lambda ws: ws.send("hello"), "localhost", 0, ssl=context) as server,
        connect(f"wss://localhost:{port_of(server)}/", ssl=trusting) as ws,
    ):
        assert ws.recv(LONG) == "hello"


# Redis


def test_the_urls_of_redis() -> None:
    """Each is one that redis-py and we take."""
    page = CHECKOUT.joinpath("docs/howto/redis.md").read_text()
    _, _, rest = page.partition("| URL | |")
    urls = re.findall(r"^\| `(.*?)` \|", rest.partition("\n\n")[0], re.M)
    assert len(urls) == 5
    for url in urls:
        short = re.sub(r"\[.*?\](?!:)", "", re.sub(r"\[\[.*?@\]", "", url))
        long = url.translate(str.maketrans("", "", "[]"))
        for text in (short, long):
            text = text.replace("PORT", "6379").replace("/DB", "/1")
            place = Place(text)
            assert place.is_cluster is ("+cluster" in url)
    secured = [url.replace("redis+", "rediss+") for url in urls if "+" in url]
    assert [Place(url.replace("PORT", "1").replace("[/DB]", "")) for url in secured]


def test_the_settings_of_redis(redis_server: RedisServer) -> None:
    (text,) = blocks("docs/howto/redis.md", "redis")
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        before = redis_server.ask("CONFIG", "GET", name)[1]
        assert redis_server.ask("CONFIG", "SET", name, value) == b"OK"
        redis_server.ask("CONFIG", "SET", name, before)
