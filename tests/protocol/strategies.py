"""Wires for hypothesis: frames that may follow each other, and others."""

from __future__ import annotations

from hypothesis import strategies as st

from . import wire


texts = st.text(max_size=30)
# The lengths around the borders of the three forms, and short ones.
lengths = st.sampled_from([0, 1, 2, 124, 125, 126, 127, 65535, 65536])
payloads = st.one_of(
    st.binary(max_size=40),
    texts.map(str.encode),
    lengths.map(lambda n: b"x" * n),
)
cuts = st.lists(st.integers(0, 300), max_size=8)

close_payloads = st.one_of(
    st.just(b""),
    st.binary(max_size=4),
    st.builds(
        lambda code, reason: code.to_bytes(2, "big") + reason.encode(),
        st.sampled_from([999, 1000, 1001, 1005, 1011, 1015, 2999, 3000, 4999, 5000]),
        st.text(max_size=20),
    ),
)


def messages(masked: bool) -> st.SearchStrategy[bytes]:
    """Whole messages: in order they make a valid wire, with control frames between."""

    def fragments(opcode: int, parts: list[bytes], control: bytes) -> bytes:
        last = len(parts) - 1
        return control.join(
            wire.frame(
                (opcode if i == 0 else wire.CONT) | (wire.FIN if i == last else 0),
                part,
                masked,
            )
            for i, part in enumerate(parts)
        )

    def text(message: str, positions: list[int], control: bytes) -> bytes:
        parts = wire.cut(message.encode(), positions) or [b""]
        return fragments(wire.TEXT, parts, control)

    def binary(parts: list[bytes], control: bytes) -> bytes:
        return fragments(wire.BINARY, parts, control)

    between = st.just(b"") | controls(masked)
    return st.one_of(
        st.builds(text, texts, st.lists(st.integers(0, 30), max_size=3), between),
        st.builds(binary, st.lists(payloads, min_size=1, max_size=4), between),
        controls(masked),
    )


def controls(masked: bool) -> st.SearchStrategy[bytes]:
    return st.builds(
        wire.frame,
        st.sampled_from([wire.FIN | wire.PING, wire.FIN | wire.PONG]),
        st.binary(max_size=125),
        st.just(masked),
    )


def frames(masked: bool) -> st.SearchStrategy[bytes]:
    """Frames of any kind, most of them out of place or broken."""
    return st.one_of(
        st.builds(wire.frame, st.integers(0, 255), payloads, st.just(masked)),
        st.builds(
            wire.frame,
            st.sampled_from([wire.TEXT, wire.CONT, wire.FIN, wire.FIN | wire.TEXT]),
            payloads,
            st.just(masked),
        ),
        st.builds(
            wire.frame,
            st.just(wire.FIN | wire.CLOSE),
            close_payloads,
            st.just(masked),
        ),
        st.builds(
            wire.header,
            st.sampled_from([wire.FIN | wire.BINARY, wire.TEXT, wire.CONT]),
            st.integers(0, 2**64 - 1) | st.integers(0, 70_000),
            st.booleans(),
            st.just(64),
        ),
        st.binary(max_size=20),
    )


def wires(masked: bool) -> st.SearchStrategy[bytes]:
    """What a peer may send: mostly good frames first, then anything, cut short."""
    good = st.lists(messages(masked), max_size=5)
    bad = st.lists(frames(masked), max_size=3)
    return st.builds(
        lambda head, tail, end: b"".join(head + tail)[: end or None],
        good,
        bad,
        st.just(0) | st.integers(-10, -1),
    )
