"""`connect(auth=...)`: say who we are, at once or when the server asks."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest
from gevent import socket

from gws import DigestAuth, InvalidStatus, basic_auth, connect, serve

from ..wire import (
    RawPeer,
    header,
    headers,
    port_of,
    raw_server,
    switching_protocols,
)


pytestmark = pytest.mark.usefixtures("leakcheck")

DIGEST = 'Digest realm="r", nonce="{}", qop="auth", algorithm=SHA-256{}'
BASIC = 'Basic realm="r"'


def asking(*challenges: str) -> bytes:
    lines = "".join(f"WWW-Authenticate: {each}\r\n" for each in challenges)
    return f"HTTP/1.1 401 X\r\n{lines}Content-Length: 0\r\n\r\n".encode()


def redirecting(location: str) -> bytes:
    return (
        f"HTTP/1.1 307 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


class Script:
    """Answers the n-th request with the n-th answer, and the last with 101."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.heads: list[str] = []

    def __call__(self, peer: RawPeer) -> None:
        head = peer.read_head()
        self.heads.append(head)
        if self._answers:
            peer.write(self._answers.pop(0))
            return
        peer.write(switching_protocols(header(head, "Sec-WebSocket-Key")))
        peer.receive_close()
        peer.send_close(1000)

    @property
    def answers(self) -> list[str]:
        """What was said of who the client is, "-" for nothing."""
        found = [headers(head, "Authorization") for head in self.heads]
        return ["".join(values) or "-" for values in found]


def assert_digest(head: str, nonce: str) -> None:
    """The request proves, with a nonce, that the client knows the password."""
    value = header(head, "Authorization")
    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', value.removeprefix("Digest ")))
    target = head.split()[1]
    assert (fields["nonce"], fields["uri"]) == (nonce, target)

    def h(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    middle = f"{nonce}:{fields['nc']}:{fields['cnonce']}:auth"
    expected = h(f"{h('ann:r:secret')}:{middle}:{h(f'GET:{target}')}")
    assert fields["response"] == expected


def visit(uri: str, **options: Any) -> None:
    with connect(uri, **options) as ws:
        assert ws.open


def test_basic_is_sent_at_once() -> None:
    script = Script()
    with raw_server(script) as server:
        # In the place of what the URI says.
        visit(server.uri.replace("//", "//bob:x@"), auth=("ann", "sécret"))
    expected = "Basic " + base64.b64encode("ann:sécret".encode()).decode()
    assert script.answers == [expected]


def test_basic_with_a_server_of_ours() -> None:
    names = []
    with serve(
        lambda ws: names.append(ws.username),
        "127.0.0.1",
        0,
        process_request=basic_auth("r", ("ann", "secret")),
    ) as server:
        uri = f"ws://127.0.0.1:{port_of(server)}/"
        visit(uri, auth=("ann", "secret"))
        with pytest.raises(InvalidStatus, match="401"):
            connect(uri, auth=("ann", "wrong")).open()
        with pytest.raises(InvalidStatus, match="401"):
            connect(uri, auth=DigestAuth("ann", "secret")).open()
    assert names == ["ann"]


def test_digest() -> None:
    script = Script(asking(BASIC, DIGEST.format("n", "")))
    with raw_server(script) as server:
        uri = server.uri.replace("//", "//bob:x@") + "a?b"
        visit(uri, auth=DigestAuth("ann", "secret"))
    assert script.answers[0] == "-"
    assert_digest(script.heads[1], "n")
    keys = {header(head, "Sec-WebSocket-Key") for head in script.heads}
    assert len(keys) == 2


def test_nobody_asks() -> None:
    script = Script()
    with raw_server(script) as server:
        visit(server.uri, auth=DigestAuth("ann", "secret"))
    assert script.answers == ["-"]


@pytest.mark.parametrize(
    ("answers", "n"),
    [
        ([asking()], 1),
        ([asking(BASIC)], 1),
        ([asking("Digest")], 1),
        ([asking("\xe9,=")], 1),
        ([b"HTTP/1.1 403 X\r\nWWW-Authenticate: Digest realm=r, nonce=n\r\n\r\n"], 1),
        ([asking(DIGEST.format("n", ""))] * 9, 2),
        ([asking(DIGEST.format("n", ", stale=true"))] * 9, 3),
    ],
)
def test_no_answer(answers: list[bytes], n: int) -> None:
    script = Script(*answers)
    with raw_server(script) as server:
        with pytest.raises(InvalidStatus):
            connect(server.uri, auth=DigestAuth("ann", "wrong")).open()
        assert len(script.heads) == n


def test_a_challenge_that_is_too_old() -> None:
    script = Script(
        asking(DIGEST.format("m", "")), asking(DIGEST.format("n", ", stale=true"))
    )
    with raw_server(script) as server:
        visit(server.uri, auth=DigestAuth("ann", "secret"))
    assert_digest(script.heads[1], "m")
    assert_digest(script.heads[2], "n")


def test_a_redirect_to_the_same_origin() -> None:
    challenge = asking(DIGEST.format("n", ""))
    script = Script(challenge, redirecting("/b"), challenge)
    with raw_server(script) as server:
        visit(server.uri + "a", auth=DigestAuth("ann", "secret"))
    assert [head.split()[1] for head in script.heads] == ["/a", "/a", "/b", "/b"]
    assert_digest(script.heads[1], "n")
    assert script.answers[2] == "-"
    assert_digest(script.heads[3], "n")


def test_a_redirect_to_another_origin() -> None:
    challenge = asking(DIGEST.format("n", ""))
    other = Script(challenge)
    with raw_server(other) as second:
        script = Script(challenge, redirecting(second.uri))
        with raw_server(script) as server, pytest.raises(InvalidStatus, match="401"):
            connect(server.uri, auth=DigestAuth("ann", "secret")).open()
    assert other.answers == ["-"]


def test_each_opening_is_asked() -> None:
    challenge = asking(DIGEST.format("n", ""))
    script = Script(challenge, challenge)
    with raw_server(script) as server:
        recipe = connect(server.uri, auth=DigestAuth("ann", "secret"))
        with pytest.raises(InvalidStatus), recipe:
            pass  # the second challenge is for a password that is wrong
        with recipe:
            pass
    assert len(script.heads) == 3


def test_a_socket_has_no_second_try() -> None:
    with raw_server(Script(asking(DIGEST.format("n", "")))) as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        with pytest.raises(InvalidStatus, match="401"):
            connect("ws://x/", sock=sock, auth=DigestAuth("ann", "secret")).open()


def test_an_authenticator_of_ones_own() -> None:
    calls = []

    class Bearer:
        def authorization(
            self, challenges: list[str], method: str, uri: str, *, again: bool = False
        ) -> str | None:
            calls.append((challenges, method, uri, again))
            return "Bearer x"

    script = Script(asking("Bearer", BASIC), asking("Bearer"), asking())
    with raw_server(script) as server, pytest.raises(InvalidStatus):
        connect(server.uri + "a?b", auth=Bearer()).open()
    assert script.answers == ["-", "Bearer x", "Bearer x"]
    assert calls == [
        (["Bearer", BASIC], "GET", "/a?b", False),
        (["Bearer"], "GET", "/a?b", True),
    ]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"auth": "ann:secret"}, TypeError),
        ({"auth": ("ann",)}, TypeError),
        ({"auth": ["ann", "secret"]}, TypeError),
        ({"auth": DigestAuth}, TypeError),
        ({"auth": ("a:b", "secret")}, ValueError),
        (
            {"auth": ("a", "b"), "additional_headers": {"authorization": "x"}},
            TypeError,
        ),
    ],
)
def test_bad_arguments(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        connect("ws://localhost/", **options)
