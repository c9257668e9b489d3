"""Who takes part: programs and what they need; out: who can run here, and why not."""

import ctypes
import importlib
import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import node
from .rows import Need, Row


HERE = Path(__file__).parents[1]

#: The name under which the C programs run: the limit, no library at all.
LIMIT = "c"

#: What gws is in another server: once a connection is open it is one of gws.
NOTHING_NEW = "once a connection is open, it is gws"


@dataclass(frozen=True)
class Contender:
    """A server or client program."""

    name: str
    title: str
    role: str  #: "server" or "client"
    script: Path | None  #: None: the C program
    modules: tuple[str, ...] = ()  #: of Python, that must be importable
    distributions: tuple[str, ...] = ()  #: whose versions are reported
    language: str = "Python"
    libraries: tuple[str, ...] = ()  #: shared ones that the system must have
    packages: tuple[str, ...] = ()  #: of npm, NAME@VERSION
    cannot: dict[Need, str] = field(default_factory=dict)  #: and why not
    rows: tuple[str, ...] = ()  #: the only ones where it tells something new; () is all

    def missing(self) -> list[str]:
        """Return what it needs that is not installed."""
        return [
            *(name for name in self.modules if not importlib.util.find_spec(name)),
            *(node.missing() if self.packages else ()),
            *(name for name in self.libraries if not loads(name)),
        ]

    def absent(self, row: Row) -> str:
        """Return why it has no part in a row, "" if it has."""
        if self.rows and row.name not in self.rows:
            return NOTHING_NEW
        return next((why for need, why in self.cannot.items() if need in row.needs), "")

    def command(self, folder: Path) -> list[str]:
        """Return what runs it; the C programs are in the folder."""
        if self.script is None:
            return [str(folder / "epoll_echo")]
        if self.script.suffix == ".js":
            return [node.node() or "node", str(self.script)]
        return [sys.executable, str(self.script)]

    def versions(self) -> dict[str, str]:
        """Return the versions of what is measured."""
        found = {name: version_of(name) for name in self.distributions}
        return {name: version for name, version in found.items() if version}


def loads(library: str) -> bool:
    """Return whether the system has a shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution, "" if there is none.

    Of gws it is that of what is imported, and which of its builds.
    """
    if distribution == "gws":
        gws, number = map(importlib.import_module, ("gws", "gws.version"))
        return f"{number.version} ({'compiled' if gws.COMPILED else 'interpreted'})"
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def python(
    role: str,
    name: str,
    title: str,
    modules: str,
    distributions: str,
    *,
    cannot: dict[Need, str] | None = None,
    rows: tuple[str, ...] = (),
) -> Contender:
    """Describe `servers/NAME_server.py` or `clients/NAME_client.py`.

    Modules and distributions are separated by spaces.
    """
    return Contender(
        name,
        title,
        role,
        HERE / f"{role}s" / f"{name.replace('-', '_')}_{role}.py",
        tuple(modules.split()),
        tuple(distributions.split()),
        cannot=cannot or {},
        rows=rows,
    )


def of_my_own(script: Path) -> Contender:
    """Describe a server that somebody has written: it gets a port, and echoes at /."""
    no = "it was not asked to"
    cannot: dict[Need, str] = {"tls": no, "deflate": no, "fan-out": no}
    return Contender(script.name, script.name, "server", script, cannot=cannot)


NO_DEFLATE = "it has no compression"

SERVERS = [
    python("server", "gws", "gws", "gws", "gws gevent greenlet"),
    python(
        "server",
        "gws-pywsgi",
        "gws in pywsgi",
        "gws",
        "",
        rows=("echo-64-1", "echo-64-8", "connect", "idle-15000"),
    ),
    Contender(
        LIMIT,
        "C epoll",
        "server",
        None,
        language="C",
        cannot={
            "tls": "it echoes, no more",
            "deflate": "the same",
            "fan-out": "the same",
        },
    ),
    python(
        "server",
        "picows",
        "picows",
        "picows uvloop",
        "picows aiofastnet uvloop",
        cannot={"deflate": NO_DEFLATE},
    ),
    python("server", "aiohttp", "aiohttp", "aiohttp uvloop", "aiohttp"),
    python("server", "websockets", "websockets", "websockets uvloop", "websockets"),
    python(
        "server", "uvicorn", "uvicorn", "uvicorn websockets httptools uvloop", "uvicorn"
    ),
    python(
        "server",
        "tornado",
        "tornado",
        "tornado uvloop",
        "tornado",
        cannot={"deflate": "it ignores server_no_context_takeover"},
    ),
    python(
        "server",
        "gevent-websocket",
        "gevent-websocket",
        "geventwebsocket",
        "gevent-websocket wsaccel",
        cannot={"deflate": NO_DEFLATE},
    ),
    python(
        "server",
        "simple-websocket",
        "simple-websocket",
        "simple_websocket gevent",
        "simple-websocket wsproto",
    ),
    Contender(
        "uwebsockets",
        "uWebSockets (socketify)",
        "server",
        HERE / "servers" / "uwebsockets_server.py",
        ("socketify",),
        ("socketify",),
        language="C++ from Python",
        # Its wheel brings uWebSockets, and needs this of the system.
        libraries=("libuv.so.1",),
    ),
    Contender(
        "ws",
        "Node's ws",
        "server",
        HERE / "servers" / "ws_server.js",
        language="JavaScript",
        packages=("ws@8", "bufferutil@4"),
    ),
]

CLIENTS = [
    python("client", "gws", "gws", "gws", "gws gevent greenlet"),
    Contender(LIMIT, "C epoll", "client", None, language="C"),
    python("client", "picows", "picows", "picows uvloop", "picows aiofastnet uvloop"),
    python("client", "aiohttp", "aiohttp", "aiohttp uvloop", "aiohttp"),
    python("client", "websockets", "websockets", "websockets uvloop", "websockets"),
    python("client", "websockets-sync", "websockets sync", "websockets", "websockets"),
    python(
        "client",
        "websocket-client",
        "websocket-client",
        "websocket gevent",
        "websocket-client",
    ),
]
