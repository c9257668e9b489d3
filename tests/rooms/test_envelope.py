"""Entries as bytes, and what is none."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.rooms import Entry, EntryId, InvalidEntryId
from gws.rooms.envelope import MAX_ENTRY, NONCE, InvalidEnvelope, pack, unpack
from gws.rooms.scripts import parse_message


ORIGIN = b"12345678"

entries = st.builds(
    Entry,
    message=st.one_of(st.text(), st.binary()),
    origin=st.binary(min_size=8, max_size=8),
    number=st.integers(0, 2**64 - 1),
    key=st.none() | st.text(max_size=100),
)


def test_the_bytes() -> None:
    packed = pack(Entry("hé", ORIGIN, 258, "k"))
    assert (
        packed == b"gw\x01\x0312345678" + bytes(6) + b"\x01\x02" + b"\x00\x01kh\xc3\xa9"
    )
    assert packed[NONCE] == ORIGIN + struct.pack("!Q", 258)
    assert pack(Entry(b"\xff", ORIGIN, 0))[3] == 0


@given(entries)
def test_there_and_back(entry: Entry) -> None:
    assert unpack(pack(entry)) == entry


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    """They are an entry, or refused; there is no third."""
    for octets in (data, b"gw\x01" + data, b"1-1 gw\x01\x02" + data):
        try:
            entry = parse_message(octets)
        except (InvalidEnvelope, InvalidEntryId):
            continue
        assert isinstance(entry, Entry)


@given(entries, st.data())
def test_cut_off(entry: Entry, data: st.DataObject) -> None:
    """After the head and the key the message begins: what is shorter is refused."""
    packed = pack(entry)
    key = 0 if entry.key is None else 2 + len(entry.key.encode())
    cut = data.draw(st.integers(0, 20 + key - 1))
    with pytest.raises(InvalidEnvelope):
        unpack(packed[:cut])


@pytest.mark.parametrize(
    "data",
    [
        b"gw\x02\x00" + bytes(16),
        b"gw\x01\x04" + bytes(16),
        b"gx\x01\x00" + bytes(16),
        b"gw\x01\x01" + bytes(16) + b"\xff",
        b"gw\x01\x02" + bytes(16) + b"\x00\x01\xff",
        b"gw\x01\x00" + bytes(MAX_ENTRY),
    ],
    ids=["version", "flags", "magic", "text", "key", "length"],
)
def test_no_entries(data: bytes) -> None:
    with pytest.raises(InvalidEnvelope):
        unpack(data)


def test_too_long() -> None:
    longest = Entry(bytes(MAX_ENTRY - 20), ORIGIN, 1)
    assert len(pack(longest)) == MAX_ENTRY
    with pytest.raises(ValueError, match="at most"):
        pack(Entry(bytes(MAX_ENTRY - 19), ORIGIN, 1))
    with pytest.raises(ValueError, match="65535"):
        pack(Entry("", ORIGIN, 1, "k" * 65536))


def test_with_an_id() -> None:
    data = pack(Entry("x", ORIGIN, 7))
    assert parse_message(b"12-34 " + data).id == EntryId(12, 34)
    assert parse_message(data).id is None
    for prefix in (b"12 ", b"-1-1 ", b"1-1", b"1-1  ", b"1" * 17 + b"-1 ", b" "):
        with pytest.raises((InvalidEnvelope, InvalidEntryId)):
            parse_message(prefix + data)
