"""The modules under test and their twin, loaded from the sources, do the same.

Where gws is compiled, this compares C with Python. Where it is not, both are
Python; then it could only show that the twin is what it claims to be.
"""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gws
from gws.protocol import base, client, frames, http11, reader, server, uri, writer

from . import strategies, wire
from .twin import SOURCES, load_pure


#: The modules that are compiled, and those of the handshakes, built on them.
NAMES = ["base", "frames", "reader", "writer", "server", "client", "http11", "uri"]
OURS = {
    module.__name__.rpartition(".")[2]: module
    for module in (base, frames, reader, writer, server, client, http11, uri)
}
TWINS = dict(
    zip(
        NAMES,
        load_pure("twin", *(f"protocol.{name}" for name in NAMES)),
        strict=True,
    )
)
Modules = dict[str, ModuleType]

pytestmark = pytest.mark.once

both_sides = pytest.mark.parametrize("is_client", [False, True])
LIMITS = st.sampled_from([None, 0, 20, 2**16, 2**20, (200, 20), (None, 50), (50, None)])


def test_what_is_compared() -> None:
    for name in NAMES:
        ours, twin = OURS[name], TWINS[name]
        assert ours is not twin
        assert twin.__name__ == f"gws.twin.protocol.{name}"
        assert twin.__file__ == str(SOURCES / "protocol" / f"{name}.py")
    for name in ("base", "frames", "reader", "writer"):
        is_compiled = not str(OURS[name].__file__).endswith(".py")
        assert is_compiled == gws.COMPILED
    for modules, is_compiled in ((OURS, gws.COMPILED), (TWINS, False)):
        for module, function in [
            ("base", modules["base"].Protocol.receive_data),
            ("frames", modules["frames"].check_first),
            ("reader", modules["reader"].Reader.next_frame),
            ("writer", modules["writer"].write_frame),
        ]:
            assert isinstance(function, FunctionType) != is_compiled, module


def described(event: Any) -> object:
    """Return what an event or an exception is, without its class."""
    if isinstance(event, (OURS["frames"].Frame, TWINS["frames"].Frame)):
        return event.first, event.payload, repr(event)
    if isinstance(event, (BufferError, TypeError)):
        return type(event)  # C and Python have their own words
    return type(event).__name__, str(event)


class Subject:
    """A protocol of one of the two, and what is seen of it."""

    def __init__(self, modules: Modules, is_client: bool, max_size: Any = None) -> None:
        self.base = modules["base"]
        side = self.base.Side(int(is_client))
        self.protocol = self.base.Protocol(side, max_size=max_size)
        self.is_client = is_client

    def do(self, name: str, *args: Any) -> object:
        """Call a method; return what it raised."""
        try:
            result = getattr(self.protocol, name)(*args)
        except Exception as exc:
            return described(exc)
        assert result is None
        return None

    def look(self) -> list[object]:
        """Take events and octets; masks are random and are taken off."""
        protocol = self.protocol
        before = described(protocol.ending)
        events = [described(event) for event in protocol.events_received()]
        pieces = protocol.data_to_send()
        return [
            before,
            events,
            wire.parse(b"".join(pieces), masked=self.is_client),
            pieces[-1:] == [b""],
            *self.glance(),
        ]

    def glance(self) -> list[object]:
        protocol = self.protocol
        return [
            protocol.state.name,
            protocol.state_number,
            protocol.deaf,
            protocol.eof_to_send,
            protocol.close_expected(),
            protocol.close_code,
            protocol.close_reason,
            str(protocol.close_rcvd),
            str(protocol.close_sent),
            protocol.close_rcvd_then_sent,
            described(protocol.close_exc),
            described(protocol.ending),
            protocol.ping_unanswered,
            len(protocol.out),
            len(protocol.events),
        ]


@both_sides
@given(data=st.data())
def test_receiving(is_client: bool, data: st.DataObject) -> None:
    """Any wire, cut anywhere, under several limits."""
    octets = data.draw(strategies.wires(not is_client))
    pieces = wire.cut(octets, data.draw(strategies.cuts))
    max_size = data.draw(LIMITS)
    eof = data.draw(st.booleans())
    seen = []
    for modules in (OURS, TWINS):
        subject = Subject(modules, is_client, max_size)
        log: list[object] = []
        for piece in pieces:
            log += [subject.do("receive_data", piece), subject.glance(), subject.look()]
        if eof:
            log += [subject.do("receive_eof"), subject.look()]
        seen.append(log)
    assert seen[0] == seen[1]


PAYLOADS: st.SearchStrategy[Any] = st.one_of(
    strategies.payloads,
    strategies.payloads.map(bytearray),
    strategies.payloads.map(memoryview),
    st.text(max_size=40),
    st.sampled_from(["\ud800", 5, None, memoryview(b"abcd")[::2]]),
    st.sampled_from([120, 160]).map(lambda n: memoryview(bytes(n)).cast("I")),
)
CODES = st.sampled_from(
    [None, 0, 1000, 1001, 1005, 1006, 1011, 1015, 3000, 4999, 65536]
)
REASONS = st.text(max_size=50) | st.sampled_from(["x" * 123, "x" * 124, "\u20ac" * 42])


def inputs(is_client: bool) -> st.SearchStrategy[tuple[Any, ...]]:
    sends = ["send_text", "send_binary", "send_continuation"]
    return st.one_of(
        st.tuples(st.sampled_from(sends), PAYLOADS, st.booleans()),
        st.tuples(st.sampled_from(["send_ping", "send_pong"]), PAYLOADS),
        st.tuples(st.just("send_close"), CODES, REASONS),
        st.tuples(
            st.just("fail"), CODES.filter(lambda code: code is not None), REASONS
        ),
        st.tuples(
            st.sampled_from(
                ["receive_eof", "conclude", "answer_ping", "close_expected"]
            )
        ),
        st.tuples(st.just("receive_data"), strategies.messages(not is_client)),
        st.tuples(st.just("receive_data"), strategies.wires(not is_client)),
        st.tuples(st.just("limit"), st.just(2**20), st.none() | st.just(2**10)),
        st.tuples(st.just("look")),
    )


@both_sides
@given(data=st.data())
def test_any_calls(is_client: bool, data: st.DataObject) -> None:
    """Sending, failing, closing, between what comes: in any order."""
    calls = data.draw(st.lists(inputs(is_client), max_size=12))
    seen = []
    for modules in (OURS, TWINS):
        subject = Subject(modules, is_client, 2**20)
        log: list[object] = []
        for name, *args in calls:
            if name == "look":
                log.append(subject.look())
            elif name == "close_expected":
                log.append(subject.protocol.close_expected())
            else:
                log += [subject.do(name, *args), subject.glance()]
        log.append(subject.look())
        seen.append(log)
    assert seen[0] == seen[1]


@given(
    st.binary(max_size=30) | strategies.frames(False) | strategies.frames(True),
    st.booleans(),
    st.none() | st.integers(0, 100),
)
def test_one_frame(octets: bytes, mask: bool, max_size: int | None) -> None:
    """Frame.read, of what may end too early."""

    class Ended(Exception):
        pass

    def read(modules: Modules) -> object:
        rest = octets

        def read_exact(n: int) -> bytes:
            nonlocal rest
            if n > len(rest):
                raise Ended(n)
            data, rest = rest[:n], rest[n:]
            return data

        try:
            frame = modules["frames"].Frame.read(
                read_exact, mask=mask, max_size=max_size
            )
        except Exception as exc:
            return described(exc), rest
        assert frame.serialize(mask=False) == wire.frame(frame.first, frame.data)
        return described(frame), rest

    assert read(OURS) == read(TWINS)


@given(strategies.close_payloads, CODES, REASONS)
def test_close(payload: bytes, code: int | None, reason: str) -> None:
    def parse_and_serialize(modules: Modules) -> list[object]:
        log: list[object] = []
        close_class = modules["frames"].Close
        for call in (
            lambda: repr(close_class.parse(payload)),
            lambda: close_class(code or 0, reason).serialize(),
            lambda: modules["frames"].cut_reason(reason),
        ):
            try:
                log.append(call())
            except Exception as exc:
                log.append(described(exc))
        return log

    assert parse_and_serialize(OURS) == parse_and_serialize(TWINS)


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)


@given(strategies.wires(True), st.lists(st.integers(0, 400), max_size=8))
def test_behind_the_opening_handshake(octets: bytes, cuts: list[int]) -> None:
    seen = []
    for modules in (OURS, TWINS):
        protocol = modules["server"].ServerProtocol(max_size=100)
        log: list[object] = []
        for piece in wire.cut(REQUEST + octets, cuts):
            protocol.receive_data(piece)
            for event in protocol.events_received():
                if isinstance(event, modules["http11"].Request):
                    protocol.send_response(protocol.accept(event))
                else:
                    log.append(described(event))
            log += [protocol.data_to_send(), protocol.state.name, protocol.close_code]
        log += [described(event) for event in protocol.events_received()]
        log += protocol.data_to_send()
        seen.append(log)
    assert seen[0] == seen[1]


def test_a_client_of_one_and_a_server_of_the_other() -> None:
    for ours, theirs in ((OURS, TWINS), (TWINS, OURS)):
        target = ours["uri"].parse_uri("ws://example.com/")
        connecting = ours["client"].ClientProtocol(target)
        accepting = theirs["server"].ServerProtocol()
        connecting.send_request(connecting.connect())
        accepting.receive_data(b"".join(connecting.data_to_send()))
        [request] = accepting.events_received()
        accepting.send_response(accepting.accept(request))
        accepting.send_text("h\u00e9")
        connecting.receive_data(b"".join(accepting.data_to_send()))
        connecting.send_close(1000, "bye")
        accepting.receive_data(b"".join(connecting.data_to_send()))
        connecting.receive_data(b"".join(accepting.data_to_send()))
        [response, frame] = connecting.events_received()
        assert response.status_code == 101
        assert frame.payload == "h\u00e9"
        assert connecting.data_to_send() == []
        assert connecting.close_code == accepting.close_code == 1000
