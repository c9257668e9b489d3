"""Who takes part: name, program and the packages it needs; out: who is installed."""

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path


HERE = Path(__file__).parent

#: The name under which the C programs run: the limit, no library at all.
LIMIT = "c"

#: gws: by itself, and inside another server.
OURS = {"gws", "gws-pywsgi"}

#: The servers that compress; they take "deflate" as an argument.
DEFLATING = {"gws", "aiohttp", "websockets", "uvicorn"}


@dataclass(frozen=True)
class Contender:
    """A server or client program; `script` is None for the C one."""

    name: str
    title: str
    script: Path | None
    modules: tuple[str, ...]  #: what must be importable
    distributions: tuple[str, ...]  #: whose versions are reported
    rows: tuple[str, ...] = ()  #: where it takes part; () is in all

    def missing(self) -> list[str]:
        """Return the modules it needs that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]

    def versions(self) -> list[str]:
        """Return what is measured, like "picows 2.3.1" and "uvloop 0.23.0"."""
        return [text for text in map(version, self.distributions) if text]


def version(distribution: str) -> str:
    """Return name and version of an installed distribution, "" if there is none."""
    if distribution == "gevent-gws":
        return gws_version()
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def gws_version() -> str:
    """Return gws' version and which of its two builds is measured."""
    gws, number = map(importlib.import_module, ("gws", "gws.version"))
    return f"gws {number.version} ({'compiled' if gws.COMPILED else 'interpreted'})"


def contender(
    role: str, name: str, title: str, modules: str, distributions: str, rows: str = ""
) -> Contender:
    """Describe `servers/NAME_server.py` or `clients/NAME_client.py`.

    Modules, distributions and rows are separated by spaces.
    """
    script = HERE / f"{role}s" / f"{name.replace('-', '_')}_{role}.py"
    return Contender(
        name,
        title,
        None if name == LIMIT else script,
        tuple(modules.split()),
        tuple(distributions.split()),
        tuple(rows.split()),
    )


# (name, title, modules, distributions, rows)
SERVERS = [
    contender("server", *row)
    for row in [
        ("gws", "gws", "gws", "gevent-gws gevent greenlet"),
        # Once a connection is open it is one of gws: the rest would tell nothing new.
        ("gws-pywsgi", "gws in pywsgi", "gws", "", "echo1 echo8 connect idle"),
        (LIMIT, "C epoll", "", ""),
        ("picows", "picows", "picows uvloop", "picows aiofastnet uvloop"),
        ("aiohttp", "aiohttp", "aiohttp uvloop", "aiohttp"),
        ("websockets", "websockets", "websockets uvloop", "websockets"),
        ("uvicorn", "uvicorn", "uvicorn websockets httptools uvloop", "uvicorn"),
        (
            "gevent-websocket",
            "gevent-websocket",
            "geventwebsocket",
            "gevent-websocket wsaccel",
        ),
        (
            "simple-websocket",
            "simple-websocket",
            "simple_websocket gevent",
            "simple-websocket wsproto",
        ),
    ]
]

CLIENTS = [
    contender("client", *row)
    for row in [
        ("gws", "gws", "gws", "gevent-gws"),
        (LIMIT, "C epoll", "", ""),
        ("picows", "picows", "picows uvloop", "picows"),
        ("aiohttp", "aiohttp", "aiohttp uvloop", "aiohttp"),
        ("websockets", "websockets asyncio", "websockets uvloop", "websockets"),
        ("websockets-sync", "websockets sync", "websockets", "websockets"),
        (
            "websocket-client",
            "websocket-client",
            "websocket gevent",
            "websocket-client",
        ),
    ]
]
