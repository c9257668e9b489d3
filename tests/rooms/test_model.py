"""Rooms against a model of them: whatever happens, in whatever order, the counters and
what each member hears are those of the model, exactly.

Peers are real and on sockets. One that stops reading is given, past the rooms, as much
as its connection takes: from then on it is known what becomes of each message.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from typing import Any

import gevent
import hypothesis
import pytest
from gevent.event import Event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gws.prepared import PreparedMessage
from gws.rooms import Rooms
from gws.rooms import room as room_module
from gws.rooms.slow import OVERHEAD, POLICIES
from gws.testing import CLOSE, TEXT, server_pair, settle


LONG = 10

HISTORY = 4
BUDGET = 3 * (OVERHEAD + 20)
SLICE = 2
NAMES = ("a", "b")
FILLER = "filler" * 500


class Member:
    """One connection, its peer, and what the model knows of it."""

    def __init__(self, stack: ExitStack) -> None:
        self.ws, self.peer = stack.enter_context(
            server_pair(receive_buffer=4096, write_limit=4096, close_timeout=LONG)
        )
        #: What it has heard, and what it should have.
        self.heard: list[str] = []
        self.expected: list[str] = []
        #: How often it has joined each room.
        self.rooms: dict[str, int] = {}
        self.reads = True
        #: What waits, by room and key or number.
        self.waiting: OrderedDict[Any, str] = OrderedDict()
        self.may_read = Event()
        self.may_read.set()
        self.reader = gevent.spawn(self._read)

    def _read(self) -> None:
        while True:
            opcode, payload = self.peer.receive()
            if opcode == CLOSE:
                return
            assert opcode == TEXT
            if payload != FILLER.encode():
                self.heard.append(payload.decode())
            self.may_read.wait()

    def stop(self) -> None:
        self.reads = False
        self.may_read.clear()
        filler = PreparedMessage(FILLER)
        while self.ws.send_now(filler):  # the peer takes a last message
            while self.ws.send_now(filler):
                pass
            settle()

    def go_on(self) -> None:
        self.reads = True
        self.may_read.set()

    def n_bytes(self) -> int:
        return sum(len(text) + OVERHEAD for text in self.waiting.values())


class Model(RuleBasedStateMachine):
    """The rules are what users and peers do; each checks what it can see at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.members: list[Member] = []
        self.history: dict[str, list[str]] = {}
        self.counts = dict.fromkeys(("sent", "dropped", "closed", "discarded"), 0)
        self.n = 0

    @initialize(policy=st.sampled_from(POLICIES), history=st.booleans())
    def begin(self, policy: str, history: bool) -> None:
        self.policy = policy
        self.rooms = Rooms(
            slow=policy, budget=BUDGET, history=HISTORY if history else 0
        )
        self.keeps = history

    # What happens

    @rule()
    @precondition(lambda self: len(self.members) < 4)
    def connect(self) -> None:
        self.members.append(Member(self.stack))

    @rule(data=st.data(), name=st.sampled_from(NAMES))
    @precondition(lambda self: self.members)
    def join(self, data: Any, name: str) -> None:
        member = data.draw(st.sampled_from(self.members))
        membership = self.rooms.join(name, member.ws)
        assert membership.gap is False or member.rooms.get(name)
        member.rooms[name] = member.rooms.get(name, 0) + 1

    @rule(data=st.data(), name=st.sampled_from(NAMES), n_missed=st.integers(0, 9))
    @precondition(lambda self: any(member.reads for member in self.members))
    def catch_up(self, data: Any, name: str, n_missed: int) -> None:
        """Join, and get the last messages; more than there are is all, by ``""``."""
        members = [member for member in self.members if member.reads]
        member = data.draw(st.sampled_from(members))
        said = self.history.get(name, [])
        seen = len(said) - n_missed
        since: Any = ""
        if self.keeps and seen > 0:
            entries, _ = self.rooms._bus.read(name, None)
            since = entries[-1].id._replace(number=seen)
        membership = self.rooms.join(name, member.ws, since=since)
        if not member.rooms.get(name):
            kept = said[-HISTORY:] if self.keeps else []
            n_known = len(said) if since == "" else n_missed
            missed = kept[max(len(kept) - n_known, 0) :]
            member.expected += missed
            assert membership.gap is (since != "" and n_missed > len(kept))
        member.rooms[name] = member.rooms.get(name, 0) + 1

    @rule(data=st.data(), name=st.sampled_from(NAMES))
    @precondition(lambda self: self.members)
    def leave(self, data: Any, name: str) -> None:
        member = data.draw(st.sampled_from(self.members))
        self.rooms.leave(name, member.ws)
        n = member.rooms.pop(name, 0)
        if n > 1:
            member.rooms[name] = n - 1
        elif n:
            gone = [topic for topic in member.waiting if topic[0] == name]
            for topic in gone:
                del member.waiting[topic]
            self.counts["discarded"] += len(gone)

    @rule(
        data=st.data(),
        name=st.sampled_from(NAMES),
        key=st.sampled_from([None, "k", "l"]),
        excludes=st.booleans(),
        size=st.sampled_from([1, 20, 300, BUDGET]),
    )
    def publish(
        self, data: Any, name: str, key: str | None, excludes: bool, size: int
    ) -> None:
        exclude = None
        if excludes and self.members:
            exclude = data.draw(st.sampled_from(self.members))
        self.n += 1
        text = f"{self.n:<{size}}"
        published = self.rooms.publish(
            name, text, key=key, exclude=exclude.ws if exclude else None
        )
        self.history.setdefault(name, []).append(text)
        number = published.id.number if published.id else None
        assert number == (len(self.history[name]) if self.keeps else None)
        counts = dict.fromkeys(("sent", "queued", "dropped", "closed"), 0)
        for member in list(self.members):
            if member.rooms.get(name) and member is not exclude:
                self.take(member, (name, key), text, counts)
        assert published[:4] == tuple(counts.values())
        for count, n in counts.items():
            if count in self.counts:
                self.counts[count] += n

    @rule(texts=st.integers(2, 5), name=st.sampled_from(NAMES))
    @precondition(lambda self: all(member.reads for member in self.members))
    def publish_at_once(self, texts: int, name: str) -> None:
        """In as many greenlets, that begin in this order."""
        there = [member for member in self.members if member.rooms.get(name)]
        publishers = []
        for _ in range(texts):
            self.n += 1
            publishers.append(gevent.spawn(self.rooms.publish, name, str(self.n)))
            self.history.setdefault(name, []).append(str(self.n))
            for member in there:
                member.expected.append(str(self.n))
        gevent.joinall(publishers, timeout=LONG, raise_error=True)
        assert [publisher.value.sent for publisher in publishers] == [
            len(there)
        ] * texts
        self.counts["sent"] += len(there) * texts

    @rule(data=st.data())
    @precondition(lambda self: any(member.reads for member in self.members))
    def stop_reading(self, data: Any) -> None:
        members = [member for member in self.members if member.reads]
        data.draw(st.sampled_from(members)).stop()

    @rule(data=st.data())
    @precondition(lambda self: not all(member.reads for member in self.members))
    def go_on_reading(self, data: Any) -> None:
        members = [member for member in self.members if not member.reads]
        member = data.draw(st.sampled_from(members))
        member.go_on()
        settle()
        member.expected += member.waiting.values()
        self.counts["sent"] += len(member.waiting)
        member.waiting.clear()
        assert member.heard == member.expected

    @rule(data=st.data())
    @precondition(lambda self: self.members)
    def disconnect(self, data: Any) -> None:
        self.lose(data.draw(st.sampled_from(self.members)))

    # What the model makes of it

    def take(self, member: Member, topic: Any, text: str, counts: Any) -> None:
        """A message comes for a member: count what becomes of it."""
        if member.reads:
            member.expected.append(text)
            counts["sent"] += 1
            return
        if self.policy == "latest":
            counts["dropped"] += member.waiting.pop(topic, None) is not None
        else:
            topic = (topic[0], text)
        cost = len(text) + OVERHEAD
        if self.policy == "close" and member.n_bytes() + cost > BUDGET:
            counts["closed"] += 1
            self.lose(member)
            return
        if self.policy == "drop_new" or cost > BUDGET:
            fits = member.n_bytes() + cost <= BUDGET
            counts["queued" if fits else "dropped"] += 1
            if fits:
                member.waiting[topic] = text
            return
        while member.n_bytes() + cost > BUDGET:
            member.waiting.popitem(last=False)
            counts["dropped"] += 1
        member.waiting[topic] = text
        counts["queued"] += 1

    def lose(self, member: Member) -> None:
        self.members.remove(member)
        self.counts["discarded"] += len(member.waiting)
        member.reader.kill()
        member.peer.end()
        assert member.ws.wait_closed(LONG)
        settle()

    # What is always so

    @hypothesis.stateful.invariant()
    def counters_agree(self) -> None:
        if not hasattr(self, "rooms"):
            return
        settle()
        totals = self.rooms.totals
        assert {name: getattr(totals, name) for name in self.counts} == self.counts
        outlets = self.rooms._registry._outlets
        for member in self.members:
            if member.reads:
                assert member.heard == member.expected
            if member.ws in outlets:
                outlet = outlets[member.ws]
                assert outlet.n_waiting == len(member.waiting)
                assert outlet._n_bytes == member.n_bytes() <= BUDGET
        for name in NAMES:
            there = {member.ws for member in self.members if member.rooms.get(name)}
            assert set(self.rooms.connections(name)) == there

    def teardown(self) -> None:
        try:
            for member in list(self.members):
                self.lose(member)
            if hasattr(self, "rooms"):
                registry = self.rooms._registry
                left = (registry.rooms, registry._outlets, registry._behind)
                assert not any(left), left
                assert not self.rooms._pending
        finally:
            self.stack.close()


def test_rooms_are_as_the_model(
    leakcheck: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE", SLICE)
    hypothesis.stateful.run_state_machine_as_test(
        Model,
        settings=hypothesis.settings(
            max_examples=hypothesis.settings().max_examples // 10,
            stateful_step_count=25,
            phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},
            suppress_health_check=list(hypothesis.HealthCheck),
            database=None,
        ),
    )
