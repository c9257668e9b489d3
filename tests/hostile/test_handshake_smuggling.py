"""A second request behind the handshake, and frames in the packet of the handshake.

The nine stacks of tests/wsgi have the same in `test_a_refused_request`,
`test_what_follows_the_handshake_is_not_http`, `test_what_follows_a_close_is_not_http`.
"""

from __future__ import annotations

import contextlib

import pytest

from gws import ConnectionClosedError, connect
from gws.testing import CLOSE, CONT, PING, PONG, TEXT, RawPeer, frame, request
from gws.testing.octets import HANDSHAKE

from ..wire import raw_server
from .conftest import Run, Site, Sites, closed_by


#: What must never run.
ADMIN = b"GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n"

#: A handshake in the place of a body.
SECOND = request("/second")

BODIES = {
    "a length": ("Content-Length: 5\r\n", b"hello"),
    "the length of a request": (f"Content-Length: {len(ADMIN)}\r\n", ADMIN),
    "a length that never comes": ("Content-Length: 500\r\n", b""),
    "chunks": ("Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    "both": (
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
    ),
    "two lengths": ("Content-Length: 0\r\nContent-Length: 5\r\n", b"hello"),
    "a list of lengths": ("Content-Length: 0, 5\r\n", b"hello"),
    "a sign": ("Content-Length: +5\r\n", b"hello"),
    "a negative one": ("Content-Length: -5\r\n", b"hello"),
    "hexadecimal": ("Content-Length: 0x5\r\n", b"hello"),
    "no length": ("Content-Length: x\r\n", b""),
    "an empty length": ("Content-Length:\r\n", b""),
    "another coding": ("Transfer-Encoding: identity\r\n", b"hello"),
    "two codings": ("Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "chunked in disguise": ("Transfer-Encoding: \tChunKed\r\n", b"0\r\n\r\n"),
    "a chunked that is none": ("Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
}


@pytest.mark.parametrize("behind", [ADMIN, SECOND, frame(TEXT, b"hello")])
def test_h11_a_request_with_a_body(site: Site, behind: bytes) -> None:
    for case, (lines, body) in BODIES.items():
        data = request("/first", HANDSHAKE + lines) + body + behind
        answer = site.refuse(data)
        assert answer.startswith("HTTP/1.1 400 "), case
        assert answer.count("HTTP/1.1") == 1, case
    assert site.runs == [] == site.plain


#: Plain HTTP of which somebody in front of us may have read another end.
AMBIGUOUS = [
    "Content-Length: 5\r\nContent-Length: 0\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 5_0\r\n",
    "Host: localhost\r\n",
]


def test_h11_plain_http_before_it(sites: Sites) -> None:
    """gevent's server would take these, and read on where it thinks they end."""
    with sites("pywsgi") as site:
        for lines in AMBIGUOUS:
            start = f"POST /first HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"
            answer = site.refuse(start.encode() + b"0\r\n\r\n" + ADMIN)
            assert answer.startswith("HTTP/1.1 400 "), lines
            assert answer.count("HTTP/1.1 ") == 1, lines
        assert site.plain == []
        with site.peer() as peer:
            for _ in range(2):
                peer.write(b"POST /chunks HTTP/1.1\r\nHost: localhost\r\n")
                peer.write(b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
                assert peer.read_head().startswith("HTTP/1.1 200 ")
                assert peer.read(6) == b"admin\n"
        assert site.plain == ["/chunks"] * 2


def test_h12_behind_the_close_frame(site: Site) -> None:
    with site.peer() as peer:
        peer.ask(request() + peer.frame(CLOSE, b"\x03\xe8") + ADMIN)
        assert peer.receive_close() == (1000, "")
        with contextlib.suppress(OSError):
            peer.write(ADMIN)
        assert gone(peer)
    site.last_run()
    assert len(site.runs) == 1
    assert site.plain == []


def test_h12_in_the_packet_of_the_handshake(site: Site) -> None:
    with site.peer() as peer:
        peer.ask(request() + ADMIN)
        # "G" has reserved bits set, and no mask.
        assert peer.receive_close()[0] == 1002
        assert gone(peer)
    assert sent_code(site.last_run()) == 1002
    assert len(site.runs) == 1
    assert site.plain == []


#: Requests that are refused, and how.
REFUSED = {
    "426": HANDSHAKE.replace(": 13", ": 12"),
    "403": HANDSHAKE + "Origin: http://evil.example\r\n",
    "400": HANDSHAKE + "Sec-WebSocket-Key: x\r\n",
}


@pytest.mark.parametrize("behind", [ADMIN, SECOND], ids=["admin", "handshake"])
@pytest.mark.parametrize("together", [True, False])
def test_h12_behind_a_refusal(site: Site, behind: bytes, together: bool) -> None:
    for status, lines in REFUSED.items():
        with site.peer() as peer:
            peer.write(request("/", lines) + (behind if together else b""))
            assert peer.read_head().startswith(f"HTTP/1.1 {status} ")
            if not together:
                with contextlib.suppress(OSError):
                    peer.write(behind)
            assert gone(peer), status
    assert site.runs == [] == site.plain


def sent_code(run: Run) -> int:
    """Return the code that the handler's exception says was sent."""
    sent = closed_by(run).sent
    assert sent is not None
    return sent.code


def gone(peer: RawPeer) -> bool:
    """Read to the end; tell whether no response was there."""
    try:
        return b"HTTP/1.1 " not in peer.read_to_end()
    except ConnectionResetError:  # more was sent than anybody read
        return True


def test_h13_frames_in_the_packet_of_the_handshake(site: Site) -> None:
    n = 100
    with site.peer() as peer:
        peer.ask(request() + b"".join(frame(TEXT, b"%d" % i) for i in range(n)))
        for i in range(n):
            assert peer.receive() == (TEXT, b"%d" % i)
        peer.send(TEXT, b"after them")
        assert peer.receive() == (TEXT, b"after them")
        peer.send_close(1000)
        peer.receive_close()
    assert site.last_run().messages == [*map(str, range(n)), "after them"]


#: Frames that are bad, and the code that closes.
BAD = {
    "RSV2": (frame(TEXT, b"x", first=0xA0), 1002),
    "no mask": (frame(TEXT, b"x", masked=False), 1002),
    "continues nothing": (frame(CONT, b"x"), 1002),
    "no UTF-8": (frame(TEXT, b"\xff"), 1007),
    "no such opcode": (frame(0x3), 1002),
    "2**63 - 1 octets": (b"\x81\xff\x7f" + b"\xff" * 7 + b"\0" * 4, 1009),
}


@pytest.mark.parametrize("case", BAD)
def test_h13_a_bad_frame_in_the_packet_of_the_handshake(site: Site, case: str) -> None:
    """What came before it is delivered first; the handler learns the reason."""
    data, code = BAD[case]
    with site.peer() as peer:
        peer.ask(request() + frame(TEXT, b"good") + frame(PING) + data)
        answers = [peer.receive()]
        while answers[-1][0] != CLOSE:
            answers.append(peer.receive())
        assert answers[-1][1][:2] == code.to_bytes(2, "big")
        assert (PONG, b"") in answers
        assert gone(peer)
    run = site.last_run()
    assert run.messages == ["good"]
    assert sent_code(run) == code


def test_h13_half_a_frame_in_the_packet_of_the_handshake(site: Site) -> None:
    whole = frame(TEXT, b"hello")
    for cut in range(1, len(whole)):
        with site.peer() as peer:
            peer.ask(request() + whole[:cut])
            peer.write(whole[cut:])
            assert peer.receive() == (TEXT, b"hello"), cut


def test_h13_a_client_and_frames_in_the_packet_of_the_answer(leakcheck: None) -> None:
    def play(peer: RawPeer) -> None:
        bad = peer.frame(TEXT, b"bad", first=0xA0)
        peer.accept(peer.frame(TEXT, b"good"), bad)
        assert peer.receive_close()[0] == 1002

    with raw_server(play) as server:
        ws = connect(server.uri).open()
        assert ws.recv() == "good"
        with pytest.raises(ConnectionClosedError) as closed:
            ws.recv()
        assert closed.value.sent is not None
        assert closed.value.sent.code == 1002
        ws.close()


def test_h12_a_hook_that_refuses(sites: Sites) -> None:
    with sites("serve", process_request=lambda ws, request: answer(ws)) as site:
        for behind in (ADMIN, SECOND):
            with site.peer() as peer:
                peer.write(request("/forbidden") + behind)
                assert peer.read_head().startswith("HTTP/1.1 403 ")
                assert gone(peer)
        assert site.runs == []


def answer(ws: object) -> object:
    respond = ws.respond(403, "Not you.\n")  # type: ignore[attr-defined]
    return respond if ws.request.path != "/neighbour" else None  # type: ignore[attr-defined]
