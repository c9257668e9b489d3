"""An extension of one's own: each frame carries a checksum, and is refused without.

    python examples/extension.py

A server and a client, in one process, agree on it in the opening handshake.
"""

import zlib

from gws import ProtocolError, connect, serve
from gws.extensions import ClientExtensionFactory, Extension, ServerExtensionFactory
from gws.protocol.frames import Frame


NAME = "x-checksum"


class Checksum(Extension):
    name = NAME

    def encode(self, frame, compress=None):
        data = frame.data
        return Frame(frame.opcode, data + checksum(data), frame.fin)

    def decode(self, frame, *, max_size=None):
        data, found = frame.data[:-4], frame.data[-4:]
        if found != checksum(data):
            raise ProtocolError("wrong checksum")
        return Frame(frame.opcode, data, frame.fin)


def checksum(data):
    return zlib.crc32(data).to_bytes(4, "big")


class ClientChecksumFactory(ClientExtensionFactory):
    name = NAME

    def get_request_params(self):
        return []

    def process_response_params(self, params, accepted_extensions):
        return Checksum()


class ServerChecksumFactory(ServerExtensionFactory):
    name = NAME

    def process_request_params(self, params, accepted_extensions):
        return [], Checksum()


def echo(ws):
    for message in ws:
        ws.send(message)


def main():
    server = serve(
        echo,
        "localhost",
        0,
        extensions=[ServerChecksumFactory()],
        compression=None,
    )
    with server:
        port = server.sockets[0].getsockname()[1]
        client = connect(
            f"ws://localhost:{port}",
            extensions=[ClientChecksumFactory()],
            compression=None,
        )
        with client as ws:
            print("agreed:", ws.response.headers["Sec-WebSocket-Extensions"])
            ws.send("hello")
            print("echoed:", ws.recv())


if __name__ == "__main__":
    main()
