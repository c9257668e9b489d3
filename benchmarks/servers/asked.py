"""What a server program is told: `NAME_server.py PORT [deflate] [tls=FILE]`.

FILE is a certificate and its key, PEM. Each server echoes at /, and at /fanout sends
each message to all that are connected there; without keepalive, and without
compression unless it is told to.
"""

from __future__ import annotations

import ssl
import sys


PORT = int(sys.argv[1])
DEFLATE = "deflate" in sys.argv[2:]
CERTIFICATE = next(
    (word.removeprefix("tls=") for word in sys.argv[2:] if word.startswith("tls=")),
    None,
)


def tls_context() -> ssl.SSLContext | None:
    """Return what the server shows its clients; None: it serves plain TCP."""
    if CERTIFICATE is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context
