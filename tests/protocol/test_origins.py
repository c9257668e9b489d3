"""Who may connect, by the Origin header (CASES H14)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gws.exceptions import InvalidHeader, InvalidOrigin
from gws.protocol.datastructures import Headers
from gws.protocol.origins import Origins, check_origin, checked_origins


def check(origin: str | None, origins: Origins, host: str = "example.com") -> bool:
    """Tell whether a request to ``host`` may come from ``origin``."""
    headers = Headers(Host=host)
    if origin is not None:
        headers["Origin"] = origin
    try:
        check_origin(headers, origins)
    except InvalidOrigin as exc:
        assert exc.value == origin
        return False
    return True


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "example.com"),
        ("http://example.com", "example.com"),
        ("http://example.com", "example.com:80"),
        ("http://example.com:80", "example.com"),
        # TLS may end at a proxy: the scheme is not compared.
        ("https://example.com", "example.com"),
        ("https://example.com", "example.com:443"),
        ("https://example.com:443", "example.com"),
        ("ws://example.com", "example.com"),
        ("http://example.com:8080", "example.com:8080"),
        ("https://example.com:8080", "example.com:8080"),
        ("HTTP://EXAMPLE.com", "example.COM"),
        ("http://[2001:db8::1]", "[2001:db8::1]"),
        ("http://[2001:db8::1]:8080", "[2001:DB8:0:0::1]:8080"),
        ("http://127.0.0.1:8765", "127.0.0.1:8765"),
        ("http://localhost:8765", "localhost:8765"),
    ],
)
def test_same(origin: str | None, host: str) -> None:
    assert check(origin, "same", host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("null", "example.com"),
        ("", "example.com"),
        ("http://evil.com", "example.com"),
        ("https://example.com.evil.com", "example.com"),
        ("https://evil-example.com", "example.com"),
        ("https://www.example.com", "example.com"),
        ("https://example.com@evil.com", "example.com"),
        ("https://evil.com/example.com", "example.com"),
        ("https://evil.com#example.com", "example.com"),
        ("https://evil.com?example.com", "example.com"),
        ("http://example.com/", "example.com"),
        ("http://example.com.", "example.com"),
        ("http://example.com:8080", "example.com"),
        ("http://example.com", "example.com:8080"),
        ("http://example.com:443", "example.com"),
        ("http://example.com", "example.com:443"),
        ("https://example.com", "example.com:80"),
        ("http://localhost:3000", "localhost:8765"),
        ("http://127.0.0.1:8765", "localhost:8765"),
        ("http://[::1]:8765", "localhost:8765"),
        ("http://[::2]", "[::1]"),
        ("http://[::1", "[::1]"),
        ("http://example.com:99999", "example.com"),
        ("http://example.com:x", "example.com"),
        ("//example.com", "example.com"),
        ("example.com", "example.com"),
        ("http:example.com", "example.com"),
        ("http://", "example.com"),
        ("http://example.com http://evil.com", "example.com"),
        # Pages of apps and extensions, which no server gave out.
        ("tauri://localhost", "localhost"),
        ("file://example.com", "example.com"),
        ("chrome-extension://abcdef", "abcdef"),
    ],
)
def test_not_the_same(origin: str, host: str) -> None:
    assert not check(origin, "same", host)


@pytest.mark.parametrize("origin", [None, "null", "http://evil.com", "", "x y"])
def test_any(origin: str | None) -> None:
    assert check(origin, "*")


GOOD = "https://good.com"


@pytest.mark.parametrize(
    ("origin", "origins"),
    [
        (GOOD, [GOOD]),
        (GOOD, ["http://other.com", GOOD]),
        (GOOD, (GOOD,)),
        ("https://GOOD.com", [GOOD]),
        ("HTTPS://good.com", [GOOD]),
        ("https://good.com:443", [GOOD]),
        (GOOD, ["HTTPS://Good.com:443"]),
        ("http://good.com:80", ["http://good.com"]),
        ("https://good.com:8443", ["https://good.com:8443"]),
        ("https://[::1]:8443", ["https://[0:0::1]:8443"]),
        ("tauri://localhost", ["tauri://localhost"]),
        ("null", ["null"]),
        (None, [None]),
        (None, [GOOD, None]),
        (GOOD, [None, GOOD]),
        (GOOD, [re.compile(r"https://(www\.)?good\.com")]),
        ("https://www.good.com", [re.compile(r"https://(www\.)?good\.com")]),
        ("https://a.good.com:1", ["null", re.compile(r"https://[a-z]+\.good\.com:\d")]),
    ],
)
def test_listed(origin: str | None, origins: Origins) -> None:
    assert check(origin, origins)


@pytest.mark.parametrize(
    ("origin", "origins"),
    [
        (GOOD, []),
        (None, []),
        (None, [GOOD]),
        (None, [re.compile(".*")]),
        (GOOD, [None]),
        (GOOD, ["http://good.com"]),
        (GOOD, ["https://good.com:8443"]),
        ("https://good.com:8443", [GOOD]),
        ("https://good.com.evil.com", [GOOD]),
        ("https://good.com.", [GOOD]),
        ("https://evil.com", [GOOD]),
        ("https://good.com@evil.com", [GOOD]),
        ("https://xgood.com", [GOOD]),
        ("null", [GOOD]),
        ("null", [None]),
        ("", [GOOD, None]),
        # Not listed as origins are written: these never match.
        (GOOD, ["good.com"]),
        (GOOD, ["https://good.com/"]),
        (GOOD, ["*"]),
        # A pattern must match all of it.
        ("https://good.com.evil.com", [re.compile(r"https://good\.com")]),
        ("xhttps://good.com", [re.compile(r"https://good\.com")]),
    ],
)
def test_not_listed(origin: str | None, origins: Origins) -> None:
    assert not check(origin, origins)


PATTERN = re.compile(r"https://\w+\.good\.com")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("same", "same"),
        ("*", "*"),
        ([], ()),
        ([GOOD, None, PATTERN], (GOOD, None, PATTERN)),
        ((GOOD,), (GOOD,)),
        ({GOOD}, (GOOD,)),
        (iter([GOOD, "null"]), (GOOD, "null")),
        (["file://", "app://a.b", "HTTP://[::1]:80"],) * 2,
    ],
)
def test_options_that_make_sense(given: Any, expected: Any) -> None:
    checked = checked_origins(given)
    assert checked == (tuple(expected) if isinstance(expected, list) else expected)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (None, TypeError),
        (True, TypeError),
        (5, TypeError),
        (GOOD, TypeError),
        ("", TypeError),
        ("SAME", TypeError),
        (b"same", TypeError),
        (PATTERN, TypeError),
        ([5], TypeError),
        ([b"https://good.com"], TypeError),
        ([re.compile(b"https://good.com")], TypeError),
        # Strings that no Origin header is ever equal to.
        (["*"], ValueError),
        (["same"], ValueError),
        ([""], ValueError),
        (["good.com"], ValueError),
        (["//good.com"], ValueError),
        (["https://good.com/"], ValueError),
        (["https://good.com/path"], ValueError),
        (["https://*.good.com"], ValueError),
        (["https://user@good.com"], ValueError),
        (["https://good.com:99999"], ValueError),
        (["https://g\xf6\xf6d.com"], ValueError),
        ([GOOD, "NULL"], ValueError),
    ],
)
def test_options_that_make_no_sense(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="origin"):
        checked_origins(given)


@pytest.mark.parametrize("origins", ["same", "*", ["http://a.com", "http://b.com"]])
def test_origin_twice(origins: Origins) -> None:
    headers = Headers([("Host", "a.com"), ("Origin", "http://a.com")])
    check_origin(headers, origins)
    headers["Origin"] = "http://a.com"
    with pytest.raises(InvalidHeader, match="invalid Origin header: multiple values"):
        check_origin(headers, origins)


def test_a_proxy_is_not_believed() -> None:
    """Whoever sends X-Forwarded-Host may be the attacker."""
    headers = Headers(
        {
            "Host": "example.com",
            "X-Forwarded-Host": "evil.com",
            "Forwarded": "host=evil.com",
            "Origin": "http://evil.com",
        }
    )
    with pytest.raises(InvalidOrigin, match=r"invalid Origin header: http://evil\.com"):
        check_origin(headers, "same")
