"""Werkzeug's development server, made cooperative: FD MODULE:APP."""

from gevent import monkey


monkey.patch_all()

import importlib  # noqa: E402
import sys  # noqa: E402

from werkzeug.serving import make_server  # noqa: E402


fd, name = sys.argv[1:]
module, _, attribute = name.partition(":")
app = getattr(importlib.import_module(module), attribute)
make_server("127.0.0.1", 0, app, threaded=True, fd=int(fd)).serve_forever()
