"""Messages to compressed messages and back, with zlib and with zlib-ng."""

from __future__ import annotations

import importlib.util
import random
import sys
import tracemalloc
import zlib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gws
from gws.exceptions import PayloadTooBig, ProtocolError
from gws.extensions import deflate as imported
from gws.protocol.frames import Frame, Opcode


SOURCE = Path(gws.__file__).parent / "extensions" / "deflate.py"

FIN, RSV1 = 0x80, 0x40
CONT, TEXT, BINARY, CLOSE, PING, PONG = Opcode
TAIL = b"\x00\x00\xff\xff"

#: What RFC 7692, section 7.2.3, makes of "Hello".
HELLO = bytes.fromhex("f248cdc9c90700")


def load(name: str) -> ModuleType:
    """Load the module once more from its source, with this or that zlib."""
    spec = importlib.util.spec_from_file_location(f"gws.extensions.of_{name}", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    kept = {key: value for key, value in sys.modules.items() if "zlib_ng" in key}
    if name == "zlib":
        # None: the import fails as if it were not installed.
        sys.modules["zlib_ng"] = None  # type: ignore[assignment]
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop("zlib_ng", None)
        sys.modules.update(kept)
    return module


def has_zlib_ng() -> bool:
    return importlib.util.find_spec("zlib_ng") is not None


#: The module's source with each zlib; what everybody imports, compiled or not, stands
#: for the one that it was made with.
MODULES = {"zlib": load("zlib")}
if has_zlib_ng():
    MODULES["zlib-ng"] = load("zlib_ng")
if gws.COMPILED:
    MODULES["imported"] = imported
else:
    MODULES["zlib-ng" if has_zlib_ng() else "zlib"] = imported

each = pytest.mark.parametrize("deflate", MODULES.values(), ids=MODULES)
takeover = pytest.mark.parametrize("forget", [True, False], ids=["without", "with"])


def test_each_module_has_the_zlib_it_is_named_after() -> None:
    names = {name: module.zlib.__name__ for name, module in MODULES.items()}
    expected = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng"}
    assert names.pop("imported", imported.zlib.__name__) in names.values()
    assert names == {name: expected[name] for name in names}


def extension(deflate: Any, forget: bool = True, threshold: int = 0) -> Any:
    return deflate.PerMessageDeflate(forget, forget, 15, 15, None, threshold)


def frame(first: int, payload: Any) -> Frame:
    return Frame(
        first & 0x0F,
        payload,
        first & FIN != 0,
        first & RSV1 != 0,
        first & 0x20 != 0,
        first & 0x10 != 0,
    )


def cut(data: bytes, positions: list[int]) -> list[bytes]:
    ends = sorted(position % (len(data) + 1) for position in positions)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


def fragments(opcode: int, parts: list[bytes], rsv: int = 0) -> list[Frame]:
    last = len(parts) - 1
    return [
        frame((opcode | rsv if i == 0 else 0) | (FIN if i == last else 0), part)
        for i, part in enumerate(parts)
    ]


def received(
    extension: Any, frames: list[Frame], max_size: int | None = None
) -> tuple[int, bytes]:
    """Return the opcode and the data of a message, as a reader bounds it."""
    data = b""
    opcode = frames[0].first & 0x0F
    for i, encoded in enumerate(frames):
        left = None if max_size is None else max_size - len(data)
        decoded = extension.decode(encoded, max_size=left)
        assert decoded.first == encoded.first & ~RSV1, i
        assert decoded is encoded or type(decoded.payload) is bytes
        data += decoded.data
    return opcode, data


def inflated(frames: list[Frame], window_bits: int = 15) -> bytes:
    """Inflate one message as section 7.2.2 says, with nothing before it."""
    assert frames[0].first & RSV1
    inflater = zlib.decompressobj(-window_bits)
    data = inflater.decompress(b"".join(frame.data for frame in frames) + TAIL)
    assert not inflater.eof
    return data


def compressed(data: bytes, level: int = 6, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Compress one message the way any peer may."""
    compressor = zlib.compressobj(level, wbits=-15)
    out = compressor.compress(data) + compressor.flush(flush)
    return out.removesuffix(TAIL) if flush == zlib.Z_SYNC_FLUSH else out


def final(data: bytes, window: bytes = b"") -> bytes:
    """Compress with BFINAL=1 in the last block."""
    args = {"zdict": window} if window else {}
    compressor = zlib.compressobj(wbits=-15, **args)
    return compressor.compress(data) + compressor.flush(zlib.Z_FINISH)


class Counting(SimpleNamespace):
    """A zlib whose objects are counted."""

    def __init__(self, real: Any) -> None:
        super().__init__(**{name: getattr(real, name) for name in dir(real)})
        self.compressors = self.inflaters = 0
        self.real = real

        def compressobj(*args: Any) -> Any:
            self.compressors += 1
            return real.compressobj(*args)

        def decompressobj(*args: Any, **kwargs: Any) -> Any:
            self.inflaters += 1
            return real.decompressobj(*args, **kwargs)

        self.compressobj, self.decompressobj = compressobj, decompressobj


# The examples of RFC 7692, section 7.2.3


@each
def test_a_message_compressed_using_one_compressed_block(deflate: Any) -> None:
    """Section 7.2.3.1."""
    encoded = extension(deflate).encode(Frame(TEXT, "Hello"))
    assert encoded.serialize.__self__ is encoded  # a Frame
    assert (encoded.first, encoded.payload) == (0xC1, HELLO)
    assert extension(deflate).decode(encoded) == Frame(TEXT, b"Hello")


@each
@takeover
def test_its_fragments(deflate: Any, forget: bool) -> None:
    frames = [frame(0x41, HELLO[:3]), frame(0x80, HELLO[3:])]
    assert received(extension(deflate, forget), frames) == (TEXT, b"Hello")


@each
def test_sharing_lz77_sliding_window(deflate: Any) -> None:
    """Section 7.2.3.2: with context takeover the second one is shorter."""
    sender, receiver = extension(deflate, False), extension(deflate, False)
    again = bytes.fromhex("f200110000")
    for payload in [HELLO, again]:
        encoded = sender.encode(Frame(TEXT, "Hello"))
        assert (encoded.first, encoded.payload) == (0xC1, payload)
        assert receiver.decode(encoded) == Frame(TEXT, b"Hello")
    sender = extension(deflate)
    for _ in range(2):
        assert sender.encode(Frame(TEXT, "Hello")).payload == HELLO


@each
@takeover
def test_a_block_with_no_compression(deflate: Any, forget: bool) -> None:
    """Section 7.2.3.3."""
    data = bytes.fromhex("000500faff48656c6c6f00")
    encoded = frame(0xC1, data)
    assert extension(deflate, forget).decode(encoded) == Frame(TEXT, b"Hello")
    stored = deflate.PerMessageDeflate(True, True, 15, 15, {"level": 0}, 0)
    assert stored.encode(Frame(TEXT, "Hello")).payload == data


@each
@takeover
def test_a_block_with_bfinal(deflate: Any, forget: bool) -> None:
    """Section 7.2.3.4."""
    encoded = frame(0xC1, bytes.fromhex("f348cdc9c9070000"))
    receiver = extension(deflate, forget)
    for _ in range(3):
        assert receiver.decode(encoded) == Frame(TEXT, b"Hello")


@each
@takeover
def test_two_blocks_in_one_message(deflate: Any, forget: bool) -> None:
    """Section 7.2.3.5."""
    encoded = frame(0xC1, bytes.fromhex("f248050000 00ffff cac9c90700"))
    assert extension(deflate, forget).decode(encoded) == Frame(TEXT, b"Hello")


@each
@takeover
def test_an_empty_message(deflate: Any, forget: bool) -> None:
    """Section 7.2.3.6."""
    sender, receiver = extension(deflate, forget), extension(deflate, forget)
    for payload in ["", b"", "", b""]:
        encoded = sender.encode(Frame(TEXT, payload))
        assert (encoded.first, encoded.payload) == (0xC1, b"\x00")
        assert receiver.decode(encoded, max_size=0) == Frame(TEXT, b"")


# What is compressed


@each
@pytest.mark.parametrize(
    ("first", "payload", "compress", "expected"),
    [
        (FIN | TEXT, "x" * 255, None, False),
        (FIN | TEXT, "x" * 256, None, True),
        (FIN | BINARY, b"x" * 255, None, False),
        (FIN | BINARY, b"x" * 256, None, True),
        (FIN | BINARY, bytearray(256), None, True),
        (FIN | BINARY, memoryview(b"x" * 256), None, True),
        (FIN | TEXT, "x", True, True),
        (FIN | BINARY, b"", True, True),
        (FIN | TEXT, "x" * 256, False, False),
        (TEXT, b"x", None, True),
        (BINARY, b"", None, True),
        (BINARY, b"x" * 256, True, True),
        (BINARY, b"x" * 256, False, False),
        (FIN | CONT, b"x" * 256, None, False),
        (CONT, b"x" * 256, True, False),
        (FIN | PING, b"x" * 125, True, False),
        (FIN | CLOSE, b"", None, False),
        (FIN | PONG, b"", True, False),
    ],
)
def test_what_is_compressed(
    deflate: Any, first: int, payload: Any, compress: bool | None, expected: bool
) -> None:
    sender = deflate.PerMessageDeflate(True, True)
    plain = frame(first, payload)
    encoded = sender.encode(plain, compress)
    assert encoded.rsv1 is expected
    if not expected:
        assert encoded is plain


@each
def test_later_fragments_are_as_the_first(deflate: Any) -> None:
    parts = fragments(TEXT, [b"Hel", b"", b"lo"])
    sender = extension(deflate)
    for compress in [True, None]:
        frames = [sender.encode(part, compress) for part in parts]
        assert [sent.first for sent in frames] == [0x41, 0x00, 0x80]
        assert inflated(frames) == b"Hello"
    assert [sender.encode(part, False) for part in parts] == parts


@each
def test_each_fragment_can_be_read_when_it_comes(deflate: Any) -> None:
    sender, receiver = extension(deflate), extension(deflate)
    for part in fragments(TEXT, [b"Hel", b"", b"lo"]):
        assert receiver.decode(sender.encode(part)).data == part.data


@each
def test_other_reserved_bits_stay(deflate: Any) -> None:
    encoded = extension(deflate).encode(frame(FIN | 0x30 | TEXT, b"x"))
    assert encoded.first == FIN | 0x70 | TEXT
    assert extension(deflate).decode(encoded).first == FIN | 0x30 | TEXT


@each
@takeover
def test_control_frames_between_fragments(deflate: Any, forget: bool) -> None:
    sender, receiver = extension(deflate, forget), extension(deflate, forget)
    ping = Frame(PING, b"x")
    for part in fragments(BINARY, [b"Hello"] * 3):
        assert receiver.decode(sender.encode(part)).data == b"Hello"
        assert sender.encode(ping, True) is ping
        assert receiver.decode(ping) is ping


@each
@takeover
def test_what_is_not_compressed_is_not_inflated(deflate: Any, forget: bool) -> None:
    receiver = extension(deflate, forget)
    receiver.decode(frame(0xC1, HELLO))
    for plain in [
        Frame(PING, b"Hello"),
        Frame(TEXT, b"Hello"),
        *fragments(BINARY, [b"Hello", b"Hello"]),
    ]:
        assert receiver.decode(plain) is plain


@each
def test_a_window_of_8_bits_is_never_used(deflate: Any) -> None:
    sender = deflate.PerMessageDeflate(True, True, 15, 8, None, 0)
    assert sender.shared_encoding() is None
    for plain in [Frame(TEXT, "Hello"), *fragments(TEXT, [b"Hel", b"lo"])]:
        assert sender.encode(plain, True) is plain


@each
def test_text_that_is_none(deflate: Any) -> None:
    sender = extension(deflate)
    with pytest.raises(UnicodeEncodeError):
        sender.encode(Frame(TEXT, "\ud800"))
    assert sender.encode(Frame(TEXT, "Hello")).payload == HELLO


# Any message


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Bytes that repeat themselves, near and far, and some that don't."""
    pattern = draw(st.binary(max_size=40))
    data = pattern * draw(st.integers(0, 60))
    if draw(st.booleans()):
        seed = draw(st.integers(0, 3))
        data += random.Random(seed).randbytes(draw(st.sampled_from([300, 9000, 40000])))
    return data + draw(st.sampled_from([b"", pattern, data[:1000]]))


messages = st.tuples(
    st.sampled_from([TEXT, BINARY]),
    payloads() | st.text(max_size=30),
    st.lists(st.integers(0, 100_000), max_size=3),
    st.sampled_from([None, None, True, False]),
)
settings = st.fixed_dictionaries(
    {},
    optional={
        "level": st.integers(-1, 9),
        "memLevel": st.integers(1, 9),
        "strategy": st.integers(0, 4),
    },
)


def sent(sender: Any, message: Any) -> tuple[bytes, list[Frame]]:
    """Send a message; return its bytes, and the frames that went out."""
    opcode, payload, cuts, compress = message
    data = payload.encode() if isinstance(payload, str) else payload
    whole = [Frame(opcode, payload)]
    parts = fragments(opcode, cut(data, cuts)) if cuts else whole
    return data, [sender.encode(part, compress) for part in parts]


@each
@given(
    st.lists(messages, max_size=5),
    st.booleans(),
    st.integers(9, 15),
    settings,
    st.sampled_from([0, 100, 256]),
)
def test_what_is_sent_is_received(
    deflate: Any,
    sequence: list[Any],
    forget: bool,
    bits: int,
    settings: dict[str, int],
    threshold: int,
) -> None:
    sender = deflate.PerMessageDeflate(True, forget, 15, bits, settings, threshold)
    receiver = deflate.PerMessageDeflate(forget, True, bits, 15)
    for message in sequence:
        data, frames = sent(sender, message)
        assert received(receiver, frames) == (message[0], data)
        if forget and frames[0].rsv1:
            # Nothing refers to what came before, on this connection or another.
            assert inflated(frames, bits) == data


@each
@given(st.lists(messages, max_size=4), st.booleans(), st.integers(0, 60_000))
def test_no_more_than_max_size(
    deflate: Any, sequence: list[Any], forget: bool, max_size: int
) -> None:
    sender, receiver = extension(deflate, forget), extension(deflate, forget)
    for message in sequence:
        data, frames = sent(sender, (*message[:3], True))
        for limit in [max_size, len(data)]:
            if len(data) > limit:
                other = extension(deflate)
                with pytest.raises(PayloadTooBig) as raised:
                    received(other, [frame(0xC2, compressed(data))], limit)
                assert raised.value.size is None
                assert raised.value.max_size == limit
        assert received(receiver, frames, len(data)) == (message[0], data)


@each
@given(payloads(), st.integers(8, 15), st.lists(st.integers(0, 10_000), max_size=3))
def test_any_window_is_understood(
    deflate: Any, data: bytes, bits: int, cuts: list[int]
) -> None:
    """8 as well: it takes another compressor than zlib to make one."""
    if bits == 8:
        payload = compressed(data, level=0)
    else:
        compressor = zlib.compressobj(wbits=-bits)
        payload = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        payload = payload.removesuffix(TAIL)
    receiver = deflate.PerMessageDeflate(True, True, bits, 15)
    frames = fragments(BINARY, cut(payload, cuts), RSV1)
    assert received(receiver, frames) == (BINARY, data)


@each
@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_any_bytes_are_a_message_or_a_violation(
    deflate: Any, data: bytes, forget: bool, after: bool
) -> None:
    receiver = extension(deflate, forget)
    if after:
        receiver.decode(frame(0xC2, compressed(b"Hello" * 100)))
    for fin in [FIN, 0]:
        try:
            decoded = receiver.decode(frame(fin | RSV1 | BINARY, data), max_size=5000)
        except PayloadTooBig as exc:
            assert exc.close_code == 1009
        except ProtocolError as exc:
            assert str(exc).startswith("decompression failed")
            assert exc.close_code == 1002
        else:
            assert len(decoded.data) <= 5000


# Data that is wrong


def wrong(deflate: Any, forget: bool, *frames: Frame, max_size: int = 2**20) -> str:
    receiver = extension(deflate, forget)
    with pytest.raises(ProtocolError) as raised:
        received(receiver, list(frames), max_size)
    assert raised.value.close_code == 1002
    return str(raised.value)


@each
@takeover
@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\xff\xff", id="no such block"),
        pytest.param(b"Hello", id="not compressed"),
        pytest.param(b"", id="nothing at all"),
        pytest.param(HELLO[:4], id="cut short in a compressed block"),
        pytest.param(bytes.fromhex("000500faff4865"), id="in a stored block"),
        pytest.param(HELLO + TAIL, id="with the tail"),
        pytest.param(bytes.fromhex("f200110000"), id="refers back to nothing"),
    ],
)
def test_wrong_data(deflate: Any, forget: bool, payload: bytes) -> None:
    text = wrong(deflate, forget, frame(0xC2, payload))
    assert text.startswith("decompression failed")
    first, rest = payload[:1], payload[1:]
    text = wrong(deflate, forget, *fragments(BINARY, [first, rest], RSV1))
    assert text.startswith("decompression failed")


@each
def test_a_message_cut_anywhere(deflate: Any) -> None:
    payload = compressed(bytes(range(256)) * 4)
    for n in range(len(payload) - 1):
        assert wrong(deflate, True, frame(0xC2, payload[:n]))
        assert wrong(deflate, False, frame(0xC2, payload[:n]))


@each
def test_nothing_of_another_connection_is_seen(deflate: Any) -> None:
    extension(deflate).decode(frame(0xC1, HELLO))
    assert wrong(deflate, True, frame(0xC1, bytes.fromhex("f200110000")))
    receiver = extension(deflate)
    receiver.decode(frame(0xC1, HELLO))
    receiver.decode(frame(0x41, HELLO[:3]))  # a message that does not go on
    with pytest.raises(ProtocolError):
        receiver.decode(frame(0xC1, bytes.fromhex("f200110000")))


@each
def test_a_window_smaller_than_the_peer_uses(deflate: Any) -> None:
    """The window is what was agreed on; behind it lies nothing."""
    data = random.Random(0).randbytes(2000)
    receiver = deflate.PerMessageDeflate(False, True, 9, 15)
    receiver.decode(frame(0xC2, compressed(data)))
    compressor = zlib.compressobj(wbits=-15, zdict=data)
    payload = compressor.compress(data[:300]) + compressor.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(ProtocolError):
        receiver.decode(frame(0xC2, payload[:-4]))


# Limits


@each
@takeover
@pytest.mark.parametrize("size", [0, 1, 1000, 2**15, 2**16, 100_000])
@pytest.mark.parametrize("level", [0, 6])
def test_the_limit_is_exact(deflate: Any, forget: bool, size: int, level: int) -> None:
    data = random.Random(size).choices(b"abc", k=size)
    payload = compressed(bytes(data), level)
    whole = [frame(0xC2, payload)]
    third = len(payload) // 3
    parts = cut(payload, [third, third, 2 * third])
    for frames in [whole, fragments(BINARY, parts, RSV1)]:
        for limit in [size, size + 1, sys.maxsize - 1, sys.maxsize, 2**63, None]:
            receiver = extension(deflate, forget)
            assert received(receiver, frames, limit)[1] == bytes(data)
        if size:
            with pytest.raises(PayloadTooBig):
                received(extension(deflate, forget), frames, size - 1)


@each
@takeover
@pytest.mark.parametrize("n_frames", [1, 50])
def test_a_bomb(deflate: Any, forget: bool, n_frames: int) -> None:
    payload = compressed(bytes(2**26))
    size = len(payload)
    frames = fragments(
        BINARY, cut(payload, [i * size // n_frames for i in range(1, n_frames)]), RSV1
    )
    receiver = extension(deflate, forget)
    # Together with what the fragments before it may hold this stays below 4.
    assert peak_of_decoding(receiver, frames, 2**21) < 3.5 * 2**21


@each
@takeover
def test_a_bomb_with_final_blocks(deflate: Any, forget: bool) -> None:
    payload = final(bytes(2**20)) * 6 + final(bytes(2**25)) + b"\x00"
    receiver = extension(deflate, forget)
    frames = [frame(0xC2, payload)]
    assert peak_of_decoding(receiver, frames, 2**22) < 4 * 2**22
    for n in [2**20 - 1, 2**20, 2**20 + 1, 6 * 2**20, 7 * 2**20]:
        with pytest.raises(PayloadTooBig):
            extension(deflate, forget).decode(frames[0], max_size=n)


def peak_of_decoding(receiver: Any, frames: list[Frame], max_size: int) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooBig):
            for encoded in frames:
                decoded = receiver.decode(encoded, max_size=max_size)
                max_size -= len(decoded.payload)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Blocks with BFINAL=1


@each
@takeover
@given(
    st.lists(payloads(), min_size=1, max_size=8),
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(0, 100_000), max_size=3),
)
def test_streams_that_end_within_a_message(
    deflate: Any,
    forget: bool,
    parts: list[bytes],
    refer_back: bool,
    close: bool,
    cuts: list[int],
) -> None:
    receiver = extension(deflate, forget)
    before = b""
    for _ in range(2):
        payload = data = b""
        for part in parts:
            payload += final(part, (before + data)[-(2**15) :] if refer_back else b"")
            data += part
        if close:  # the octet that section 7.2.3.4 appends
            payload += b"\x00"
        frames = fragments(BINARY, cut(payload, cuts), RSV1)
        assert received(receiver, frames, len(data)) == (BINARY, data)
        before = b"" if forget else before + data


@each
def test_after_a_final_block_the_window_goes_on(deflate: Any) -> None:
    receiver = extension(deflate, False)
    assert receiver.decode(frame(0xC1, final(b"Hello") + b"\x00")).data == b"Hello"
    again = frame(0xC1, bytes.fromhex("f200110000"))
    assert receiver.decode(again).data == b"Hello"
    assert receiver.decode(again).data == b"Hello"


@each
@takeover
@pytest.mark.parametrize("fin", [FIN, 0])
def test_a_flood_of_final_blocks(
    deflate: Any, forget: bool, fin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(deflate.zlib)
    monkeypatch.setattr(deflate, "zlib", counting)
    block = b"\x03\x00"  # an empty one
    n_most = deflate.MAX_FINAL_BLOCKS
    receiver = extension(deflate, forget)
    decoded = receiver.decode(frame(fin | RSV1 | BINARY, block * n_most + b"\x00"))
    assert decoded.data == b""
    assert counting.inflaters == n_most + 1
    counting.inflaters = 0
    receiver = extension(deflate, forget)
    with pytest.raises(ProtocolError, match="too many final blocks"):
        receiver.decode(frame(fin | RSV1 | BINARY, block * 500_000))
    assert counting.inflaters == n_most + 1


# Compressors are shared


def test_compressors_come_back() -> None:
    compressors = imported.Compressors((5, zlib.DEFLATED, -15, 8, 0), 3)
    taken = [compressors.take() for _ in range(imported.MAX_IDLE + 2)]
    assert len(set(map(id, taken))) == len(taken)
    for compressor in taken:
        compressors.put(compressor)
    again = [compressors.take() for _ in taken]
    kept = [compressor for compressor in again if compressor in taken]
    assert len(kept) == imported.MAX_IDLE


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting(imported.zlib)
    monkeypatch.setattr(imported, "zlib", counting)
    # Not shared with other tests: they may have left compressors behind.
    monkeypatch.setattr(imported, "_shared", {})
    return counting


def n_made(counting: Counting) -> int:
    """How many compressors were made, but for the one that tries the settings."""
    return counting.compressors - 1


def test_connections_share_compressors(counting: Counting) -> None:
    for _ in range(20):
        sender = extension(imported)
        for part in [Frame(TEXT, "Hello"), *fragments(TEXT, [b"Hel", b"lo"])]:
            sender.encode(part)
    assert n_made(counting) == 1


def test_a_fragmented_message_holds_its_compressor(counting: Counting) -> None:
    one, other = extension(imported), extension(imported)
    first, last = fragments(TEXT, [b"Hel", b"lo"])
    frames = [one.encode(first)]
    for _ in range(3):
        assert other.encode(Frame(TEXT, "Hello")).payload == HELLO
    frames.append(one.encode(last))
    assert inflated(frames) == b"Hello"
    assert n_made(counting) == 2


@pytest.mark.parametrize("compress", [None, False])
def test_an_unfinished_message_keeps_its_compressor(
    counting: Counting, compress: bool | None
) -> None:
    """It has seen data that nobody may refer to: it is not used again."""
    sender = extension(imported)
    first, last = fragments(TEXT, [b"Hel", b"lo"])
    sender.encode(first)
    frames = [sender.encode(part, compress) for part in (first, last)]
    if compress is None:
        assert inflated(frames) == b"Hello"
    else:
        assert frames == [first, last]
    assert sender.encode(Frame(TEXT, "Hello")).payload == HELLO
    assert n_made(counting) == 2


@takeover
def test_a_compressor_that_fails_is_not_used_again(
    counting: Counting, forget: bool
) -> None:
    sender = extension(imported, forget)
    sender.encode(Frame(TEXT, "Hello"))
    with pytest.raises(TypeError):
        sender.encode(Frame(BINARY, [1, 2]))  # type: ignore[arg-type]
    assert sender.encode(Frame(TEXT, "Hello")).payload == HELLO
    assert n_made(counting) == 2
    first, last = fragments(TEXT, [b"Hel", b"lo"])
    sender.encode(first)
    with pytest.raises(TypeError):
        sender.encode(frame(CONT, [1, 2]))
    assert sender.encode(last) is last
    assert sender.encode(Frame(TEXT, "Hello")).payload == HELLO
    assert n_made(counting) == 3


def test_with_context_takeover_objects_are_made_on_first_use(
    counting: Counting,
) -> None:
    senders = [extension(imported, False) for _ in range(10)]
    assert (n_made(counting), counting.inflaters) == (0, 0)
    for _ in range(3):
        for sender in senders:
            sender.encode(Frame(TEXT, "Hello"))
    assert (n_made(counting), counting.inflaters) == (10, 0)


def test_shared_encoding() -> None:
    make = imported.PerMessageDeflate
    shared = make(True, True).shared_encoding()
    assert shared is not None
    assert {shared: 1}[make(False, True, 9, 15, {}).shared_encoding()] == 1
    others = [
        make(True, True, 15, 14),
        make(True, True, 15, 15, {"level": 9}),
        make(True, True, 15, 15, {"memLevel": 5}),
        make(True, True, 15, 15, {"strategy": 2}),
        make(True, True, 15, 15, None, 0),
    ]
    different = {shared, *(other.shared_encoding() for other in others)}
    assert len(different) == 6
    assert make(True, False).shared_encoding() is None


# Arguments


@each
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"remote_max_window_bits": 7}, ValueError),
        ({"remote_max_window_bits": 16}, ValueError),
        ({"remote_max_window_bits": "15"}, TypeError),
        ({"local_max_window_bits": 7}, ValueError),
        ({"local_max_window_bits": 16}, ValueError),
        ({"local_max_window_bits": None}, TypeError),
        ({"threshold": -1}, ValueError),
        ({"threshold": None}, TypeError),
        ({"compress_settings": {"wbits": -15}}, ValueError),
        ({"compress_settings": {"zdict": b"Hello"}}, ValueError),
        ({"compress_settings": {"level": 10}}, ValueError),
        ({"compress_settings": {"memLevel": 0}}, ValueError),
        ({"compress_settings": {"strategy": 5}}, ValueError),
        ({"compress_settings": {"level": "6"}}, TypeError),
        ({"compress_settings": {"level": None}}, TypeError),
        ({"compress_settings": 6}, TypeError),
    ],
)
@takeover
def test_arguments_are_checked(
    deflate: Any, forget: bool, change: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        deflate.PerMessageDeflate(forget, forget, **change)


def test_an_idle_connection_keeps_nothing() -> None:
    idle = extension(imported)
    big = bytes(range(256)) * 2000
    message = [Frame(BINARY, big), *fragments(BINARY, [big, big])]
    tracemalloc.start()
    try:
        for part in message:
            idle.encode(part)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            for part in message:
                idle.decode(idle.encode(part))
        assert tracemalloc.get_traced_memory()[0] - before < 2000
    finally:
        tracemalloc.stop()
