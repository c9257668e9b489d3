"""Who a request comes from, who it says it is, and headers that are ours to send."""

from __future__ import annotations

import base64
import logging
import re
from typing import Any

import pytest

from gws import basic_auth
from gws.testing import request
from gws.testing.octets import HANDSHAKE, header

from .conftest import Run, Site, Sites


#: Origins that pages of other sites have, for a request to good.example. All come with
#: the cookies of the user, whom the page has not asked.
FOREIGN = [
    "null",
    "https://evil.example",
    "https://good.example.evil.example",
    "https://evilgood.example",
    "https://good.example@evil.example",
    "https://evil.example/good.example",
    "https://evil.example?good.example",
    "https://evil.example#good.example",
    "https://good.example:8443",
    "https://sub.good.example",
    "https://good.example.",
    "https://good.exampl",
    "https://good_example",
    "https://[good.example]",
    "https://good.example https://good.example",
    "https://good.example, https://evil.example",
    "//good.example",
    "good.example",
    "https:good.example",
    "file://good.example",
    "chrome-extension://good.example",
    "javascript://good.example",
    "",
]

#: Origins that are the same as https://good.example, or as http://good.example.
SAME = [
    "https://good.example",
    "https://good.example:443",
    "HTTPS://GOOD.EXAMPLE",
    "https://good.example:",
]


def from_page(origin: str, host: str = "good.example", extra: str = "") -> bytes:
    asked = f"{HANDSHAKE}Cookie: session=1\r\nOrigin: {origin}\r\n{extra}"
    return request("/", asked, host=host)


def check_refused(site: Site, data: bytes, status: str = "403") -> None:
    answer = site.refuse(data)
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert site.runs == []


def check_accepted(site: Site, data: bytes) -> None:
    with site.peer() as peer:
        peer.ask(data)
        peer.send_close(1000)
        peer.receive_close()


def test_h14_pages_of_other_sites(site: Site) -> None:
    for origin in FOREIGN:
        check_refused(site, from_page(origin))
        # A forwarded host of somebody who is not trusted changes nothing.
        lines = "X-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n"
        check_refused(site, from_page(origin, extra=lines))


def test_h14_pages_of_our_own(site: Site) -> None:
    for origin in SAME:
        check_accepted(site, from_page(origin, "good.example:443"))
    for origin in ("http://good.example", "http://good.example:80"):
        check_accepted(site, from_page(origin))
    # TLS may end at a proxy: the scheme is not compared.
    check_accepted(site, from_page("https://good.example"))
    check_accepted(site, from_page("https://[::1]:8443", "[::1]:8443"))
    check_accepted(site, from_page("https://[0:0::1]:8443", "[::1]:8443"))


def test_h14_who_is_no_browser(site: Site) -> None:
    check_accepted(site, request())


def test_h14_two_origins(site: Site) -> None:
    lines = "Origin: https://good.example\r\n"
    for second in ("https://good.example", "https://evil.example"):
        data = from_page(second, extra=lines)
        assert site.status(data) in ("400", "403")
    assert site.runs == []


#: Lists of origins: what they let in, and what not.
LISTS: list[tuple[Any, list[str | None], list[str]]] = [
    (
        ["https://good.example"],
        ["https://good.example", "https://good.example:443", None],
        ["http://good.example", "https://good.example:444", "null", *FOREIGN[1:10]],
    ),
    (
        [re.compile(r"https://.*good\.example")],
        ["https://good.example", "https://a.good.example"],
        # A pattern has to match all of it.
        ["https://good.example.evil.example", "xhttps://good.example", "null"],
    ),
    (["null"], ["null"], ["https://good.example", "nul", "NULL"]),
    ("*", ["null", "https://evil.example", None], []),
]


@pytest.mark.parametrize("kind", ["serve", "pywsgi"])
@pytest.mark.parametrize(("origins", "accepted", "refused"), LISTS)
def test_h14_a_list_of_origins(
    sites: Sites,
    kind: str,
    origins: Any,
    accepted: list[str | None],
    refused: list[str],
) -> None:
    def asked(origin: str | None) -> bytes:
        return request() if origin is None else from_page(origin)

    if origins != "*":
        origins = [*origins, None]  # for the neighbour
    with sites(kind, origins=origins) as site:
        for origin in refused:
            check_refused(site, asked(origin))
        for origin in accepted:
            check_accepted(site, asked(origin))


# H15


def credentials(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return f"Authorization: Basic {base64.b64encode(data).decode()}\r\n"


WRONG = {
    "none": "",
    "the same length": credentials("ann:sekret"),
    "shorter": credentials("ann:secre"),
    "longer": credentials("ann:secrets"),
    "empty": credentials("ann:"),
    "another name": credentials("bob:secret"),
    "no colon": credentials("annsecret"),
    "outside ASCII": credentials("ann:s\xe9cret"),
    "no UTF-8": credentials(b"ann:\xe9\xff"),
    "a NUL": credentials("ann:secret\0"),
    "another scheme": "Authorization: Bearer YW5uOnNlY3JldA==\r\n",
    "no base64": "Authorization: Basic !!!\r\n",
    "two": credentials("ann:secret") * 2,
}


@pytest.mark.parametrize("kind", ["serve", "pywsgi"])
def test_h15_wrong_passwords(sites: Sites, kind: str) -> None:
    ask = basic_auth("room", [("ann", "secret"), ("eve", "p\xe4ss")])

    def unless_neighbour(ws: Any, asked: Any) -> Any:
        return None if asked.path == "/neighbour" else ask(ws, asked)

    with sites(kind, process_request=unless_neighbour) as site:
        for case, line in WRONG.items():
            head = site.refuse(request("/", HANDSHAKE + line)).partition("\r\n\r\n")[0]
            assert head.startswith("HTTP/1.1 401 "), case
            assert header(head, "WWW-Authenticate").startswith('Basic realm="room"')
        assert site.runs == []
        for known in ("ann:secret", "eve:p\xe4ss"):
            check_accepted(site, request("/", HANDSHAKE + credentials(known)))


# H17


@pytest.mark.parametrize("bad", ["a\r\nX-Smuggled: yes", "a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("where", ["value", "name", "subprotocol"])
@pytest.mark.parametrize("kind", ["serve", "pywsgi"])
def test_h17_what_an_application_may_not_send(
    sites: Sites, kind: str, where: str, bad: str
) -> None:
    """It is a mistake of ours: a 500, a line in the log, and nothing of it is sent."""

    def make(ws: Any, asked: Any) -> Any:
        if asked.path == "/neighbour":
            return {}
        return [("X-A", bad)] if where == "value" else [(bad, "b")]

    def choose(ws: Any, offered: Any) -> Any:
        return None if ws.path == "/neighbour" else bad

    options: Any = {"extra_headers": make}
    if where == "subprotocol":
        options = {"select_subprotocol": choose}
    with sites(kind, **options) as site:
        site.log_level = logging.ERROR  # it is not the peer's fault
        asked = HANDSHAKE + "Sec-WebSocket-Protocol: chat\r\n"
        answer = site.refuse(request("/", asked))
        assert answer.startswith("HTTP/1.1 500 ")
        assert "X-Smuggled" not in answer
        assert site.runs == []


# H20


#: The headers of a request from 127.0.0.1, who is trusted, and the client's address.
FORWARDED: list[tuple[str, str | None]] = [
    ("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
    # Only the right-most hops that are trusted count.
    ("X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.2, 10.0.0.3\r\n", "192.0.2.1"),
    ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
    ("X-Forwarded-For: [2001:db8::1]:4711\r\n", "2001:db8::1"),
    ("X-Forwarded-For: 192.0.2.1:4711\r\n", "192.0.2.1"),
    # Names with underscores are other names; under WSGI they would be the same.
    ("X_Forwarded_For: 6.6.6.6\r\n", None),
    ("X-Forwarded_For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
    ("Forwarded: for=6.6.6.6\r\n", None),
    ("X-Real-IP: 6.6.6.6\r\n", None),
    ("X-Forwarded-For: garbage\r\n", None),
    ("X-Forwarded-For: 6.6.6.6, garbage\r\n", None),
    ("X-Forwarded-For: 6.6.6.6, \r\n", None),
    ("X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2\r\n", "10.0.0.2"),
    ("X-Forwarded-For: " + "6.6.6.6, " * 800 + "192.0.2.1\r\n", "192.0.2.1"),
    ("X-Forwarded-For: " + "," * 8000 + "\r\n", None),
]


@pytest.mark.parametrize("kind", ["serve", "tls", "pywsgi"])
@pytest.mark.parametrize("trusted", [True, False])
def test_h20_what_proxies_say(sites: Sites, kind: str, trusted: bool) -> None:
    addresses: list[str] = []

    def keep(ws: Any, run: Run) -> None:
        addresses.append(ws.remote_address[0])

    proxies = ["127.0.0.1", "10.0.0.0/8"] if trusted else None
    with sites(kind, keep, trusted_proxies=proxies) as site:
        for lines, client in FORWARDED:
            addresses.clear()
            with site.peer() as peer:
                peer.ask(request("/", HANDSHAKE + lines))
                assert peer.receive_close()[0] == 1000
            expected = client if trusted and client is not None else "127.0.0.1"
            assert addresses == [expected], lines[:80]
