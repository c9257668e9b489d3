"""With and without monkey-patching, patched late, and on each of gevent's loops.

gws asks for none of it: its sockets wait in the hub by themselves. What is not
patched blocks only where the application calls it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..program import Program


pytestmark = [pytest.mark.usefixtures("leakcheck"), pytest.mark.once]

#: What comes before the program.
PATCHES = {
    "unpatched": "",
    "patched": "from gevent import monkey; monkey.patch_all()",
    "threads are not": "from gevent import monkey; monkey.patch_all(thread=False)",
    "sockets are not": "from gevent import monkey; monkey.patch_all(socket=False)",
    "patched late": """
import gws, gws.client, gws.server, gws.wsgi
from gevent import monkey; monkey.patch_all(ssl=False)
""",
    "ssl patched late": """
import warnings; warnings.simplefilter("ignore")
import ssl, gws, gws.client, gws.server, gws.wsgi
from gevent import monkey; monkey.patch_all()
""",
}

#: Echoes over TCP, over TLS, and with a handler that works in the thread pool; a
#: connection is killed by a timeout, and one is closed by the server.
PROGRAM = """
import logging, ssl, sys
import gevent, gevent.threadpool
import gws

logging.basicConfig(level=logging.WARNING)

def handler(ws):
    for message in ws:
        if message == "pool":
            message = gevent.get_hub().threadpool.apply(str.upper, (message,))
        if message == "leave":
            return
        ws.send(message)

def try_out(scheme, **tls):
    here = dict(ssl=tls["server"]) if tls else {}
    there = dict(ssl=tls["client"]) if tls else {}
    with gws.serve(handler, "127.0.0.1", 0, **here) as server:
        port = server.sockets[0].getsockname()[1]
        uri = f"{scheme}://localhost:{port}/"
        def echo(n):
            with gws.connect(uri, **there) as ws:
                for i in range(20):
                    ws.send(f"{n} {i}" * 1000)
                    assert ws.recv(timeout=10) == f"{n} {i}" * 1000
                ws.send("pool")
                assert ws.recv(timeout=10) == "POOL"
                try:
                    ws.recv(timeout=0.01)
                except TimeoutError:
                    ws.send("leave")
                try:
                    ws.recv(timeout=10)
                except gws.ConnectionClosedOK:
                    return "ok"
        jobs = [gevent.spawn(echo, n) for n in range(5)]
        assert [job.get() for job in jobs] == ["ok"] * 5
        assert not server.connections or server.wait_closed(0) is False

folder = sys.argv[1]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(f"{folder}/server.pem")
with gevent.Timeout(15):
    try_out("ws")
    client = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    try_out("wss", server=context, client=client)
print(type(gevent.get_hub().loop).__module__, flush=True)
"""

LOOPS = {
    "libev-cext": "gevent.libev.corecext",
    "libev-cffi": "gevent.libev.corecffi",
    "libuv-cffi": "gevent.libuv.loop",
}


def run(tls_files: Path, patch: str, **environ: str) -> str:
    """Run the program; return the module of its loop."""
    options = {"env": {**os.environ, **environ}}
    with Program("-c", PATCHES[patch] + PROGRAM, tls_files, **options) as program:
        code, out, err = program.end()
    assert (code, err) == (0, "")
    return out.strip()


@pytest.mark.parametrize("patch", PATCHES)
def test_s20_patched_or_not(tls_files: Path, patch: str) -> None:
    assert run(tls_files, patch)


@pytest.mark.parametrize("patch", ["unpatched", "patched"])
@pytest.mark.parametrize("loop", LOOPS)
def test_s20_loops(tls_files: Path, loop: str, patch: str) -> None:
    pytest.importorskip(LOOPS[loop])
    assert run(tls_files, patch, GEVENT_LOOP=loop) == LOOPS[loop]
