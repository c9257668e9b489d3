"""Whose address counts behind proxies: CASES H20."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws import Router, connect, serve, unix_connect, unix_serve
from gws.exceptions import InvalidHeader
from gws.protocol.datastructures import Headers
from gws.server.forwarded import TrustedProxies, parse_entry, parse_forwarded


PEER = ("10.0.0.1", 5000)

CHAINS: list[tuple[str, Any, list[str], Any]] = [
    # Who is trusted; who connects; the headers; whose address it is.
    ("nobody", PEER, ["1.2.3.4"], PEER),
    ("10.0.0.0/8", PEER, [], PEER),
    ("10.0.0.0/8", PEER, ["1.2.3.4"], ("1.2.3.4", 0)),
    ("10.0.0.0/8", PEER, ["1.2.3.4:567"], ("1.2.3.4", 567)),
    ("10.0.0.0/8", ("11.0.0.1", 1), ["1.2.3.4"], ("11.0.0.1", 1)),
    # Only what trusted ones appended counts; the client wrote the rest.
    ("10.0.0.0/8", PEER, ["6.6.6.6, 1.2.3.4"], ("1.2.3.4", 0)),
    ("10.0.0.0/8", PEER, ["6.6.6.6", "1.2.3.4"], ("1.2.3.4", 0)),
    ("10.0.0.0/8", PEER, ["6.6.6.6, 1.2.3.4, 10.9.9.9"], ("1.2.3.4", 0)),
    ("10.0.0.0/8", PEER, ["1.2.3.4, 10.9.9.9, 10.8.8.8"], ("1.2.3.4", 0)),
    ("10.0.0.0/8", PEER, ["10.9.9.9, 10.8.8.8"], ("10.9.9.9", 0)),
    # Garbage ends the chain.
    ("10.0.0.0/8", PEER, ["garbage"], PEER),
    ("10.0.0.0/8", PEER, ["1.2.3.4, garbage, 10.9.9.9"], ("10.9.9.9", 0)),
    ("10.0.0.0/8", PEER, ["1.2.3.4, "], PEER),
    ("10.0.0.0/8", PEER, ["unknown"], PEER),
    ("10.0.0.0/8", PEER, ["1.2.3.4.5"], PEER),
    ("10.0.0.0/8", PEER, ["example.com"], PEER),
    ("10.0.0.0/8", PEER, ["1.2.3.4:99999"], PEER),
    # IPv6.
    ("fd00::/8", ("fd00::1", 1, 0, 0), ["2001:DB8::1"], ("2001:db8::1", 0)),
    ("fd00::/8", ("fd00::1", 1, 0, 0), ["[2001:db8::1]:80"], ("2001:db8::1", 80)),
    ("fd00::/8", ("fd00::1%eth0", 1, 0, 2), ["2001:db8::1"], ("2001:db8::1", 0)),
    ("10.0.0.0/8", ("::ffff:10.0.0.1", 1, 0, 0), ["1.2.3.4"], ("1.2.3.4", 0)),
    # Unix sockets.
    ("unix", "", ["1.2.3.4"], ("1.2.3.4", 0)),
    ("10.0.0.0/8", "", ["1.2.3.4"], ""),
    ("10.0.0.0/8", ("no address", 1), ["1.2.3.4"], ("no address", 1)),
]


@pytest.mark.parametrize(("trusted", "peer", "values", "client"), CHAINS)
def test_x_forwarded_for(
    trusted: str, peer: Any, values: list[str], client: Any
) -> None:
    proxies = TrustedProxies([] if trusted == "nobody" else [trusted])
    headers = Headers([("X-Forwarded-For", value) for value in values])
    # What a client says in the other header is not read, nor under a name that
    # looks alike.
    headers["Forwarded"] = "for=6.6.6.6"
    headers["X_Forwarded_For"] = "6.6.6.6"
    assert proxies.client_of(peer, headers) == client


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["for=1.2.3.4"], ("1.2.3.4", 0)),
        (['For="1.2.3.4:567"; proto=https; by=10.0.0.1'], ("1.2.3.4", 567)),
        (['for="[2001:db8::1]:80"'], ("2001:db8::1", 80)),
        (["for=6.6.6.6, for=1.2.3.4"], ("1.2.3.4", 0)),
        (["for=1.2.3.4", "for=10.9.9.9"], ("1.2.3.4", 0)),
        (["for=_hidden"], PEER),
        (["for=unknown, for=10.9.9.9"], ("10.9.9.9", 0)),
        (["proto=https"], PEER),
        (["for=1.2.3.4;for=6.6.6.6"], PEER),
        (["for=[2001:db8::1]"], PEER),
        (["for"], PEER),
        ([";"], PEER),
    ],
)
def test_forwarded(values: list[str], client: Any) -> None:
    """RFC 7239."""
    proxies = TrustedProxies(["10.0.0.0/8"], "Forwarded")
    headers = Headers([("Forwarded", value) for value in values])
    headers["X-Forwarded-For"] = "6.6.6.6"
    assert proxies.client_of(PEER, headers) == client


def test_a_long_list_is_not_read_to_its_end() -> None:
    proxies = TrustedProxies(["10.0.0.0/8"])
    headers = Headers({"X-Forwarded-For": ", ".join(["1.2.3.4"] + ["10.1.1.1"] * 60)})
    assert proxies.client_of(PEER, headers) == ("10.1.1.1", 0)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_any_text(text: str) -> None:
    for header in ("X-Forwarded-For", "Forwarded"):
        proxies = TrustedProxies(["10.0.0.0/8"], header)
        host, port = proxies.client_of(PEER, Headers({header: text.strip()}))
        assert (host, port) == PEER or parse_entry(host) == (host, 0)


@pytest.mark.parametrize("header", ["for=a b", "for=", 'for="', "=1", "for=1 ;x y=2"])
def test_what_is_no_forwarded_header(header: str) -> None:
    with pytest.raises(InvalidHeader):
        parse_forwarded(header)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"trusted_proxies": "10.0.0.0/8"}, TypeError),
        ({"trusted_proxies": ["10.0.0.1/8"]}, ValueError),
        ({"trusted_proxies": ["nginx"]}, ValueError),
        ({"trusted_proxies": ["unix"], "proxy_header": "X-Real-IP"}, ValueError),
    ],
)
def test_options_are_checked(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        serve(lambda ws: None, "127.0.0.1", 0, **options)


@pytest.mark.usefixtures("leakcheck")
def test_serve(unix_path: str) -> None:
    seen = []

    def hook(ws: Any, request: Any) -> None:
        seen.append(ws.remote_address)

    def tell(ws: Any) -> None:
        ws.send(str(ws.remote_address))

    router = Router(process_request=hook)
    router.route("/")(tell)
    headers = {"X-Forwarded-For": "6.6.6.6, 1.2.3.4"}
    with serve(router, "127.0.0.1", 0, trusted_proxies=["127.0.0.1"]) as server:
        port = server.sockets[0].getsockname()[1]
        uri = f"ws://127.0.0.1:{port}/"
        with connect(uri, additional_headers=headers) as ws:
            assert ws.recv() == "('1.2.3.4', 0)"
    with (
        unix_serve(router, unix_path, trusted_proxies=["unix"]),
        unix_connect(unix_path, additional_headers=headers) as ws,
    ):
        assert ws.recv() == "('1.2.3.4', 0)"
    assert seen == [("1.2.3.4", 0)] * 2
