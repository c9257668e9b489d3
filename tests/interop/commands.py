"""What the peers have in common: they do what they are told, line by line.

Each line on stdin is a command, [name, *arguments] in JSON; each gets one line for
an answer. Bytes travel as {"hex": "..."}. One process serves many tests, with one
connection at a time: ["serve", options] or ["connect", uri, options] begins it,
["end"] ends it, whatever it is doing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any


#: Seconds that a command may wait for what must come.
TIMEOUT = 30

#: A mebibyte in hexadecimal digits, and then some.
LONGEST_LINE = 2**22


class Library:
    """What a peer can be told. An option that is not there is None.

    Options: ``deflate``: the parameters of permessage-deflate, by their names in
    RFC 7692, as far as the library can be given them; ``unix``: a path instead of a
    port; ``ca``, ``cert``: PEM files, to speak TLS.
    """

    async def serve(self, options: dict[str, Any]) -> int | None:
        """Listen; return the port. The other commands wait for the client."""
        raise NotImplementedError

    async def connect(self, uri: str, options: dict[str, Any]) -> None:
        raise NotImplementedError

    async def subprotocol(self) -> str | None:
        raise NotImplementedError

    async def send(self, message: str | bytes) -> None:
        raise NotImplementedError

    async def send_fragments(self, fragments: list[str] | list[bytes]) -> None:
        """Send one message in so many frames or more, with pings between them."""
        raise NotImplementedError

    async def recv(self) -> str | bytes:
        raise NotImplementedError

    async def ping(self, data: str) -> bool:
        """Send a ping; return whether its pong came."""
        raise NotImplementedError

    async def close(self, code: int, reason: str) -> None:
        raise NotImplementedError

    async def wait_closed(self) -> list[Any] | None:
        """Return the close code and reason that came."""
        raise NotImplementedError

    async def vanish(self) -> None:
        """End the TCP connection without a close frame."""
        raise NotImplementedError

    async def end(self) -> None:
        """Let go of connection and server."""
        raise NotImplementedError


def obey(library: Library) -> None:
    """Carry out what stdin says until it ends."""
    asyncio.run(_obey(library))


async def _obey(library: Library) -> None:
    stdin = asyncio.StreamReader(LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin
    )
    running: set[asyncio.Task[None]] = set()
    async for line in stdin:
        name, *arguments = json.loads(line)
        if name == "end":
            for task in running:
                task.cancel()
            await library.end()
            say("the end")
        else:
            command = getattr(library, name)(*map(unpack, arguments))
            task = asyncio.create_task(answer(command))
            running.add(task)
            task.add_done_callback(running.discard)


async def answer(command: Any) -> None:
    try:
        async with asyncio.timeout(TIMEOUT):
            say(await command)
    except Exception as exc:
        say({"error": repr(exc)})


def say(value: Any) -> None:
    print(
        json.dumps(value, default=lambda data: {"hex": bytes(data).hex()}), flush=True
    )


def unpack(value: Any) -> Any:
    """Turn what JSON could carry into what it stands for."""
    if isinstance(value, dict) and "hex" in value:
        return bytes.fromhex(value["hex"])
    if isinstance(value, list):
        return [unpack(item) for item in value]
    return value
