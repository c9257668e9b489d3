"""Who takes part: name, how it is started and what it needs; out: who is installed."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path


SERVERS = Path(__file__).parent / "servers"

#: gws; and with which history it comes a second time.
OURS = "gws"
HISTORY = 100


@dataclass(frozen=True)
class Peer:
    """A server program, as one process or several that share Redis."""

    name: str
    title: str
    script: str
    modules: tuple[str, ...]  #: what must be importable
    distributions: tuple[str, ...]  #: whose versions are reported
    socketio: bool = False  #: it speaks Socket.IO
    history: int = 0
    arguments: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Return the modules it needs that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]

    @property
    def is_served_by_gws(self) -> bool:
        """Whether `gws serve` starts its processes; else it shares the port itself."""
        return self.script == "gws_server"

    def commands(self, port: int, workers: int, bus: str) -> list[list[str]]:
        """Return what to start."""
        if self.is_served_by_gws:
            options = ["--workers", str(workers), "--bind", f"127.0.0.1:{port}"]
            return [[sys.executable, "-m", "gws", "serve", *self._named(), *options]]
        script = str(SERVERS / f"{self.script}.py")
        tail = [*self.arguments, *([bus] if bus else [])]
        return [[sys.executable, script, str(port), *tail]] * workers

    def environment(self, bus: str) -> dict[str, str]:
        """Return what it is told by variables."""
        return {"GWS_BUS": bus, "GWS_HISTORY": str(self.history)}

    def _named(self) -> list[str]:
        return [f"{self.script}:handler"]


#: Over Redis, in several processes.
PEERS = [
    Peer(
        OURS,
        "gws",
        "gws_server",
        ("gws", "redis", "gunicorn"),
        ("gws", "gevent", "gunicorn", "redis", "hiredis"),
    ),
    Peer(
        "gws-history",
        f"gws, history={HISTORY}",
        "gws_server",
        ("gws", "redis", "gunicorn"),
        (),
        history=HISTORY,
    ),
    Peer(
        "websockets",
        "websockets",
        "websockets_server",
        ("websockets", "uvloop", "redis", "hiredis"),
        ("websockets", "uvloop"),
    ),
    Peer(
        "socketio",
        "python-socketio",
        "socketio_server",
        ("socketio", "uvicorn", "httptools", "uvloop", "websockets", "redis"),
        ("python-socketio", "python-engineio", "uvicorn"),
        socketio=True,
    ),
    Peer(
        "flask-socketio",
        "Flask-SocketIO",
        "flask_socketio_server",
        ("flask_socketio", "geventwebsocket", "gevent", "redis"),
        ("Flask-SocketIO", "gevent-websocket"),
        socketio=True,
    ),
]

#: In one process, without Redis.
ALONE = [
    Peer("gws", "rooms.publish", "gws_one_server", ("gws",), (), arguments=("rooms",)),
    Peer(
        "gws-broadcast",
        "gws.broadcast",
        "gws_one_server",
        ("gws",),
        (),
        arguments=("broadcast",),
    ),
    Peer(
        "websockets",
        "websockets",
        "websockets_one_server",
        ("websockets", "uvloop"),
        (),
    ),
    Peer("picows", "picows", "picows_one_server", ("picows", "uvloop"), ("picows",)),
]
