"""Times the opening handshake without sockets: a request in, a response out.

    python benchmarks/micro/bench_handshake.py --fast

The request is a browser's. "Server" is all of its side: a new connection, the request
read and checked, the response in octets. "Both sides" adds a client of the same
library: its request, and its check of the response.
"""

from collections.abc import Callable

import pyperf
from common import REQUEST, bench, expect, optional

from gws.protocol import ClientProtocol, ServerProtocol
from gws.protocol.datastructures import Headers
from gws.protocol.handshake import build_response, check_request
from gws.protocol.http11 import Response, parse_request
from gws.protocol.uri import parse_uri


websockets = optional("websockets.server")
wsproto = optional("wsproto")

URI = "ws://chat.example.com/chat/lobby"
GWS_URI = parse_uri(URI)
KEY = check_request(parse_request(REQUEST).headers)

Server = Callable[[bytes], bytes]


def build() -> bytes:
    """Build the response that accepts the request, and nothing else."""
    headers = Headers()
    build_response(headers, KEY)
    return Response(101, "Switching Protocols", headers).serialize()


def gws_server(octets: bytes) -> bytes:
    """Answer a request by gws."""
    protocol = ServerProtocol()
    protocol.receive_data(octets)
    (request,) = protocol.events_received()
    protocol.send_response(protocol.accept(request))
    return b"".join(protocol.data_to_send())


def gws_both() -> bool:
    """Open a connection by gws, and say whether it is open."""
    client = ClientProtocol(GWS_URI)
    client.send_request(client.connect())
    client.receive_data(gws_server(b"".join(client.data_to_send())))
    return client.handshake_exc is None


def websockets_server(octets: bytes) -> bytes:
    """Answer a request by websockets."""
    assert websockets is not None  # `main` looked
    protocol = websockets.ServerProtocol()
    protocol.receive_data(octets)
    (request,) = protocol.events_received()
    protocol.send_response(protocol.accept(request))
    return b"".join(protocol.data_to_send())


def websockets_both() -> bool:
    """Open a connection by websockets, and say whether it is open."""
    from websockets.client import ClientProtocol
    from websockets.uri import parse_uri

    client = ClientProtocol(parse_uri(URI))
    client.send_request(client.connect())
    client.receive_data(websockets_server(b"".join(client.data_to_send())))
    return client.handshake_exc is None


def wsproto_server(octets: bytes) -> bytes:
    """Answer a request by wsproto, which has h11 read it."""
    assert wsproto is not None  # `main` looked
    connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    connection.receive_data(octets)
    next(connection.events())
    answer: bytes = connection.send(wsproto.events.AcceptConnection())
    return answer


def wsproto_both() -> bool:
    """Open a connection by wsproto, and say whether it is open."""
    assert wsproto is not None  # `main` looked
    client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    request = wsproto.events.Request(host="chat.example.com", target="/chat/lobby")
    client.receive_data(wsproto_server(client.send(request)))
    (event,) = client.events()
    return isinstance(event, wsproto.events.AcceptConnection)


def main() -> None:
    """Measure the parts of gws, then both sides of everybody."""
    runner = pyperf.Runner()
    expect(parse_request(REQUEST).path, "/chat/lobby")
    bench(runner, "parse a request", "gws", parse_request, REQUEST)
    bench(runner, "build a response", "gws", build)
    servers: list[tuple[str, Server, Callable[[], bool]]]
    servers = [("gws", gws_server, gws_both)]
    if websockets:
        servers.append(("websockets", websockets_server, websockets_both))
    if wsproto:
        servers.append(("wsproto", wsproto_server, wsproto_both))
    for library, server, both in servers:
        expect(server(REQUEST).partition(b"\r\n")[0][:12], b"HTTP/1.1 101")
        expect(both(), True)
        bench(runner, "opening handshake, server", library, server, REQUEST)
        bench(runner, "opening handshake, both sides", library, both)


if __name__ == "__main__":
    main()
