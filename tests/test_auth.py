"""Basic authentication asked by a server, Digest answered by a client."""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from typing import Any

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Authorization, WWWAuthenticate
from werkzeug.http import parse_dict_header

from gws import DigestAuth, InvalidStatus, Router, Server, basic_auth, connect, serve
from gws.protocol.datastructures import Headers
from gws.protocol.http11 import Request, Response

from .wire import HANDSHAKE, TEXT, header, headers, port_of, raw_client, request


pytestmark = pytest.mark.usefixtures("leakcheck")


def tell(ws: Any) -> None:
    ws.send(repr(ws.username))


def basic(credentials: str | bytes) -> str:
    octets = credentials.encode() if isinstance(credentials, str) else credentials
    return "Authorization: Basic " + base64.b64encode(octets).decode()


def ask(server: Server, *lines: str, path: str = "/") -> tuple[str, str]:
    """Return the head of the answer and what came behind it, as text."""
    more = "".join(f"{line}\r\n" for line in lines)
    with raw_client(server) as peer:
        peer.write(request(path, HANDSHAKE + more))
        head = peer.read_head()
        if head.startswith("HTTP/1.1 101 "):
            opcode, payload = peer.receive()
            assert opcode == TEXT
            return head, payload.decode()
        return head, peer.read_to_end().decode()


def code_of(head: str) -> int:
    return int(head.split(" ")[1])


# basic_auth


KNOWN = [("ann", "secret"), ("b", ""), ("", "c"), ("jäsøn", "naïve €: 🐍")]


@pytest.mark.parametrize(("username", "password"), KNOWN)
def test_who_is_known_gets_in(username: str, password: str) -> None:
    with serve(tell, "127.0.0.1", 0, process_request=basic_auth("r", KNOWN)) as server:
        head, said = ask(server, basic(f"{username}:{password}"))
        assert (code_of(head), said) == (101, repr(username))
        # The scheme is case-insensitive.
        head, said = ask(server, basic(f"{username}:{password}").replace("Bas", "bAS"))
        assert (code_of(head), said) == (101, repr(username))


STRANGERS = [
    ("nothing", []),
    ("wrong password", [basic("ann:secreT")]),
    ("longer password", [basic("ann:secrets")]),
    ("shorter password", [basic("ann:secre")]),
    ("no password", [basic("ann:")]),
    ("a very long password", [basic("ann:" + "x" * 5000)]),
    ("the password of another", [basic("b:secret")]),
    ("another user", [basic("zoe:secret")]),
    ("nobody", [basic(":")]),
    ("other cut of the same text", [basic("ann:secret".replace(":", ""))]),
    ("no colon", [basic("ann")]),
    ("other case", [basic("Ann:secret")]),
    ("ISO-8859-1", [basic("jäsøn:naïve".encode("latin-1"))]),
    ("not UTF-8", [basic(b"\xff:\xfe")]),
    ("half a surrogate", [basic(b"\xed\xa0\x80:x")]),
    ("decomposed", [basic("ja\u0308søn:nai\u0308ve €: 🐍")]),
    ("NUL", [basic("ann:secret\0")]),
    ("line break", [basic("ann\r\n:secret")]),
    ("no base64", ["Authorization: Basic $$$"]),
    ("half of base64", ["Authorization: Basic YW5uO"]),
    ("base64 of URLs", ["Authorization: Basic _-__"]),
    ("scheme alone", ["Authorization: Basic"]),
    ("empty", ["Authorization: "]),
    ("junk", ['Authorization: "(;=']),
    ("other scheme", ["Authorization: Bearer " + basic("ann:secret").split()[-1]]),
    ("Digest", ['Authorization: Digest username="ann", response="0"']),
    ("two headers", [basic("ann:secret"), basic("ann:secret")]),
    ("two credentials", [basic("ann:secret") + ", " + basic("ann:secret")[15:]]),
    ("as a proxy is asked", ["Proxy-" + basic("ann:secret")]),
]


@pytest.mark.parametrize(
    "lines", [case[1] for case in STRANGERS], ids=[case[0] for case in STRANGERS]
)
@pytest.mark.parametrize("by", ["credentials", "check_credentials"])
def test_who_is_not_known_does_not(
    lines: list[str], by: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    asked = []

    def check(username: str, password: str) -> bool:
        asked.append((username, password))
        (username + password).encode()
        assert "\0" not in password
        return (username, password) in KNOWN

    hook = basic_auth('of "A"', **{by: KNOWN if by == "credentials" else check})
    with serve(asked.append, "127.0.0.1", 0, process_request=hook) as server:
        head, body = ask(server, *lines)
    assert code_of(head) == 401
    assert (
        header(head, "WWW-Authenticate") == r'Basic realm="of \"A\"", charset="UTF-8"'
    )
    assert header(head, "Connection") == "close"
    assert int(header(head, "Content-Length")) == len(body)
    assert len(asked) <= 1
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert "401 Unauthorized" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_one_pair_will_do() -> None:
    for credentials in [("ann", "secret"), ["ann", "secret"], [("ann", "secret")]]:
        hook = basic_auth(credentials=credentials)
        with serve(tell, "127.0.0.1", 0, process_request=hook) as server:
            assert ask(server, basic("ann:secret"))[1] == "'ann'"
            head, _ = ask(server, basic("a:n"))
            assert header(head, "WWW-Authenticate").startswith('Basic realm=""')


def test_nobody_is_known() -> None:
    with serve(
        tell, "127.0.0.1", 0, process_request=basic_auth(credentials=[])
    ) as server:
        assert code_of(ask(server, basic(":"))[0]) == 401


def test_an_iterator_of_credentials_is_read_once() -> None:
    hook = basic_auth(credentials=iter(KNOWN))
    with serve(tell, "127.0.0.1", 0, process_request=hook) as server:
        for _ in range(2):
            assert ask(server, basic("ann:secret"))[1] == "'ann'"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "either"),
        ({"credentials": ("a", "b"), "check_credentials": print}, TypeError, "either"),
        ({"credentials": "ab"}, TypeError, "list of these"),
        ({"credentials": b"ab"}, TypeError, "list of these"),
        ({"credentials": {"ann": "secret", "b": "c"}}, TypeError, "list of these"),
        ({"credentials": 5}, TypeError, "not iterable"),
        ({"credentials": ("ann", b"secret")}, TypeError, "list of these"),
        ({"credentials": [("ann", None)]}, TypeError, "list of these"),
        ({"credentials": [("ann", "secret", "x")]}, TypeError, "list of these"),
        ({"credentials": [("ann", "secret"), "bob"]}, TypeError, "list of these"),
        ({"credentials": ("a:b", "c")}, ValueError, "colon"),
        ({"credentials": ("a\n", "c")}, ValueError, "control characters"),
        ({"credentials": [("a", "c\0")]}, ValueError, "control characters"),
        ({"credentials": ("a", "\ud800")}, ValueError, "surrogates"),
        ({"check_credentials": "a"}, TypeError, "callable"),
        ({"realm": "a\r\nb", "credentials": ("a", "b")}, ValueError, "realm"),
        ({"realm": "€", "credentials": ("a", "b")}, ValueError, "realm"),
    ],
)
def test_mistakes_are_told_at_once(
    arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        basic_auth(**arguments)
    assert "secret" not in str(caught.value)


def test_a_check_may_wait() -> None:
    entered, answer = Event(), Event()

    def check(username: str, password: str) -> bool:
        entered.set()
        return answer.wait()

    hook = basic_auth(check_credentials=check)
    with serve(tell, "127.0.0.1", 0, process_request=hook) as server:
        asking = gevent.spawn(ask, server, basic("ann:secret"))
        assert entered.wait(5)
        # The others are served meanwhile.
        assert code_of(ask(server)[0]) == 401
        answer.set()
        assert asking.get(timeout=5)[1] == "'ann'"


def test_a_check_that_takes_too_long() -> None:
    hook = basic_auth(check_credentials=lambda *args: Event().wait())
    with serve(tell, "127.0.0.1", 0, process_request=hook, open_timeout=0.05) as server:
        assert code_of(ask(server, basic("ann:secret"))[0]) == 408


def fails(username: str, password: str) -> bool:
    raise LookupError("the database is gone")


@pytest.mark.parametrize("check", [fails, lambda *args: "yes", lambda *args: object()])
def test_a_check_that_fails_lets_nobody_in(
    check: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    hook = basic_auth(check_credentials=check)
    with serve(tell, "127.0.0.1", 0, process_request=hook) as server:
        head, body = ask(server, basic("ann:secret"))
        # Nor those without credentials, whom nobody has to check.
        assert code_of(ask(server)[0]) == 401
    assert code_of(head) == 500
    assert "database" not in body
    (record,) = caplog.records
    assert (record.levelno, bool(record.exc_info)) == (logging.ERROR, True)


@pytest.mark.parametrize("no", [False, None, 0])
def test_a_check_that_says_no(no: Any) -> None:
    hook = basic_auth(check_credentials=lambda *args: no)
    with serve(tell, "127.0.0.1", 0, process_request=hook) as server:
        assert code_of(ask(server, basic("ann:secret"))[0]) == 401


def test_with_a_hook_of_ones_own() -> None:
    authenticate = basic_auth("chat", ("ann", "secret"))

    def process_request(ws: Any, request: Request) -> Response | None:
        if request.path == "/health":
            response: Response = ws.respond(200, "fine\n")
            return response
        return authenticate(ws, request)

    with serve(tell, "127.0.0.1", 0, process_request=process_request) as server:
        assert ask(server, path="/health")[1] == "fine\n"
        assert code_of(ask(server)[0]) == 401
        assert ask(server, basic("ann:secret"))[1] == "'ann'"


def test_on_a_router_and_on_its_routes() -> None:
    router = Router(process_request=basic_auth("all", [("ann", "a"), ("bob", "b")]))
    router.route("/")(tell)
    router.route("/bob", process_request=basic_auth("bob", ("bob", "b")))(tell)
    with serve(router, "127.0.0.1", 0) as server:
        assert code_of(ask(server, path="/unknown")[0]) == 401
        assert code_of(ask(server, basic("ann:a"), path="/unknown")[0]) == 404
        assert ask(server, basic("ann:a"))[1] == "'ann'"
        head, _ = ask(server, basic("ann:a"), path="/bob")
        assert (code_of(head), 'realm="bob"' in head) == (401, True)
        assert ask(server, basic("bob:b"), path="/bob")[1] == "'bob'"


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs", "Cc"])).filter(
                lambda username: ":" not in username
            ),
            st.text(st.characters(exclude_categories=["Cs", "Cc"])),
        ),
        max_size=3,
    ),
    st.binary(max_size=20),
)
def test_only_what_is_equal_gets_in(known: list[tuple[str, str]], given: bytes) -> None:
    class Asked:
        username = None

        def respond(self, status: int, text: str) -> Response:
            return Response(status, text, Headers())

    hook = basic_auth(credentials=known)
    entries = [f"{username}:{password}".encode() for username, password in known]
    for octets in [given, *entries]:
        ws = Asked()
        line = basic(octets).partition(": ")[2]
        answer = hook(ws, Request("/", Headers(Authorization=line)))
        assert (answer is None) == (octets in entries)
        expected = octets.partition(b":")[0].decode() if octets in entries else None
        assert ws.username == expected


# DigestAuth: the examples of RFC 7616, section 3.9


NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def challenge(algorithm: str | None, **more: str) -> str:
    """Return the challenge of the first example, for some algorithm."""
    parameters = {
        "realm": "http-auth@example.org",
        "qop": "auth, auth-int",
        "nonce": NONCE,
        "opaque": OPAQUE,
        **more,
    }
    line = ", ".join(f'{key}="{value}"' for key, value in parameters.items() if value)
    return f"Digest {line}" + (f", algorithm={algorithm}" if algorithm else "")


def parameters(authorization: str | None) -> dict[str, str]:
    assert authorization is not None
    scheme, _, rest = authorization.partition(" ")
    assert scheme == "Digest"
    return {key: value or "" for key, value in parse_dict_header(rest).items()}


@pytest.fixture
def cnonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_urlsafe", lambda n: CNONCE)


@pytest.mark.usefixtures("cnonce")
@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc_7616_3_9_1(algorithm: str, response: str) -> None:
    auth = DigestAuth("Mufasa", "Circle of Life")
    answer = auth.authorization([challenge(algorithm)], "GET", "/dir/index.html")
    assert parameters(answer) == {
        "username": "Mufasa",
        "realm": "http-auth@example.org",
        "uri": "/dir/index.html",
        "algorithm": algorithm,
        "nonce": NONCE,
        "nc": "00000001",
        "cnonce": CNONCE,
        "qop": "auth",
        "response": response,
        "opaque": OPAQUE,
    }
    # What RFC 7616, section 3.4, says of quotes.
    assert "qop=auth," in answer and "nc=00000001," in answer
    assert f"algorithm={algorithm}," in answer


def test_rfc_7616_3_9_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digests are those of erratum 4897: the RFC's are of another SHA-512."""
    cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"
    monkeypatch.setattr(secrets, "token_urlsafe", lambda n: cnonce)
    asked = (
        'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, '
        'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", '
        'opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, '
        "userhash=true"
    )
    auth = DigestAuth("Jäsøn Doe", "Secret, or not?")
    answer = parameters(auth.authorization([asked], "GET", "/doe.json"))
    assert answer["username"] == (
        "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
    )
    assert answer["response"] == (
        "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
    )
    assert (answer["userhash"], answer["cnonce"]) == ("true", cnonce)


@pytest.mark.usefixtures("cnonce")
def test_rfc_2069() -> None:
    """Without qop; the example of RFC 2069, with the digest put right."""
    auth = DigestAuth("Mufasa", "CircleOfLife")
    asked = (
        'Digest realm="testrealm@host.com", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    answer = auth.authorization([asked], "GET", "/dir/index.html")
    assert parameters(answer) == {
        "username": "Mufasa",
        "realm": "testrealm@host.com",
        "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        "uri": "/dir/index.html",
        "response": "1949323746fe6a43ef61f9606e7febea",
        "opaque": "5ccc069c403ebaf9f0171e9517f40e41",
    }


# DigestAuth: a verifier of our own


HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


def verified(
    answer: dict[str, str], username: str, password: str, uri: str = "/"
) -> bool:
    """Tell whether an answer is right, from its own parameters."""
    algorithm, _, sess = answer.get("algorithm", "MD5").upper().partition("-SESS")
    session = answer.get("algorithm", "").upper().endswith("-SESS")
    assert not sess

    def h(*parts: str) -> str:
        # Text of headers stands for octets.
        data = b":".join(
            part.encode() if part in (username, password) else part.encode("latin-1")
            for part in parts
        )
        return hashlib.new(HASHES[algorithm], data).hexdigest()

    name = answer.get("username", "")
    if answer.get("userhash") == "true":
        assert name == h(username, answer["realm"])
    else:
        assert name == username  # also what was username*
    ha1 = h(username, answer["realm"], password)
    if session:
        ha1 = h(ha1, answer["nonce"], answer["cnonce"])
    middle = [answer[key] for key in ("nc", "cnonce", "qop") if key in answer]
    expected = h(ha1, answer["nonce"], *middle, h("GET", uri))
    return answer["uri"] == uri and answer["response"] == expected


@pytest.mark.parametrize("qop", ["auth", "", "auth-int,auth", " AUTH , x"])
@pytest.mark.parametrize(
    "algorithm",
    [
        None,
        "MD5",
        "md5",
        "MD5-sess",
        "SHA-256",
        "SHA-256-sess",
        "sha-256-SESS",
        "SHA-512-256",
        "SHA-512-256-sess",
    ],
)
def test_algorithms(algorithm: str | None, qop: str) -> None:
    auth = DigestAuth("ann", "secret")
    answer = auth.authorization([challenge(algorithm, qop=qop)], "GET", "/?x=1")
    if not qop and algorithm is not None and algorithm.lower().endswith("-sess"):
        assert answer is None
        return
    given = parameters(answer)
    assert verified(given, "ann", "secret", "/?x=1")
    assert not verified(given, "ann", "secreT", "/?x=1")
    assert given.get("algorithm") == algorithm
    assert ("nc" in given, "cnonce" in given, "qop" in given) == (bool(qop),) * 3


@pytest.mark.parametrize(
    ("lines", "chosen"),
    [
        ([challenge("MD5"), challenge("SHA-256")], "SHA-256"),
        ([challenge("SHA-256"), challenge("MD5")], "SHA-256"),
        ([challenge("SHA-256") + ", " + challenge("SHA-512-256")], "SHA-512-256"),
        (
            [
                'Basic realm="a"',
                "Negotiate, " + challenge("MD5-sess") + ', Basic x="y"',
            ],
            "MD5-sess",
        ),
        # Digests of one strength: rather with qop; else the first.
        ([challenge("MD5", qop=""), challenge("MD5-sess")], "MD5-sess"),
        ([challenge("SHA-256-sess"), challenge("SHA-256")], "SHA-256-sess"),
        # What can't be answered is passed over.
        ([challenge("SHA-1024"), challenge("MD5")], "MD5"),
        ([challenge("SHA-256", qop="auth-int"), challenge("MD5")], "MD5"),
        ([challenge("SHA-256", nonce=""), challenge("MD5")], "MD5"),
        ([challenge("SHA-256", realm=""), challenge("MD5")], "MD5"),
        (['Digest realm="a', "Digest", "", challenge("MD5")], "MD5"),
        (["Digest dG9rZW42OA==", challenge("MD5")], "MD5"),
    ],
)
def test_the_strongest_challenge_is_answered(lines: list[str], chosen: str) -> None:
    auth = DigestAuth("ann", "secret")
    given = parameters(auth.authorization(lines, "GET", "/"))
    assert given["algorithm"] == chosen
    assert verified(given, "ann", "secret")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Basic realm=a"],
        ["Digest"],
        [challenge("SHA-1024")],
        [challenge("MD5-session")],
        [challenge("")[:-5]],
    ],
)
def test_nothing_to_answer(lines: list[str]) -> None:
    auth = DigestAuth("ann", "secret")
    assert auth.authorization(lines, "GET", "/") is None


def test_an_algorithm_that_this_machine_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hashlib, "algorithms_available", {"md5", "sha256"})
    lines = [challenge("SHA-512-256"), challenge("MD5")]
    given = parameters(DigestAuth("a", "b").authorization(lines, "GET", "/"))
    assert given["algorithm"] == "MD5"


def test_a_nonce_is_counted() -> None:
    auth = DigestAuth("ann", "secret")
    seen = []
    for nonce in ["a", "a", "b", "a", "b", *map(str, range(99)), "a", "b"]:
        answer = auth.authorization([challenge("SHA-256", nonce=nonce)], "GET", "/")
        given = parameters(answer)
        assert verified(given, "ann", "secret")
        seen.append((nonce, given["nc"]))
    # Of 100 nonces the count is known.
    assert seen[:5] == [
        ("a", "00000001"),
        ("a", "00000002"),
        ("b", "00000001"),
        ("a", "00000003"),
        ("b", "00000002"),
    ]
    assert seen[-2:] == [("a", "00000001"), ("b", "00000001")]


def test_a_cnonce_is_used_once() -> None:
    auth = DigestAuth("ann", "secret")
    answers = [auth.authorization([challenge("MD5")], "GET", "/") for _ in range(9)]
    assert len({parameters(answer)["cnonce"] for answer in answers}) == 9


def test_a_second_refusal_is_answered_if_the_nonce_was_stale() -> None:
    auth = DigestAuth("ann", "secret")
    for stale, answered in [("", False), ("false", False), ("TRUE", True)]:
        lines = [challenge("MD5", stale=stale)]
        assert auth.authorization(lines, "GET", "/") is not None
        answer = auth.authorization(lines, "GET", "/", again=True)
        assert (answer is not None) == answered


@pytest.mark.parametrize(
    ("username", "parameter"),
    [
        ("ann", 'username="ann"'),
        ("", 'username=""'),
        ('a "b" \\ c', r'username="a \"b\" \\ c"'),
        ("Jäsøn Doe", "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe"),
        # In form C, whatever it was given in.
        ("Ja\u0308so\u0308n/", "username*=UTF-8''J%C3%A4s%C3%B6n%2F"),
    ],
)
def test_user_names(username: str, parameter: str) -> None:
    auth = DigestAuth(username, "pass wörd")
    answer = auth.authorization([challenge("SHA-256")], "GET", "/")
    assert answer is not None
    assert answer.startswith(f"Digest {parameter}, realm=")


@pytest.mark.parametrize("userhash", ["true", "TRUE", "false"])
def test_userhash(userhash: str) -> None:
    auth = DigestAuth("jäsøn", "pässword")
    lines = [challenge("SHA-256", userhash=userhash, charset="UTF-8")]
    answer = auth.authorization(lines, "GET", "/")
    assert ("userhash=true" in str(answer)) == (userhash != "false")
    assert ("username*=" in str(answer)) == (userhash == "false")
    assert verified(parameters(answer), "jäsøn", "pässword")


def test_what_the_server_says_goes_back_as_it_came() -> None:
    octets = '"\\"é\xff'  # octets of a header, as text
    quoted = octets.replace("\\", "\\\\").replace('"', '\\"')
    auth = DigestAuth("ann", "secret")
    lines = [challenge("SHA-256", realm=quoted, nonce=quoted, opaque=quoted)]
    answer = auth.authorization(lines, "GET", '/"')
    assert answer is not None
    for name in ("realm", "nonce", "opaque"):
        assert f'{name}="{quoted}"' in answer
    assert r'uri="/\""' in answer
    assert verified(parameters(answer), "ann", "secret", '/"')
    assert Headers(Authorization=answer).serialize()


@pytest.mark.parametrize(
    ("username", "password", "error"),
    [
        ("ann", b"secret", TypeError),
        (None, "secret", TypeError),
        ("a\r\n", "secret", ValueError),
        ("\ud800", "secret", ValueError),
        ("ann", "\ud800", ValueError),
    ],
)
def test_what_can_not_be_digested(
    username: Any, password: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        DigestAuth(username, password)


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(DigestAuth("ann", "secret"))


# DigestAuth against a server


class DigestServer:
    """A process_request hook that wants Digest, in werkzeug's words."""

    def __init__(self, username: str, password: str) -> None:
        self._credentials = username, password
        self._nonces: dict[str, int] = {}

    def __call__(self, ws: Any, request: Request) -> Response | None:
        given = Authorization.from_header(request.headers.get("Authorization"))
        stale = False
        if given is not None and given.type == "digest":
            values = {key: value or "" for key, value in given.parameters.items()}
            right = verified(values, *self._credentials, request.path)
            # Each count of a nonce is good for one request.
            count = self._nonces.get(values["nonce"], 0) + 1
            if right and values["nonce"] in self._nonces:
                assert int(values["nc"], 16) == count
                self._nonces[values["nonce"]] = count
                ws.username = self._credentials[0]
                return None
            stale = right
        nonce = secrets.token_hex(8)
        self._nonces[nonce] = 0
        response: Response = ws.respond(401, "Who are you?\n")
        response.headers["WWW-Authenticate"] = 'Basic realm="a"'
        for algorithm in ("MD5", "SHA-256"):
            asked = WWWAuthenticate(
                "digest",
                {
                    "realm": "a, b",
                    "qop": "auth",
                    "nonce": nonce,
                    "algorithm": algorithm,
                    "stale": "true" if stale else "false",
                },
            )
            response.headers["WWW-Authenticate"] = asked.to_header()
        return response

    def forget(self) -> None:
        self._nonces.clear()


def test_against_a_server() -> None:
    digest_server = DigestServer("ann", "secret")
    auth = DigestAuth("ann", "secret")
    with serve(tell, "127.0.0.1", 0, process_request=digest_server) as server:
        head, _ = ask(server, path="/a?b")
        lines = headers(head, "WWW-Authenticate")
        assert (code_of(head), len(lines)) == (401, 3)
        for _ in range(2):
            answer = auth.authorization(lines, "GET", "/a?b")
            assert "SHA-256" in str(answer)
            head, said = ask(server, f"Authorization: {answer}", path="/a?b")
            assert (code_of(head), said) == (101, "'ann'")
        # Another path needs another answer.
        head, _ = ask(server, f"Authorization: {answer}", path="/c")
        assert code_of(head) == 401
        # The server starts again, say.
        digest_server.forget()
        answer = auth.authorization(lines, "GET", "/a?b")
        head, _ = ask(server, f"Authorization: {answer}", path="/a?b")
        assert code_of(head) == 401
        lines = headers(head, "WWW-Authenticate")
        answer = auth.authorization(lines, "GET", "/a?b", again=True)
        assert ask(server, f"Authorization: {answer}", path="/a?b")[1] == "'ann'"
        # With a wrong password there is nothing to try again.
        answer = DigestAuth("ann", "secreT").authorization(lines, "GET", "/")
        head, _ = ask(server, f"Authorization: {answer}")
        lines = headers(head, "WWW-Authenticate")
        assert auth.authorization(lines, "GET", "/", again=True) is None


def test_connect_with_digest() -> None:
    hook = DigestServer("ann", "secret")
    auth = DigestAuth("ann", "secret")
    with serve(tell, "127.0.0.1", 0, process_request=hook) as server:
        uri = f"ws://localhost:{port_of(server)}/a?b"
        for _ in range(2):
            with connect(uri, auth=auth) as ws:
                assert ws.recv() == "'ann'"
        with pytest.raises(InvalidStatus, match="401"):
            connect(uri, auth=DigestAuth("ann", "wrong")).open()


def test_connect_with_basic() -> None:
    hook = basic_auth(credentials=[("jäsøn", "naïve: €")])
    with serve(tell, "127.0.0.1", 0, process_request=hook) as server:
        uri = f"ws://localhost:{port_of(server)}/"
        with connect(uri, auth=("jäsøn", "naïve: €")) as ws:
            assert ws.recv() == "'jäsøn'"
        with pytest.raises(InvalidStatus, match="401"):
            connect(uri).open()
