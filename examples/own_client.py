"""A client of one's own: `gws.protocol` says what to send, a plain socket sends it.

    python examples/own_client.py [URI]

URI is ws://localhost:8765 if you don't say: the address of echo_server.py.
"""

import socket
import sys

from gws.protocol import ClientProtocol, State
from gws.protocol.uri import parse_uri


class Client:
    def __init__(self, uri):
        self.protocol = ClientProtocol(parse_uri(uri))
        self.sock = socket.create_connection(
            (self.protocol.uri.host, self.protocol.uri.port)
        )
        self.events = []
        self.protocol.send_request(self.protocol.connect())
        self.response = self.next_event()
        if self.protocol.handshake_exc is not None:
            raise self.protocol.handshake_exc

    def next_event(self):
        """Return the response, then one frame after the other; None at the end."""
        while not self.events and self.protocol.state is not State.CLOSED:
            self.flush()
            if data := self.sock.recv(65536):
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
            self.events = self.protocol.events_received()
        return self.events.pop(0) if self.events else None

    def flush(self):
        """Write what there is to send; an empty piece ends the stream."""
        for data in self.protocol.data_to_send():
            if data:
                self.sock.sendall(data)
            else:
                self.sock.shutdown(socket.SHUT_WR)


def main():
    client = Client(sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8765")
    client.protocol.send_text("hello")
    print(client.next_event())
    client.protocol.send_ping(b"there?")
    print(client.next_event())
    client.protocol.send_close(1000)
    while client.next_event() is not None:
        pass
    client.sock.close()
    print(client.protocol.close_exc)


if __name__ == "__main__":
    main()
