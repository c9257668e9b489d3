"""Who a peer is: `basic_auth` asks on the server, `DigestAuth` answers on the client.

HTTP Basic is RFC 7617, HTTP Digest RFC 7616. Both belong to the opening handshake;
an open connection is not asked again. Basic sends the password as it is: use TLS.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from .exceptions import InvalidHeader
from .protocol.datastructures import Headers
from .protocol.grammar import quoted
from .protocol.headers import (
    build_www_authenticate_basic,
    parse_authorization_basic,
    parse_www_authenticate,
)
from .protocol.http11 import Request, Response


#: User name and password.
Credentials = tuple[str, str]

CREDENTIALS_WANTED = "credentials must be (user name, password) or a list of these"

# RFC 7617, section 2: "The user-id and password MUST NOT contain any control
# characters".
_control = re.compile(r"[\x00-\x1f\x7f]").search

# What may stand in a quoted string, ASCII only (RFC 9110, section 5.6.4).
_quotable = re.compile(r"[ -~]*").fullmatch

#: Algorithms of Digest and how hashlib calls them, the strongest first. Each has a
#: variant with "-sess" behind it.
ALGORITHMS = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}

#: Of how many nonces `DigestAuth` remembers how often it used them.
MAX_NONCES = 100


# Server side


def basic_auth(
    realm: str = "",
    credentials: Credentials | Iterable[Credentials] | None = None,
    check_credentials: Callable[[str, str], bool | None] | None = None,
) -> Callable[[Any, Request], Response | None]:
    """Make a process_request hook that asks for HTTP Basic authentication.

        serve(handler, process_request=basic_auth("chat", ("ann", "secret")))

    For `serve`, a `Router` or one of its routes. Whoever it lets in has
    ``ws.username``; anybody else gets a 401. To do more in the same hook, call
    this one inside of it and return its answer if that is not None.

    Args:
        realm: what the credentials are for; a client may show it.
        credentials: a pair of user name and password, or several. How long a
            comparison takes does not tell which one was nearly right.
        check_credentials: ``(username, password) -> bool``, called instead. It
            may wait for a database; `open_timeout` bounds that. To compare
            secrets in it, use `hmac.compare_digest`.

    Raises:
        TypeError: if neither or both of them are given, or of the wrong type.
        ValueError: if the realm may not stand in a header, or credentials can't
            be expressed: a colon in a user name, control characters.
    """
    challenge = build_www_authenticate_basic(realm)
    if (credentials is None) == (check_credentials is None):
        raise TypeError("give either credentials or check_credentials")
    check: Callable[[str, str], bool | None]
    if credentials is not None:
        check = known_credentials(credentials)
    elif callable(check_credentials):
        check = check_credentials
    else:
        raise TypeError("check_credentials must be callable")

    def process_request(ws: Any, request: Request) -> Response | None:
        given = given_credentials(request.headers)
        if given is not None:
            answer = check(*given)
            if answer is True:
                ws.username = given[0]
                return None
            if answer:
                # Of a coroutine, say: it must not let everybody in.
                kind = type(answer).__name__
                raise TypeError(f"check_credentials must return a bool, not {kind}")
        response: Response = ws.respond(401, "User name and password, please.\n")
        response.headers["WWW-Authenticate"] = challenge
        return response

    return process_request


def known_credentials(
    credentials: Credentials | Iterable[Credentials],
) -> Callable[[str, str], bool]:
    """Return what checks a user name and password against some that are known.

    Raises:
        TypeError, ValueError: as `basic_auth`.
    """
    if isinstance(credentials, (str, bytes, Mapping)):
        raise TypeError(CREDENTIALS_WANTED)
    entries: list[Any] = list(credentials)
    if isinstance(credentials, (tuple, list)) and [*map(type, entries)] == [str, str]:
        entries = [entries]
    # Digests under a key of our own are of one length, and nobody can choose how
    # much of them is equal: so time tells nothing.
    key = secrets.token_bytes(32)

    def digest(username: str, password: str) -> bytes:
        return hmac.digest(key, f"{username}:{password}".encode(), "sha256")

    known = [digest(*checked_entry(entry)) for entry in entries]

    def check(username: str, password: str) -> bool:
        given = digest(username, password)
        # All of them: the first that is equal does not end it.
        return sum([hmac.compare_digest(given, each) for each in known]) > 0

    return check


def checked_entry(entry: object) -> Credentials:
    """Return one pair of user name and password.

    Raises:
        TypeError, ValueError: as `basic_auth`. They don't show a password.
    """
    if not isinstance(entry, (tuple, list)) or [*map(type, entry)] != [str, str]:
        raise TypeError(CREDENTIALS_WANTED)
    username, password = entry
    if ":" in username:
        raise ValueError(f"a user name can't contain a colon: {username!r}")
    if _control(username + password):
        raise ValueError(f"control characters in the credentials of {username!r}")
    return username, password


def given_credentials(headers: Headers) -> Credentials | None:
    """Return the user name and password of a request; None without good ones.

    Text that is not UTF-8, and control characters, are not good: a check should not
    have to expect them.
    """
    values = headers.get_all("Authorization")
    if len(values) != 1:
        return None
    try:
        username, password = parse_authorization_basic(values[0])
        (username + password).encode()  # what was not UTF-8 can't be encoded
    except (InvalidHeader, UnicodeEncodeError):
        return None
    return None if _control(username + password) else (username, password)


# Client side


class DigestAuth:
    """User name and password for HTTP Digest authentication (RFC 7616).

        connect(uri, auth=DigestAuth("ann", "secret"))

    The password is never sent, only digests that show that one has it. It may
    serve any number of connections of one thread.

    Args:
        username: any text without control characters.
        password: any text.

    Raises:
        TypeError: if one of them is not a str.
        ValueError: if the user name has control characters, or one of them can't
            be UTF-8.
    """

    __slots__ = ("_counts", "_password_octets", "_user_octets", "_username")

    def __init__(self, username: str, password: str) -> None:
        if not isinstance(username, str) or not isinstance(password, str):
            raise TypeError("user name and password must be str")
        if _control(username):
            raise ValueError(f"control characters in the user name {username!r}")
        # RFC 7616, section 4: in UTF-8, and normalized to form C.
        self._username = unicodedata.normalize("NFC", username)
        self._user_octets = self._username.encode()
        self._password_octets = unicodedata.normalize("NFC", password).encode()
        # How often a nonce was used, the latest last.
        self._counts: dict[str, int] = {}

    # Public methods

    def authorization(
        self,
        challenges: Iterable[str],
        method: str,
        uri: str,
        *,
        again: bool = False,
    ) -> str | None:
        """Return the Authorization header that answers a 401.

        Of several challenges the one with the strongest algorithm is answered:
        SHA-512-256, SHA-256, then MD5.

        Args:
            challenges: the values of all its WWW-Authenticate headers. What is not
                in order, or not Digest, is passed over.
            method: of the request: "GET".
            uri: the target of the request: path and query.
            again: whether the request that got this 401 had such a header
                already. Then only a nonce that got stale is a reason to try once
                more; otherwise the password is wrong.

        Returns:
            The value; None if there is nothing to answer.
        """
        usable = [
            challenge
            for challenge in digest_challenges(challenges)
            if is_usable(challenge)
            and (not again or challenge.get("stale", "").lower() == "true")
        ]
        if not usable:
            return None
        challenge = min(usable, key=weakness)
        nonce = challenge["nonce"]
        count = self._counts.pop(nonce, 0) + 1
        self._counts[nonce] = count
        if len(self._counts) > MAX_NONCES:
            del self._counts[next(iter(self._counts))]
        return self._answer(challenge, method, uri, f"{count:08x}")

    # Private methods

    def _answer(
        self, challenge: Mapping[str, str], method: str, uri: str, nc: str
    ) -> str:
        # RFC 7616, section 3.4. The names are those of the RFC.
        realm, nonce = challenge["realm"], challenge["nonce"]
        cnonce = secrets.token_urlsafe(24)
        h = hash_function(challenge)
        # Text of the challenge stands for the octets that came, ours for UTF-8.
        user_in_realm = self._user_octets + b":" + realm.encode("latin-1")
        ha1 = h(user_in_realm + b":" + self._password_octets)
        if is_session(challenge):
            ha1 = h(f"{ha1}:{nonce}:{cnonce}".encode("latin-1"))
        ha2 = h(f"{method}:{uri}".encode())
        middle = f"{nc}:{cnonce}:auth:" if "qop" in challenge else ""
        response = h(f"{ha1}:{nonce}:{middle}{ha2}".encode("latin-1"))
        parameters = [
            *self._user_parameters(challenge, h(user_in_realm)),
            f"realm={quoted(realm)}",
            f"nonce={quoted(nonce)}",
            f"uri={quoted(uri)}",
            f"response={quoted(response)}",
        ]
        if "algorithm" in challenge:
            parameters.append(f"algorithm={challenge['algorithm']}")
        if "qop" in challenge:
            parameters += [f"cnonce={quoted(cnonce)}", "qop=auth", f"nc={nc}"]
        if "opaque" in challenge:
            parameters.append(f"opaque={quoted(challenge['opaque'])}")
        return "Digest " + ", ".join(parameters)

    def _user_parameters(
        self, challenge: Mapping[str, str], userhash: str
    ) -> tuple[str, ...]:
        # Section 3.4.4: hashed if the server wants it so, else as it is; what a
        # quoted string can't hold goes in the notation of RFC 5987.
        if challenge.get("userhash", "").lower() == "true":
            return (f"username={quoted(userhash)}", "userhash=true")
        if _quotable(self._username):
            return (f"username={quoted(self._username)}",)
        return (f"username*=UTF-8''{quote(self._username, safe='')}",)


def digest_challenges(headers: Iterable[str]) -> list[dict[str, str]]:
    """Return the parameters of all Digest challenges in WWW-Authenticate headers."""
    found = []
    for header in headers:
        try:
            challenges = parse_www_authenticate(header)
        except InvalidHeader:
            continue
        found += [
            parameters
            for scheme, parameters in challenges
            if scheme.lower() == "digest" and isinstance(parameters, dict)
        ]
    return found


def is_usable(challenge: Mapping[str, str]) -> bool:
    """Tell whether we can answer a challenge."""
    if "realm" not in challenge or "nonce" not in challenge:
        return False
    if ALGORITHMS.get(algorithm_of(challenge)) not in hashlib.algorithms_available:
        return False
    if "qop" not in challenge:
        # What RFC 2069 had, which knew no "-sess".
        return not is_session(challenge)
    return "auth" in [qop.strip() for qop in challenge["qop"].lower().split(",")]


def weakness(challenge: Mapping[str, str]) -> tuple[int, bool]:
    """Return what sorts the challenges that we can answer, the strongest first."""
    return [*ALGORITHMS].index(algorithm_of(challenge)), "qop" not in challenge


def algorithm_of(challenge: Mapping[str, str]) -> str:
    """Return the algorithm of a challenge in upper case, without its "-sess"."""
    # RFC 7616, section 3.3: "If this is not present, it is assumed to be 'MD5'."
    return challenge.get("algorithm", "MD5").upper().removesuffix("-SESS")


def is_session(challenge: Mapping[str, str]) -> bool:
    """Tell whether the algorithm of a challenge ends with "-sess"."""
    return challenge.get("algorithm", "").upper().endswith("-SESS")


def hash_function(challenge: Mapping[str, str]) -> Callable[[bytes], str]:
    """Return the function that the RFC calls H, for the algorithm of a challenge."""
    name = ALGORITHMS[algorithm_of(challenge)]
    return lambda data: hashlib.new(name, data, usedforsecurity=False).hexdigest()
