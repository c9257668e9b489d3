"""The echo server, over TLS.

    python examples/tls_server.py CERTIFICATE [KEY [PORT]]

For a try, make a certificate of your own:

    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout key.pem -out cert.pem
    python examples/tls_server.py cert.pem key.pem

and connect, trusting it:

    python examples/echo_client.py wss://localhost:8765 cert.pem
"""

import argparse
import signal
import ssl

import gevent

from gws import serve


def echo(ws):
    for message in ws:
        ws.send(message)


def main():
    parser = argparse.ArgumentParser(description="An echo server over TLS.")
    parser.add_argument("certificate", help="PEM file, the chain included")
    parser.add_argument("key", nargs="?", help="PEM file; if not in the same one")
    parser.add_argument("port", nargs="?", type=int, default=8765)
    args = parser.parse_args()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(args.certificate, args.key)
    with serve(echo, "localhost", args.port, ssl=context) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, server.close)
        port = server.sockets[0].getsockname()[1]
        print(f"Listening on wss://localhost:{port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
