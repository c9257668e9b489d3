"""When to connect again: delays, errors that may pass, what a server asks for."""

from __future__ import annotations

import email.utils
import itertools
import logging
import ssl
from typing import Any

import gevent
import pytest

from gws import ClientConnection, backoff, process_exception
from gws.client.retry import (
    MAX_DELAY,
    Connections,
    Reconnection,
    raise_later,
    retry_after,
)
from gws.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    SecurityError,
)
from gws.protocol.datastructures import Headers
from gws.protocol.http11 import Response


def response(status: int, **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, "", Headers(names))


# Delays


def test_backoff() -> None:
    delays = list(itertools.islice(backoff(random=lambda: 0.5), 12))
    assert delays[0] == 2.5
    assert delays[1] == 3.1
    for one, other in itertools.pairwise(delays[1:9]):
        assert other == pytest.approx(one * 1.618)
    assert delays[8] < MAX_DELAY
    assert delays[9:] == [MAX_DELAY] * 3


def test_backoff_with_other_delays() -> None:
    delays = backoff(1.0, 2.0, 9.0, 2.0, random=lambda: 1.0)
    assert list(itertools.islice(delays, 6)) == [1.0, 2.0, 4.0, 8.0, 9.0, 9.0]


def test_the_first_delay_is_random() -> None:
    first = [next(iter(backoff())) for _ in range(100)]
    assert len(set(first)) > 50
    assert 0 <= min(first) < max(first) <= 5


# Errors


@pytest.mark.parametrize(
    "exc",
    [
        OSError("x"),
        ConnectionRefusedError(),
        TimeoutError(),
        ssl.SSLError("x"),
        InvalidMessage("cut off", eof=True),
        InvalidStatus(response(429)),
        InvalidStatus(response(500)),
        InvalidStatus(response(503)),
        InvalidStatus(response(599)),
        InvalidProxyStatus(response(502)),
    ],
    ids=repr,
)
def test_what_may_pass(exc: Exception) -> None:
    assert process_exception(exc) is None


@pytest.mark.parametrize(
    "exc",
    [
        ssl.SSLCertVerificationError("x"),
        InvalidMessage("no HTTP"),
        InvalidStatus(response(401)),
        InvalidStatus(response(404)),
        InvalidStatus(response(200)),
        InvalidProxyStatus(response(407)),
        InvalidHandshake(),
        SecurityError(),
        InvalidURI("x", "y"),
        ValueError(),
        RuntimeError(),
    ],
    ids=repr,
)
def test_what_does_not_pass(exc: Exception) -> None:
    assert process_exception(exc) is exc


# Retry-After

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("007", 7),
        ("9" * 400, float("9" * 300)),
        (email.utils.formatdate(NOW + 30, usegmt=True), 30),
        (email.utils.formatdate(NOW - 30, usegmt=True), 0),
        # RFC 9110 5.6.7: the obsolete forms.
        ("Tuesday, 14-Nov-23 22:13:50 GMT", 30),
        ("Tue Nov 14 22:13:50 2023", 30),
        ("-1", 0),
        ("1.5", 0),
        ("soon", 0),
        ("", 0),
        ("\xb2", 0),
        ("Tue, 99 Nov 9999999 22:13:50 GMT", 0),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    for status in (429, 503):
        assert retry_after(response(status, Retry_After=value), NOW) == seconds
    assert retry_after(response(500, Retry_After=value), NOW) == 0


def test_no_retry_after() -> None:
    assert retry_after(response(503), NOW) == 0
    headers = Headers([("Retry-After", "1"), ("Retry-After", "2")])
    assert retry_after(Response(503, "", headers), NOW) == 0


# The loop; with real connections it is in test_client_reconnect.py


class Attempts:
    """Opens what it is given, or raises it."""

    def __init__(self, *outcomes: Any) -> None:
        self._outcomes = list(outcomes)

    def __call__(self) -> ClientConnection:
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        opened: ClientConnection = outcome
        return opened


def connections(*outcomes: Any, delays: Any = lambda: iter([])) -> Connections:
    logger = logging.getLogger("gws.client")
    attempts = Attempts(*outcomes)
    return Connections(Reconnection(attempts, process_exception, delays, logger))


def test_no_delay_left() -> None:
    errors = [OSError(n, "x") for n in range(1, 4)]
    with pytest.raises(OSError, match="3"):
        next(connections(*errors, delays=lambda: [0.0, 0.0]))


def test_delays_of_a_response(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gws.client")
    for asked, delay, expected in [
        ("0", 0.001, "0.0"),
        ("60", 0.0, "60.0"),
        ("600", 0.0, "90.0"),
        ("7", 8.0, "8.0"),
    ]:
        exc = InvalidStatus(response(503, Retry_After=asked))
        waiting = connections(exc, OSError(), delays=lambda d=delay: iter([d]))
        with pytest.raises((gevent.Timeout, OSError)), gevent.Timeout(0.02):
            next(waiting)
        (record,) = caplog.records
        assert record.levelname == "INFO"
        assert record.getMessage() == (
            f"connect failed; reconnecting in {expected} seconds: "
            "InvalidStatus: server rejected WebSocket connection: HTTP 503"
        )
        caplog.clear()


def test_nothing_after_the_end() -> None:
    loop = connections()
    loop.close()
    assert list(loop) == []
    with connections() as loop:
        pass
    assert list(loop) == []


def test_an_exception_that_comes_later() -> None:
    class Surprise(Exception):
        pass

    raise_later(Surprise())
    with pytest.raises(Surprise):
        gevent.sleep(10)


def test_a_timeout_that_is_over_does_not_come_later() -> None:
    with gevent.Timeout(0.001) as timeout:
        try:
            gevent.sleep(10)
        except gevent.Timeout as exc:
            assert exc is timeout
            raise_later(exc)
    gevent.sleep(0)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.001):
        try:
            gevent.sleep(10)
        except gevent.Timeout as exc:
            raise_later(exc)
        gevent.sleep(10)


def test_who_has_ended_is_told_nothing_later() -> None:
    greenlet = gevent.spawn(raise_later, ValueError())
    greenlet.join()
    gevent.sleep(0)
    assert greenlet.successful()
