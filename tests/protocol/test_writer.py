"""Masking keys, and frames appended to what waits to be sent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given

from gws.protocol import writer

from . import wire
from .strategies import payloads
from .twin import load_pure


@given(payloads)
def test_write_frame(payload: bytes) -> None:
    out = bytearray(b"before")
    writer.write_frame(out, 0x82, payload, False)
    assert out == b"before" + wire.frame(0x82, payload)
    del out[6:]
    writer.write_frame(out, 0x82, payload, True)
    assert wire.parse(bytes(out[6:]), masked=True) == [(0x82, payload)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("payload", ["\ud800", memoryview(b"abcd")[::2], 5])
def test_nothing_is_written_of_what_is_no_payload(payload: bytes, masked: bool) -> None:
    out = bytearray(b"before")
    with pytest.raises((UnicodeEncodeError, BufferError, TypeError)):
        writer.write_frame(out, 0x81, payload, masked)
    assert out == b"before"


def test_keys_are_used_once() -> None:
    """More of them than the pool holds; two of 32 bits may be equal by chance."""
    keys = writer.MaskingKeys()
    n = 3 * writer.POOL_SIZE // 4 + 1
    seen = [keys.next() for _ in range(n)]
    assert len(set(seen)) >= n - 2
    assert all(0 <= key < 2**32 for key in seen)
    assert max(seen) > 2**31  # all four octets are there


def zeros_masked(data: bytes) -> set[bytes]:
    """Return the keys of frames of four zeros each: these, masked, are the key."""
    return {data[at + 6 : at + 10] for at in range(0, len(data), 10)}


def test_frames_have_different_keys() -> None:
    out = bytearray()
    for _ in range(100):
        writer.write_frame(out, 0x82, bytes(4), True)
    assert len(zeros_masked(bytes(out))) >= 99


def test_forget() -> None:
    keys = writer.MaskingKeys()
    before = [keys.next() for _ in range(8)]
    keys.forget()
    assert not set(before) & {keys.next() for _ in range(8)}


FORK = """
import os
from gws.protocol.writer import write_frame

def write():
    out = bytearray()
    for _ in range(8):
        write_frame(out, 0x82, bytes(4), True)
    return out.hex()

write()  # the pool is filled before the fork
reader, writer = os.pipe()
if not os.fork():
    os.write(writer, write().encode())
    os._exit(0)
os.wait()
print(write(), os.read(reader, 1000).decode())
"""


def test_a_forked_child_has_other_keys() -> None:
    """In a process of its own: this one may have threads."""
    output = subprocess.run(
        [sys.executable, "-P", "-c", FORK], capture_output=True, text=True, check=True
    ).stdout
    ours, theirs = map(zeros_masked, map(bytes.fromhex, output.split()))
    assert not ours & theirs


def test_keys_where_nothing_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no register_at_fork."""
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    [twin] = load_pure("twin_without_fork", "protocol.writer")
    assert 0 <= twin.masking_keys.next() < 2**32
