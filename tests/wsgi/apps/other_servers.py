"""A server without gevent's sockets: waitress or wsgiref, FD MODULE:APP."""

import importlib
import socket
import sys
from wsgiref.simple_server import WSGIServer, make_server

import waitress


kind, fd, name = sys.argv[1:]
module, _, attribute = name.partition(":")
app = getattr(importlib.import_module(module), attribute)
sock = socket.socket(fileno=int(fd))


class Inherited(WSGIServer):
    """wsgiref's server, on a socket that is there."""

    def server_bind(self) -> None:
        self.socket.close()
        self.socket = sock
        self.server_name, self.server_port = sock.getsockname()[:2]
        self.setup_environ()

    def server_activate(self) -> None:
        pass


if kind == "waitress":
    waitress.serve(app, sockets=[sock])
else:
    make_server("", 0, app, server_class=Inherited).serve_forever()
