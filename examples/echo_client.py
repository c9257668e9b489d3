"""A client that says a few things and prints what comes back.

    python examples/echo_client.py [URI [CA]]

URI is ws://localhost:8765 if you don't say. For wss://, CA is a file with the
certificate to trust; without it those that your system trusts are.
"""

import ssl
import sys

from gws import connect


def main():
    uri = sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8765"
    context = ssl.create_default_context(cafile=sys.argv[2]) if sys.argv[2:] else None
    with connect(uri, ssl=context) as ws:
        for message in ["hello", "Grüß Gott, 世界", bytes(range(8))]:
            ws.send(message)
            print(f"> {message!r}")
            print(f"< {ws.recv()!r}")
        latency = ws.ping().get()
        print(f"A ping took {latency * 1000:.1f} ms.")


if __name__ == "__main__":
    main()
