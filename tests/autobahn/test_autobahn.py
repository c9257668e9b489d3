"""Every case of the Autobahn test suite, against `serve` and against `connect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from gevent.pool import Pool

from gws import ConnectionClosed, connect, serve


pytestmark = pytest.mark.usefixtures("leakcheck")

PEER = Path(__file__).with_name("peer.py")

#: How many cases each section has. A case that is missing has not passed.
SECTIONS = {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1}

#: How many cases each section has that is left out, and why it is.
EXCLUDED = {
    12: 90,  # permessage-deflate with context takeover: no compression yet
    13: 126,  # the parameters of permessage-deflate: no compression yet
}

#: The cases that RFC 6455 leaves open; any behaviour is as good.
INFORMATIONAL = {
    "7.1.6",  # a close frame right behind 256 KiB that are not all echoed
    "7.13.1",  # close code 5000, which nobody has defined
    "7.13.2",  # close code 65535, which nobody has defined
}

#: Sections that run together, of about the same duration.
GROUPS = [[1, 2, 3, 4, 5, 7, 10], [6], [9]]

#: How many cases run at once.
CONCURRENCY = 4

#: Section 9 sends messages of 16 MiB.
OPTIONS = {"max_size": 2**24, "compression": None}


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


@pytest.fixture(params=GROUPS, ids=lambda group: "-".join(map(str, group)))
def sections(request: pytest.FixtureRequest) -> list[int]:
    return request.param


@pytest.mark.timeout(150)
def test_server(sections: list[int], spawn_peer: Callable[..., Any]) -> None:
    with serve(echo, "127.0.0.1", 0, **OPTIONS) as server:
        host, port = server.sockets[0].getsockname()
        url = f"ws://{host}:{port}"
        peer = spawn_peer(
            PEER, "fuzzingclient", url, str(CONCURRENCY), *globs(sections)
        )
        verdicts = peer.hear()
    assert find_faults(verdicts, sections) == []


@pytest.mark.timeout(150)
def test_client(sections: list[int], spawn_peer: Callable[..., Any]) -> None:
    peer = spawn_peer(PEER, "fuzzingserver", *globs(sections))
    url = f"ws://127.0.0.1:{peer.hear()}"
    n_cases = count_cases(url)
    pool = Pool(CONCURRENCY)
    for index in range(1, n_cases + 1):
        pool.spawn(run_case, f"{url}/runCase?case={index}&agent=gws")
    pool.join(raise_error=True)
    with connect(f"{url}/updateReports?agent=gws") as ws:
        ws.wait_closed()
    assert find_faults(peer.hear(), sections) == []


def test_no_section_is_forgotten(spawn_peer: Callable[..., Any]) -> None:
    peer = spawn_peer(PEER, "fuzzingserver", "*")
    n_cases = count_cases(f"ws://127.0.0.1:{peer.hear()}")
    assert n_cases == sum(SECTIONS.values()) + sum(EXCLUDED.values())
    assert sorted(chain(*GROUPS)) == list(SECTIONS)


def globs(sections: list[int]) -> list[str]:
    return [f"{section}.*" for section in sections]


def count_cases(url: str) -> int:
    with connect(f"{url}/getCaseCount") as ws:
        return int(ws.recv())


def run_case(url: str) -> None:
    # That the case ends in an error is what many of them are about.
    try:
        with connect(url, **OPTIONS) as ws:
            echo(ws)
    except ConnectionClosed:
        pass


def find_faults(verdicts: list[dict[str, str]], sections: list[int]) -> list[str]:
    """Return what keeps the run from having passed; nothing is left unsaid."""
    n_verdicts = Counter(int(verdict["case"].split(".")[0]) for verdict in verdicts)
    faults = [
        f"section {section}: {n_verdicts[section]} cases, not {SECTIONS[section]}"
        for section in sections
        if n_verdicts[section] != SECTIONS[section]
    ]
    faults += [
        f"{case}: reported {n} times"
        for case, n in Counter(verdict["case"] for verdict in verdicts).items()
        if n > 1
    ]
    for verdict in verdicts:
        allowed = {"OK"}
        if verdict["case"] in INFORMATIONAL:
            allowed.add("INFORMATIONAL")
        if not {verdict["behavior"], verdict["close"]} <= allowed:
            faults.append(
                "{case}: {behavior}, close {close}. {words}".format(**verdict)
            )
    return faults
