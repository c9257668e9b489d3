"""`broadcast`: what is made once, and who is passed over."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any

import gevent
import pytest
from gevent.event import Event

from gws import (
    ConcurrencyError,
    ConnectionClosedError,
    ConnectionClosedOK,
    broadcast,
)
from gws.extensions import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from gws.prepared import PreparedMessage
from gws.protocol.base import Protocol
from gws.protocol.codes import Side
from gws.testing import TEXT, frame, pair, server_pair


pytestmark = pytest.mark.usefixtures("leakcheck")

LONG = 10
SMALL = 2**12

#: Options of both sides, and whether the server's frames can be shared.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"client": {"compression": None}},
    "deflate": {},
    "context": {
        "client": {"extensions": [ClientPerMessageDeflateFactory()]},
        "server": {"extensions": [ServerPerMessageDeflateFactory()]},
    },
    "window": {
        "client": {
            "extensions": [
                ClientPerMessageDeflateFactory(True, server_max_window_bits=9)
            ]
        },
    },
}


@pytest.mark.parametrize("size", [0, 10, 255, 256, 10000])
def test_all_kinds_at_once(size: int) -> None:
    """Each gets the message, however its connection encodes; both sides may send."""
    with ExitStack() as stack:
        pairs = [stack.enter_context(pair(**KINDS[kind])) for kind in [*KINDS, *KINDS]]
        for message in ("\u00e9" * (size // 2), b"\x00" * size):
            broadcast([server for _, server in pairs], message)
            assert [client.recv() for client, _ in pairs] == [message] * len(pairs)
            broadcast([client for client, _ in pairs], message)
            assert [server.recv() for _, server in pairs] == [message] * len(pairs)


def test_what_encodes_alike_is_encoded_once() -> None:
    class Counting(Protocol):
        def __init__(self, kind: str, side: Side = Side.SERVER) -> None:
            super().__init__(side)
            factory = ServerPerMessageDeflateFactory(
                kind != "context", True, threshold=0
            )
            if kind != "plain":
                offer = [("server_max_window_bits", "9")] if kind == "window" else []
                _, extension = factory.process_request_params(offer, [])
                self.use([extension])

    prepared = PreparedMessage("x" * 1000)
    frames: dict[str, list[bytes]] = {}
    for kind in [*KINDS, *KINDS]:
        protocol = Counting(kind)
        prepared.write(protocol)
        frames.setdefault(kind, []).append(bytes(protocol.out))
    assert frames["plain"] == [frame(TEXT, b"x" * 1000, masked=False)] * 2
    for kind in ("deflate", "window", "context"):
        one, other = frames[kind]
        assert one == other and len(one) < 100 and one[0] == 0xC1
    # Masked frames have keys of their own.
    masked = [Counting("deflate", Side.CLIENT) for _ in range(2)]
    for protocol in masked:
        prepared.write(protocol)
    one, other = (bytes(protocol.out) for protocol in masked)
    assert len(one) == len(other) and one != other


@pytest.mark.parametrize("message", ["\ud800", b"\xff"])
def test_text_is_checked_before_anything_is_sent(message: Any) -> None:
    with server_pair() as joined:
        with pytest.raises(UnicodeError):
            broadcast([joined.ws], message, text=True)
        joined.ws.send("next")
        assert joined.peer.receive() == (TEXT, b"next")


def test_who_sends_fragments_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    go_on = Event()

    def fragments() -> Any:
        yield "a"
        go_on.wait(LONG)
        yield "b"

    with server_pair() as joined, server_pair() as other:
        sender = gevent.spawn(joined.ws.send, fragments())
        assert joined.peer.receive_fragment() == (False, TEXT, b"a")
        with caplog.at_level(logging.WARNING, "gws.server"):
            broadcast([joined.ws, other.ws], "x")
        [record] = caplog.records
        assert "fragments" in record.getMessage()
        with pytest.raises(ExceptionGroup) as caught:
            broadcast([joined.ws, other.ws], "y", raise_exceptions=True)
        [exc] = caught.value.exceptions
        assert isinstance(exc, ConcurrencyError)
        assert [other.peer.receive()[1] for _ in range(2)] == [b"x", b"y"]
        go_on.set()
        sender.get(timeout=LONG)


def test_who_is_closed_is_passed_over_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pair() as (client, server):
        client.close()
        assert server.wait_closed(LONG)
        with caplog.at_level(logging.WARNING):
            broadcast([server], "x")
        assert caplog.records == []
        with pytest.raises(ExceptionGroup) as caught:
            broadcast([server, client], "x", raise_exceptions=True)
        assert [type(exc) for exc in caught.value.exceptions] == [
            ConnectionClosedOK
        ] * 2


def test_who_does_not_read_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """It holds `write_limit` and one message at most, and the log says why it went."""
    with server_pair(receive_buffer=SMALL) as joined:
        errors: list[Exception] = []
        with caplog.at_level(logging.INFO, "gws.server"):
            while not errors:
                try:
                    broadcast([joined.ws], b"x" * 2**14, raise_exceptions=True)
                except ExceptionGroup as group:
                    errors.extend(group.exceptions)
                assert joined.ws.buffered_amount < 2**15 + 2**15
        [exc] = errors
        assert isinstance(exc, ConnectionClosedError)
        assert exc.sent is not None and exc.sent.code == 1013
        assert any("does not read" in record.getMessage() for record in caplog.records)
        joined.peer.end()
