"""Messages as the load generator sends them compressed, and what must come back.

Neither side may keep anything between messages: so all servers do the same work, and
the load generator can send the same bytes again and again.
"""

import json
import zlib
from pathlib import Path

from .processes import Failure


#: What the load generator asks for; a server that takes less is not measured.
OFFER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

#: A reply of this size must be compressed. Some servers leave shorter ones alone.
WORTH_IT = 1024


def message(size: int) -> bytes:
    """Return so many bytes of JSON, like a record of something that is traded."""
    records: list[dict[str, object]] = []
    while len(text := json.dumps(records)) < size:
        n = len(records)
        records.append(
            {"id": 7919 * n, "symbol": f"GWS{n % 7}", "price": 100 + n * 37 % 91 / 100}
        )
    return text[: size - 1].encode() + b"]"


def compress(data: bytes) -> bytes:
    """Return the payload of a compressed message (RFC 7692, section 7.2.1)."""
    compressor = zlib.compressobj(wbits=-15)
    payload = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return payload.removesuffix(b"\x00\x00\xff\xff")


def arguments(size: int, folder: Path) -> list[str]:
    """Return the load generator's arguments to send such a message."""
    path = folder / f"{size}.deflate"
    path.write_bytes(compress(message(size)))
    return ["--offer", OFFER, "--payload", str(path)]


def check(reply: str, compressed: bool, size: int) -> None:
    """Check the reply that all others were like.

    Raises:
        Failure: it is not what was sent, or was not compressed.
    """
    payload = bytes.fromhex(reply)
    if compressed:
        inflater = zlib.decompressobj(wbits=-15)
        payload = inflater.decompress(payload + b"\x00\x00\xff\xff")
    elif size >= WORTH_IT:
        raise Failure("the server does not compress what it sends")
    if payload != message(size):
        raise Failure("the server sent something else than it got")
