"""Files come in, as large as they like, and none is ever held in memory.

    python examples/upload/server.py [PORT] [--folder PATH] [--max-size BYTES]

and open the address that it prints, or run upload.py beside this. The page at / is
plain HTTP; the WebSocket is at /upload?name=NAME&size=BYTES, a connection for each
file. The client sends what is in the file in Binary messages, as many as it likes: a
page, which can't send fragments, sends slices; upload.py sends one message of many
fragments. The server says, in JSON,

    {"received": n}                              at first, and as bytes are on the disk
    {"received": size, "sha256": digest,         in the end; the name is the one under
     "name": name}                               which the file is kept

or closes the connection and says why. A file that is not whole is not kept.
"""

import argparse
import hashlib
import json
import os
import signal
import tempfile
import unicodedata
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import gevent

from gws import Router, serve


MAX_SIZE = 2**30

#: Bytes of a fragment, or of a message that is not fragmented: these are held whole.
MAX_FRAGMENT = 2**18

#: How many of them may wait.
MAX_QUEUE = 4

#: The server says what it has after so many bytes.
REPORT_EVERY = 2**18

#: Bytes of a name; most file systems take 255.
MAX_NAME = 120

#: Seconds without a message after which a client is not waited for any longer.
IDLE_TIMEOUT = 30


class Refused(Exception):
    """The file is not taken."""

    close_code = 1008


class TooLarge(Refused):
    """It has more bytes than it may."""

    close_code = 1009


class Uploads:
    """The folder, and the router to it."""

    def __init__(self, folder, max_size):
        self.folder = Path(folder)
        self.max_size = max_size
        self.router = Router(process_request=answer)
        limits = {
            "max_size": (max_size, MAX_FRAGMENT),
            "max_queue": MAX_QUEUE,
            "idle_timeout": IDLE_TIMEOUT,
            "compression": None,  # most large files are compressed
        }
        self.router.route("/upload", **limits)(self.handle)

    def handle(self, ws):
        try:
            name, size = self.read_query(ws.request.path)
            # Whatever happens, at the end of the "with" it is gone.
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".") as file:
                digest = receive(ws, file, size)
                file.flush()
                kept = keep(file.name, self.folder / name)
            done = {"received": size, "sha256": digest, "name": kept}
            ws.send(json.dumps(done))
        except Refused as exc:
            ws.close(exc.close_code, str(exc))

    def read_query(self, path):
        """Return the name that a file may have, and how large it will be."""
        query = parse_qs(urlsplit(path).query, errors="replace")
        name, size = (query.get(field, [""])[0] for field in ("name", "size"))
        if not (size.isascii() and size.isdigit() and len(size) < 20):
            raise Refused("size is no number of bytes")
        if int(size) > self.max_size:
            raise TooLarge(f"at most {self.max_size} bytes are taken")
        return safe_name(name), int(size)


def receive(ws, file, size):
    """Write what comes to a file, piece by piece; return its SHA-256."""
    digest = hashlib.sha256()
    received = reported = 0
    ws.send(json.dumps({"received": 0}))
    while received < size:
        for piece in ws.recv_streaming():
            if isinstance(piece, str):
                raise Refused("a file comes in Binary messages")
            received += len(piece)
            if received > size:
                raise TooLarge(f"{size} bytes were announced, and more came")
            # Here, in no thread: nothing comes in while it is written, so nothing
            # gathers in memory, however slow the disk is.
            file.write(piece)
            digest.update(piece)
            if received - reported >= REPORT_EVERY:
                reported = received
                ws.send(json.dumps({"received": received}))
    return digest.hexdigest()


# Names


def safe_name(name):
    """Return a name for a file in our folder: no other folder, nothing hidden."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").split("/")[-1]
    name = "".join(char if is_harmless(char) else "_" for char in name).strip(" .")
    stem, suffix = os.path.splitext(name)
    return cut(stem, MAX_NAME - 20) + cut(suffix, 20) or "file"


def is_harmless(char):
    return char.isalnum() or char in " ._-()"


def cut(text, n):
    """Return as much of a text as fits into n bytes."""
    return text.encode()[:n].decode(errors="ignore")


def keep(path, wanted):
    """Give a file the name that is wanted, or one like it; return which."""
    for n in range(1, 1000):
        name = wanted.name if n == 1 else f"{wanted.stem} ({n}){wanted.suffix}"
        try:
            os.link(path, wanted.with_name(name))  # never takes the place of another
        except FileExistsError:
            continue
        return name
    raise Refused("there are a thousand files of that name")


# The page

PAGE = Path(__file__).with_name("page.html").read_bytes()
PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    # What is in the page, and the WebSocket; nothing from elsewhere.
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src data:; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def answer(ws, request):
    """Answer plain requests; None leaves the rest to the router."""
    if request.path.partition("?")[0] == "/":
        return 200, PAGE_HEADERS, PAGE
    return None


def main():
    parser = argparse.ArgumentParser(description="Take files, and keep them.")
    parser.add_argument("port", type=int, nargs="?", default=8765)
    parser.add_argument("--folder", metavar="PATH", default="uploads")
    parser.add_argument("--max-size", metavar="BYTES", type=int, default=MAX_SIZE)
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    router = Uploads(args.folder, args.max_size).router
    with serve(router, "localhost", args.port, max_connections=100) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        port = server.sockets[0].getsockname()[1]
        print(f"Open http://localhost:{port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
