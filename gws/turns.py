"""Whose turn it is: connections with something to receive in, their receivers run.

`Awaited` is what a greenlet waits for: more input, or the end. `Turns` has those that
wait for input run, one after another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from gevent.event import Event

from .exceptions import ConcurrencyError
from .greenlets import getcurrent, switch_to, thread_id
from .hubs import share_of


class Turns:
    """Whose turn it is, of the connections of one hub that have something to receive.

    All that the loop found to read is read before the first receiver runs. One that
    waits again then switches straight to the next, and only the last to the hub: a
    message costs one switch, not two.
    """

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._links: list[Awaited] = []
        # How many of them had their turn.
        self._n_had = 0

    def add(self, link: Awaited) -> None:
        """Give ``link`` a turn, before the loop reads again."""
        if not self._links:
            self._hub.loop.run_callback(self.run)
        self._links.append(link)

    def next_receiver(self) -> Any:
        """Return the greenlet whose turn it is; None if all had theirs."""
        while self._n_had < len(self._links):
            link = self._links[self._n_had]
            self._n_had += 1
            link._awaits_turn = False
            if link._receiver is not None:
                return link._receiver
        return None

    def run(self) -> None:
        """Have each receiver run, then settle what they leave; the hub calls this."""
        while True:
            receiver = self.next_receiver()
            if receiver is None:
                break
            try:
                switch_to(receiver)
            except BaseException:
                # It ended with this; it is not for whom the hub was serving.
                self._hub.handle_error(receiver, *sys.exc_info())
        links = self._links
        self._links = []
        self._n_had = 0
        for link in links:
            link._settle_guarded()


def turns_of(hub: Any) -> Turns:
    """Return the turns of the connections of ``hub``."""
    turns: Turns | None = getattr(hub, "_gws_turns", None)
    if turns is None:
        turns = hub._gws_turns = Turns(hub)
    return turns


class Awaited:
    """A connection as the greenlets that wait for it see it; `Link` is one."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._share = share_of(hub)
        self._turns = turns_of(hub)
        # The greenlet that waits in recv.
        self._receiver: Any = None
        # The receiver's turn will come; after it, and those of others, we settle.
        self._awaits_turn = False
        self._unsettled = False
        # TCP is gone.
        self._finished = False
        self._closed: Event | None = None

    # For who waits for the end

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the TCP connection is gone, at most ``timeout`` seconds.

        Returns:
            Whether it is.
        """
        self._check_thread()
        if self._finished or getcurrent() is self._hub:
            return self._finished
        if self._closed is None:
            self._closed = Event()
        return self._closed.wait(timeout)

    def call_when_closed(self, callback: Callable[[], object]) -> None:
        """Call back in the hub, once, when the TCP connection is gone."""
        if self._finished:
            self._hub.loop.run_callback(callback)
            return
        if self._closed is None:
            self._closed = Event()
        self._closed.rawlink(lambda _: callback())

    # For who waits for input

    def wait_input(self) -> None:
        """Wait for what the hub finds to read, or the end of the connection."""
        self._wait_input()

    def _wait_input(self) -> None:
        # Until a turn, or the end of the connection, switches back.
        current = getcurrent()
        if current is self._hub:
            raise ConcurrencyError("the hub can't wait for a message")
        self._receiver = current
        try:
            self._before_waiting()
            # Micro-optimization: not the method of gevent's hub. What that adds is
            # the check above; its call costs each idle connection some stack.
            following = self._turns.next_receiver()
            switch_to(self._hub if following is None else following)
        finally:
            self._receiver = None

    def _take_turn(self) -> None:
        # Have the receiver run once all that the loop found to read is read.
        if not self._awaits_turn:
            self._awaits_turn = self._unsettled = True
            self._turns.add(self)

    def _wake_receiver(self) -> None:
        # Have the greenlet that waits in recv look again.
        if self._receiver is None:
            return
        if getcurrent() is self._hub:
            self._switch_to_receiver()
        else:
            self._hub.loop.run_callback(self._wake_receiver)

    def _switch_to_receiver(self) -> None:
        # Straight into the greenlet that waits in recv; only the hub may.
        receiver = self._receiver
        try:
            switch_to(receiver)
        except BaseException:
            # It ended with this; it is not for whom the hub was serving.
            self._hub.handle_error(receiver, *sys.exc_info())

    def _check_thread(self) -> None:
        if thread_id() != self._share.thread:
            raise ConcurrencyError(
                "a connection belongs to the thread (the gevent hub) that made it"
            )

    # For `Link` to say

    def _before_waiting(self) -> None:
        """Write what the receiver has left; before it waits."""

    def _settle_guarded(self) -> None:
        """Do what the receiver's turn has left to do; may not raise."""
