"""Whether and when to connect again: `for ws in connect(...)`."""

from __future__ import annotations

import logging
import random
import ssl
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any

from gevent import get_hub, sleep
from greenlet import getcurrent

from ..exceptions import InvalidMessage, InvalidProxyStatus, InvalidStatus
from ..protocol.codes import CloseCode, State
from ..protocol.http11 import Response
from .connection import ClientConnection


#: The longest delay by default, and the longest that a server may ask for.
MAX_DELAY = 90.0

#: A connection that was lost before this many seconds is no proof that all is well.
STABLE_TIME = 5.0

#: Whether `Connections` is let go as soon as a loop ends, and not at some later time.
COUNTS_REFERENCES = sys.implementation.name == "cpython"


def backoff(
    initial_delay: float = 5.0,
    min_delay: float = 3.1,
    max_delay: float = MAX_DELAY,
    factor: float = 1.618,
    random: Callable[[], float] = random.random,
) -> Iterator[float]:
    """Generate the delays between one attempt to connect and the next.

    Args:
        initial_delay: the first one is random, up to this many seconds.
        min_delay: the second one.
        max_delay: none is longer.
        factor: from the second one on, each is so many times the one before.
        random: returns a number from 0.0 to 1.0.
    """
    # RFC 6455 7.2.3: the first reconnect attempt "SHOULD be delayed by a random
    # amount of time", a value "between 0 and 5 seconds"; "subsequent reconnect
    # attempts SHOULD be delayed by increasingly longer amounts of time".
    yield random() * initial_delay
    delay = min_delay
    while delay < max_delay:
        yield delay
        delay *= factor
    while True:
        yield max_delay


def process_exception(exc: Exception) -> Exception | None:
    """Decide whether to connect again after an attempt that failed.

    What may pass is tried again: `OSError` and `TimeoutError`, an opening handshake
    that was cut off, and a server or proxy that answers with 429 or 5xx. A
    certificate that is not the right one does not mend by itself, so
    `ssl.SSLCertVerificationError` is not; neither are other refusals, such as 401.

    Returns:
        None to try again; otherwise the exception to raise, ``exc`` or another.
    """
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc
    if isinstance(exc, OSError):  # TimeoutError is one
        return None
    if isinstance(exc, InvalidMessage) and exc.eof:
        return None
    if isinstance(exc, InvalidStatus | InvalidProxyStatus):
        status = exc.status_code
        return None if status == 429 or 500 <= status < 600 else exc
    return exc


def retry_after(response: Response, now: float) -> float:
    """Return how many seconds a 429 or 503 asks to wait; 0.0 if it does not say.

    Args:
        now: what `time.time` returns, for a header that holds a date.
    """
    values = response.headers.get_all("Retry-After")
    if response.status_code not in (429, 503) or len(values) != 1:
        return 0.0
    # RFC 9110 10.2.3: Retry-After = HTTP-date / delay-seconds.
    value = values[0]
    if value.isascii() and value.isdecimal():
        # More digits than a float has would be an error.
        return float(value[:300])
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, (date - datetime.fromtimestamp(now, UTC)).total_seconds())
    except (ValueError, OverflowError):
        return 0.0


class Connections:
    """The connections of `for ws in connect(...)`, one after the other.

    One is closed, with 1000, before the next is opened, and when the loop is left.
    Used in ``with``, it is closed at the end of that: with 1011 after an exception.
    """

    def __init__(self, reconnection: Reconnection) -> None:
        self._reconnection = reconnection

    # Public methods

    def __iter__(self) -> Connections:
        return self

    def __next__(self) -> ClientConnection:
        reconnection = self._reconnection
        # This frame lives on where somebody keeps an exception with its traceback.
        # It must not keep us, or the end of the loop would not be noticed.
        del self
        return reconnection.open()

    def close(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        """Close the connection that is open; there will be no other."""
        self._reconnection.close(code)

    def __enter__(self) -> Connections:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(end_code(exc_type))

    def __del__(self) -> None:
        # The loop was left.
        self._reconnection.abandon()


class Reconnection:
    """Opens a connection in the place of the one before, whenever asked to.

    Args:
        open: opens a connection.
        process_exception: says whether to try again; see the function.
        reconnect_delays: begins a series of delays. At its end, what went wrong is
            raised.
        logger: is told of each delay.
        stable_time: how many seconds a connection must last for the next one to be
            opened without delay, unless we closed it.
    """

    def __init__(
        self,
        open: Callable[[], ClientConnection],
        process_exception: Callable[[Exception], Exception | None],
        reconnect_delays: Callable[[], Iterable[float]],
        logger: logging.Logger,
        stable_time: float = STABLE_TIME,
    ) -> None:
        self._open = open
        self._process_exception = process_exception
        self._reconnect_delays = reconnect_delays
        self._logger = logger
        self._stable_time = stable_time
        self._ws: ClientConnection | None = None
        self._opened_at = 0.0
        # Who asked for it, and where.
        self._greenlet: weakref.ref[Any] | None = None
        self._loop: Any = None
        # After attempts that fail, since the last success.
        self._delays: Iterator[float] | None = None
        # After connections that open and are lost at once, over and over.
        self._flapping: Iterator[float] | None = None
        self._closed = False

    # Public methods

    def open(self) -> ClientConnection:
        """Close the connection before, and open one as soon as that is possible.

        Raises:
            StopIteration: after `close`.
            Exception: what is not to be tried again.
        """
        if self._closed:
            raise StopIteration
        delay = self._leave()
        if delay:
            self._logger.info("connection lost; reconnecting in %.1f seconds", delay)
            sleep(delay)
        while True:
            try:
                self._ws = ws = self._open()
            except Exception as exc:
                delay = self._delay_after(exc)
            else:
                break
            sleep(delay)
        self._delays = None
        self._opened_at = time.monotonic()
        self._greenlet = weakref.ref(getcurrent())
        self._loop = get_hub().loop
        return ws

    def close(self, code: int) -> None:
        """Close the connection that is open; there will be no other."""
        self._closed = True
        ws, self._ws = self._ws, None
        if ws is not None:
            ws.close(code)

    def abandon(self) -> None:
        """Close the connection that is open; for a finalizer, which can't raise."""
        ws, self._ws = self._ws, None
        if ws is None or self._greenlet is None:
            return
        if COUNTS_REFERENCES and self._greenlet() is getcurrent():
            try:
                ws.close()
            except BaseException as exc:
                raise_later(exc)
        else:
            # The collector calls, from anywhere: this is no place to wait.
            self._loop.run_callback_threadsafe(ws.begin_close)

    # Private methods

    def _leave(self) -> float:
        # Close the connection before; return how long to wait for the next.
        ws, self._ws = self._ws, None
        if ws is None:
            return 0.0
        lost = not is_ours(ws)
        ws.close()
        if not lost or time.monotonic() - self._opened_at >= self._stable_time:
            self._flapping = None
            return 0.0
        if self._flapping is None:
            # The first time, it may have been restarted.
            self._flapping = iter(self._reconnect_delays())
            return 0.0
        return next(self._flapping, MAX_DELAY)

    def _delay_after(self, exc: Exception) -> float:
        # Raise what is not to be tried again.
        error = self._process_exception(exc)
        if error is exc:
            raise exc
        if error is not None:
            raise error from exc
        if self._delays is None:
            self._delays = iter(self._reconnect_delays())
        delay = next(self._delays, None)
        if delay is None:
            raise exc
        if isinstance(exc, InvalidStatus | InvalidProxyStatus):
            asked = retry_after(exc.response, time.time())
            delay = max(delay, min(asked, MAX_DELAY))
        what = f"{type(exc).__name__}: {exc}"
        self._logger.info(
            "connect failed; reconnecting in %.1f seconds: %s", delay, what
        )
        return delay


def is_ours(ws: ClientConnection) -> bool:
    """Return whether it is we who end the connection, and not because of an error."""
    protocol = ws.protocol
    if ws.state is State.OPEN:
        return True
    sent = protocol.close_sent
    return (
        sent is not None
        and sent.code in (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY)
        and not protocol.close_rcvd_then_sent
    )


def end_code(exc_type: type[BaseException] | None) -> CloseCode:
    """Return the close code for the end of a ``with``, by what ended it."""
    if exc_type is None or issubclass(exc_type, GeneratorExit):
        return CloseCode.NORMAL_CLOSURE
    return CloseCode.INTERNAL_ERROR


def raise_later(exc: BaseException) -> None:
    """Raise ``exc`` in this greenlet when it waits again.

    For a finalizer, whose exceptions Python prints and forgets.
    """
    greenlet: Any = getcurrent()
    timer = getattr(exc, "timer", None)

    def throw() -> None:
        # A gevent.Timeout closed meanwhile has let go of its timer.
        if not greenlet.dead and getattr(exc, "timer", None) is timer:
            greenlet.throw(exc)

    get_hub().loop.run_callback(throw)
