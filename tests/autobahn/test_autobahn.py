"""Every case of the Autobahn test suite, against `serve` and against `connect`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gevent.pool import Pool

from gws import ConnectionClosed, connect, serve
from gws.extensions import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)


pytestmark = pytest.mark.usefixtures("leakcheck")

PEER = Path(__file__).with_name("peer.py")

#: Sections 12 and 13 have groups of cases, and a case for each size of messages in
#: each group: 1 to 10 are 16 bytes to 128 KiB, 11 to 18 the larger ones in fragments.
#: A case is a thousand messages there and back.
DEFLATE_GROUPS, ALL_SIZES = {12: 5, 13: 7}, range(1, 19)

#: Whether all of them are run: `tox -e autobahn`.
EVERYTHING = os.environ.get("GWS_AUTOBAHN") == "all"
SIZES = ALL_SIZES if EVERYTHING else (1, 4, 11)

#: How many cases each section has. A case that is missing has not passed.
SECTIONS = {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1} | {
    section: n * len(SIZES) for section, n in DEFLATE_GROUPS.items()
}

#: How many cases each section has that is left out, and why it is.
EXCLUDED = {
    12: 90 - SECTIONS[12],  # the other sizes take minutes: see EVERYTHING
    13: 126 - SECTIONS[13],  # the same
}

#: The cases that RFC 6455 leaves open; any behaviour is as good.
INFORMATIONAL = {
    "7.1.6",  # a close frame right behind 256 KiB that are not all echoed
    "7.13.1",  # close code 5000, which nobody has defined
    "7.13.2",  # close code 65535, which nobody has defined
}


@dataclass(frozen=True)
class Run:
    """Sections that run together.

    Args:
        deflate: "off"; "default": nothing is kept between messages, and short ones
            are left alone; "all": context takeover, and whatever the peer asks for.
    """

    sections: list[int]
    deflate: str = "off"

    def __str__(self) -> str:
        return "-".join([*map(str, self.sections), self.deflate])

    def patterns(self) -> list[str]:
        """Return what kosoku is to run: ids of cases, or globs."""
        return [
            pattern
            for section in self.sections
            for pattern in (
                [
                    f"{section}.{group}.{size}"
                    for group in range(1, DEFLATE_GROUPS[section] + 1)
                    for size in self._sizes()
                ]
                if section in DEFLATE_GROUPS
                else [f"{section}.*"]
            )
        ]

    def count(self, section: int) -> int:
        """Return how many cases a section has in this run."""
        if section in DEFLATE_GROUPS:
            return DEFLATE_GROUPS[section] * len(self._sizes())
        return SECTIONS[section]

    def _sizes(self) -> list[int]:
        # kosoku takes an echo that is not compressed for an error of its own; by
        # default, gws compresses nothing below 256 bytes.
        return [size for size in SIZES if self.deflate == "all" or size > 2]

    def options(self, factory: Any, *terms: dict[str, Any]) -> dict[str, Any]:
        """Return the options of gws, where ``terms`` are what "all" stands for."""
        # Section 9 sends messages of 16 MiB.
        options = {"max_size": 2**24, "compression": None}
        if self.deflate == "default":
            options["compression"] = "deflate"
        elif self.deflate == "all":
            options["extensions"] = [factory(**each, threshold=0) for each in terms]
        return options

    def server_options(self) -> dict[str, Any]:
        return self.options(ServerPerMessageDeflateFactory, {})

    def client_options(self) -> dict[str, Any]:
        # Section 13 has servers that insist on the second offer.
        forget = {"client_no_context_takeover": True}
        return self.options(ClientPerMessageDeflateFactory, {}, forget)


#: Of about the same duration.
RUNS = [
    Run([1, 2, 3, 4, 5, 7, 10]),
    Run([6]),
    Run([9]),
    Run([12], "default"),
    Run([12], "all"),
    Run([13], "all"),
]

#: The seconds that a run may take: with all sizes, on a busy machine.
TIME_LIMIT = 3000 if EVERYTHING else 150

#: How many cases run at once. kosoku gives up on a case long before the 480 seconds
#: that it names: the large sizes need the processors for themselves.
CONCURRENCY = 2 if EVERYTHING else 4


def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


@pytest.fixture(
    params=[
        # What deflates is the same on both builds.
        pytest.param(
            run, id=str(run), marks=() if run.deflate == "off" else pytest.mark.once
        )
        for run in RUNS
    ]
)
def run(request: pytest.FixtureRequest) -> Run:
    return request.param


@pytest.mark.timeout(TIME_LIMIT)
def test_server(run: Run, spawn_peer: Callable[..., Any]) -> None:
    with serve(echo, "127.0.0.1", 0, **run.server_options()) as server:
        host, port = server.sockets[0].getsockname()
        url = f"ws://{host}:{port}"
        peer = spawn_peer(PEER, "fuzzingclient", url, str(CONCURRENCY), *run.patterns())
        verdicts = peer.hear()
    assert find_faults(verdicts, run) == []


@pytest.mark.timeout(TIME_LIMIT)
def test_client(run: Run, spawn_peer: Callable[..., Any]) -> None:
    peer = spawn_peer(PEER, "fuzzingserver", *run.patterns())
    url = f"ws://127.0.0.1:{peer.hear()}"
    n_cases = count_cases(url)
    pool = Pool(CONCURRENCY)
    for index in range(1, n_cases + 1):
        case = f"{url}/runCase?case={index}&agent=gws"
        pool.spawn(run_case, case, run.client_options())
    pool.join(raise_error=True)
    with connect(f"{url}/updateReports?agent=gws") as ws:
        ws.wait_closed()
    assert find_faults(peer.hear(), run) == []


def test_no_section_is_forgotten(spawn_peer: Callable[..., Any]) -> None:
    peer = spawn_peer(PEER, "fuzzingserver", "*")
    n_cases = count_cases(f"ws://127.0.0.1:{peer.hear()}")
    assert n_cases == sum(SECTIONS.values()) + sum(EXCLUDED.values())
    assert {section for run in RUNS for section in run.sections} == set(SECTIONS)


def count_cases(url: str) -> int:
    with connect(f"{url}/getCaseCount") as ws:
        return int(ws.recv())


def run_case(url: str, options: dict[str, Any]) -> None:
    # That the case ends in an error is what many of them are about.
    try:
        with connect(url, **options) as ws:
            echo(ws)
    except ConnectionClosed:
        pass


def find_faults(verdicts: list[dict[str, str]], run: Run) -> list[str]:
    """Return what keeps the run from having passed; nothing is left unsaid."""
    n_verdicts = Counter(int(verdict["case"].split(".")[0]) for verdict in verdicts)
    faults = [
        f"section {section}: {n_verdicts[section]} cases, not {run.count(section)}"
        for section in run.sections
        if n_verdicts[section] != run.count(section)
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
