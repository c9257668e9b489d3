"""Authentication, by cookie and by first message: who gets in, and who does not."""

from __future__ import annotations

import contextlib
import http.client
import runpy
import signal
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gws import ClientConnection, ConnectionClosed, InvalidStatus, connect

from ..program import SOON
from .running import EXAMPLES, run, running, started


pytestmark = [pytest.mark.usefixtures("leakcheck"), pytest.mark.once]

SERVER = "auth/server.py"

#: The key of the servers of these tests.
SECRET = "a key for tests"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(SERVER, "0", "--patience", "3", AUTH_SECRET=SECRET) as address:
        yield address


@pytest.fixture(scope="module")
def sign() -> Callable[..., str]:
    """The example's own function, with the key of the server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTH_SECRET", SECRET)
        function: Callable[..., str] = runpy.run_path(str(EXAMPLES / SERVER))["sign"]
    return function


def ask(url: str, method: str, path: str, headers: Any, body: str = "") -> Any:
    """Return the response and its body; no redirect is followed."""
    where = urllib.parse.urlsplit(url).netloc
    connection = http.client.HTTPConnection(where, timeout=SOON)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response, response.read().decode()


def post(url: str, path: str, origin: str | None = None, **form: str) -> Any:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if origin is not None:
        headers["Origin"] = origin
    return ask(url, "POST", path, headers, urllib.parse.urlencode(form))


def page(url: str, cookie: str = "") -> str:
    _, text = ask(url, "GET", "/", {"Cookie": cookie})
    return str(text)


def by_cookie(url: str, session: str, origin: str | None = None) -> connect:
    uri = url.replace("http", "ws", 1) + "/by-cookie"
    headers = {"Cookie": f"theme=dark; session={session}"}
    return connect(uri, additional_headers=headers, origin=origin)


def by_token(url: str, origin: str | None = None) -> connect:
    return connect(url.replace("http", "ws", 1) + "/by-token", origin=origin)


def check_talk(recipe: connect, user: str) -> None:
    with recipe as ws:
        assert ws.recv(SOON) == f"You are {user}."
        ws.send("hello")
        assert ws.recv(SOON) == f"{user}: hello"


def check_closed(ws: ClientConnection, code: int, reason: str) -> None:
    with pytest.raises(ConnectionClosed):
        ws.recv(SOON)
    assert (ws.close_code, ws.close_reason) == (code, reason)


# What a user does


def test_the_client_gets_in_both_ways(url: str) -> None:
    assert run("auth/client.py", url, "bob", "banana") == [
        "by cookie: You are bob.",
        "by token: You are bob.",
    ]


def test_the_client_with_a_wrong_password(url: str) -> None:
    with started("auth/client.py", url, "bob", "apple") as client:
        code, out, err = client.end()
    assert (code, out) == (1, "")
    assert "HTTP Error 403" in err


@pytest.mark.parametrize("path", ["/login", "/token"])
@pytest.mark.parametrize(
    "form",
    [{"user": "ann", "password": "banana"}, {"user": "eve", "password": "apple"}, {}],
    ids=["wrong", "nobody", "nothing"],
)
def test_who_is_not_known(url: str, path: str, form: dict[str, str]) -> None:
    response, text = post(url, path, **form)
    assert (response.status, response.headers["Set-Cookie"]) == (403, None)
    assert text == "There is no such user, or the password is wrong.\n"


def test_the_form_and_the_page(url: str) -> None:
    assert 'action="/login"' in page(url)
    response, _ = post(url, "/login", user="ann", password="apple", origin=url)
    assert (response.status, response.headers["Location"]) == (303, "/")
    cookie, *attributes = response.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=28800"} <= {*attributes}
    assert "new WebSocket" in page(url, cookie)
    check_talk(by_cookie(url, cookie.removeprefix("session="), url), "ann")


def test_a_foreign_page_logs_nobody_in(url: str) -> None:
    form = {"user": "ann", "password": "apple"}
    response, _ = post(url, "/login", origin="https://evil.example", **form)
    assert (response.status, response.headers["Set-Cookie"]) == (403, None)


# Cookies


def test_a_foreign_page_with_the_cookie(url: str, sign: Callable[..., str]) -> None:
    cookie = sign("cookie", "ann", 60)
    with pytest.raises(InvalidStatus, match="403") as refusal:
        by_cookie(url, cookie, "https://evil.example").open()
    assert b"invalid Origin header" in refusal.value.response.body
    check_talk(by_cookie(url, cookie), "ann")


def test_nonsense_in_headers_is_no_error_of_ours(url: str) -> None:
    """Nothing of it is to stand in the log, either: `running` sees to that."""
    assert 'action="/login"' in page(url, "session=\xff; =; x")
    with pytest.raises(InvalidStatus, match="403"):
        by_cookie(url, "\xff").open()
    for origin in ("http://[", "null", "\xff"):
        response, _ = post(url, "/login", origin, user="ann", password="apple")
        assert response.status == 403


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda sign: "", "not signed here"),
        (lambda sign: "nonsense", "not signed here"),
        (lambda sign: forged(sign("cookie", "bob", 60)), "not signed here"),
        (lambda sign: sign("cookie", "ann", 60)[:-1], "not signed here"),
        (lambda sign: sign("cookie", "ann", -1), "expired"),
        (lambda sign: sign("token", "ann", 60), "that is a token"),
    ],
    ids=["none", "nonsense", "forged", "cut", "expired", "token"],
)
def test_cookies_that_are_no_good(
    url: str, sign: Callable[..., str], make: Callable[..., str], why: str
) -> None:
    with pytest.raises(InvalidStatus, match="403") as refusal:
        by_cookie(url, make(sign)).open()
    assert refusal.value.response.body.decode() == f"The cookie is no good: {why}.\n"
    assert 'action="/login"' in page(url, f"session={make(sign)}")


def forged(cookie: str) -> str:
    """Return a cookie of bob's with another payload."""
    payload, _, signature = cookie.partition(".")
    return f"{payload[:-8]}{payload[-8:].swapcase()}.{signature}"


def test_a_connection_ends_with_its_cookie(url: str, sign: Callable[..., str]) -> None:
    with by_cookie(url, sign("cookie", "ann", 3)) as ws:
        assert ws.recv(SOON) == "You are ann."
        check_closed(ws, 3000, "expired")


# Tokens


def test_a_token_is_for_any_page(url: str) -> None:
    _, token = post(url, "/token", user="ann", password="apple")
    with by_token(url, "https://elsewhere.example") as ws:
        ws.send(token)
        assert ws.recv(SOON) == "You are ann."
        ws.send("hello")
        assert ws.recv(SOON) == "ann: hello"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("nonsense", "not signed here"),
        (".é", "not signed here"),
        (b"\xff", "that is no text"),
    ],
)
def test_what_is_no_token(url: str, message: str | bytes, reason: str) -> None:
    with by_token(url) as ws:
        ws.send(message)
        check_closed(ws, 3000, reason)


@pytest.mark.parametrize(
    ("kind", "seconds", "reason"),
    [("token", -1, "expired"), ("cookie", 60, "that is a cookie")],
)
def test_tokens_that_are_no_good(
    url: str, sign: Callable[..., str], kind: str, seconds: float, reason: str
) -> None:
    with by_token(url) as ws:
        ws.send(sign(kind, "ann", seconds))
        check_closed(ws, 3000, reason)


def test_a_token_that_comes_late(url: str) -> None:
    with by_token(url) as ws:
        check_closed(ws, 3008, "no token in time")


def test_it_ends_with_somebody_there(sign: Callable[..., str]) -> None:
    with running(SERVER, "0", stop=signal.SIGINT, AUTH_SECRET=SECRET) as url:
        talking = by_cookie(url, sign("cookie", "ann", 60)).open()
        waiting = by_token(url).open()
        assert talking.recv(SOON) == "You are ann."
    check_closed(talking, 1001, "")
    check_closed(waiting, 1001, "")
