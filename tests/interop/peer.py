"""A connection of the websockets library that does what it is told.

    peer.py connect URI [--ca PEM] [--unix PATH]
    peer.py serve [--cert PEM] [--unix PATH]        says its port; serves one client

A process of its own: the library's threads and gevent's hub do not mix. Each line
on stdin is a command, [name, *arguments] in JSON; each gets one line for an answer.
Bytes travel as {"hex": "..."}.
"""

import argparse
import json
import ssl
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect, unix_connect
from websockets.sync.server import serve, unix_serve


TIMEOUT = 30


def say(value):
    print(
        json.dumps(value, default=lambda data: {"hex": bytes(data).hex()}), flush=True
    )


def unpack(value):
    """Turn what JSON could carry into what it stands for."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    if isinstance(value, list):
        return [unpack(item) for item in value]
    return value


class Commands:
    """What the connection can be told. The names are the library's."""

    def __init__(self, ws):
        self.ws = ws

    def subprotocol(self):
        return self.ws.subprotocol

    def send(self, message):
        self.ws.send(message)

    def recv(self):
        return self.ws.recv(timeout=TIMEOUT)

    def recv_streaming(self):
        return list(self.ws.recv_streaming())

    def ping(self, data):
        """Send a ping; return whether its pong came."""
        return self.ws.ping(data).wait(TIMEOUT)

    def close(self, code, reason):
        self.ws.close(code, reason)

    def wait_closed(self):
        """Return the close code and reason that came."""
        try:
            self.ws.recv(timeout=TIMEOUT)
        except ConnectionClosed as closed:
            return closed.rcvd and [closed.rcvd.code, closed.rcvd.reason]
        return "a message"


def obey(ws):
    commands = Commands(ws)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        say(getattr(commands, name)(*map(unpack, arguments)))


def without_tickets(context):
    """Let threads share a TLS connection.

    websockets.sync reads in one thread and writes in another. OpenSSL does not allow
    that, and Python before 3.13 does not prevent it: with TLS 1.3, whose session
    tickets arrive while the request is written, one handshake in some thousands hangs.
    """
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def run_client(options):
    context = None
    if options.ca:
        context = without_tickets(ssl.create_default_context(cafile=options.ca))
    if options.unix:
        ws = unix_connect(options.unix, options.uri, ssl=context, **LIMITS)
    else:
        ws = connect(options.uri, ssl=context, proxy=None, **LIMITS)
    with ws:
        obey(ws)


def run_server(options):
    context = None
    if options.cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        without_tickets(context)
        context.load_cert_chain(options.cert)
    if options.unix:
        server = unix_serve(obey, options.unix, ssl=context, **LIMITS)
    else:
        server = serve(obey, "127.0.0.1", 0, ssl=context, **LIMITS)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say(None if options.unix else server.socket.getsockname()[1])
    threading.Event().wait()  # The test ends the process.


LIMITS = {"max_size": 2**24, "subprotocols": ["interop"]}

parser = argparse.ArgumentParser()
roles = parser.add_subparsers(required=True)
client = roles.add_parser("connect")
client.add_argument("uri")
client.add_argument("--ca")
client.set_defaults(run=run_client)
server = roles.add_parser("serve")
server.add_argument("--cert")
server.set_defaults(run=run_server)
for role in client, server:
    role.add_argument("--unix")
options = parser.parse_args()
options.run(options)
