"""Who is in which room, over all processes: kept in Redis, a lease a room and process.

    PREFIX:{room:ROOM}:p    a hash: each user, and the processes where it is; "", and
                            the leases: for each process when it ends, and how many
                            users it has there

One script does all that is done to a room, in one step. Whatever a process tells Redis
of a room renews its lease, and it does so several times a lease. Any process that comes
by finds those whose lease has ended, and has their users leave: so nobody can be killed
half way, and none needs to know of another. Where nobody comes by for some leases, the
key expires.

It heals in one way: a process tells how many users it has, with each renewal; where
Redis has it otherwise, because it was emptied, or found the lease ended, or something
was lost on the way, the process is asked to tell again who they are. They are told
again, too, whenever Redis was away; while it is, nothing is kept to be told later.

In the channel of the room, beside its entries:

    +USER       has come, with the first connection in any process
    -USER       has gone, with the last
    ?PROCESS    is asked who its users are
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from typing import Any

import gevent

from .envelope import InvalidEnvelope
from .names import channel_of
from .presence import OnPresence, check_user
from .redis import ERRORS


#: KEYS: the hash. ARGV: the channel; PUBLISH or SPUBLISH; this process; its lease in
#: milliseconds; what to do, and with whom: "+" USER, "-" USER, "=" all its USERs, "?"
#: how many there should be, or "" to do no more than to return who is there.
SCRIPT = """
local room = KEYS[1]
local channel, publish, me, lease, what =
    ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

local function enter(user)
    local there = redis.call('HGET', room, user)
    if there and string.find(there, me, 1, true) then
        return 0
    end
    redis.call('HSET', room, user, (there or '') .. me)
    if not there then
        redis.call(publish, channel, '+' .. user)
    end
    return 1
end

local function leave(user, process)
    local there = redis.call('HGET', room, user) or ''
    local first, last = string.find(there, process, 1, true)
    if not first then
        return 0
    end
    local left = string.sub(there, 1, first - 1) .. string.sub(there, last + 1)
    if left ~= '' then
        redis.call('HSET', room, user, left)
    else
        redis.call('HDEL', room, user)
        redis.call(publish, channel, '-' .. user)
    end
    return 1
end

local function leave_all(process, staying)
    for _, user in ipairs(redis.call('HKEYS', room)) do
        if user ~= '' and not staying[user] then
            leave(user, process)
        end
    end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('HGET', room, '') or ''
local leases, last, mine, n = '', now, now, 0
for process, ends, count in string.gmatch(before, '(%x+ )(%d+) (%d+);') do
    if process == me then
        mine, n = tonumber(ends), tonumber(count)
    elseif tonumber(ends) <= now then
        leave_all(process, {})
    else
        leases = leases .. process .. ends .. ' ' .. count .. ';'
        last = math.max(last, tonumber(ends))
    end
end

if what == '?' and n ~= tonumber(ARGV[6]) then
    redis.call(publish, channel, '?' .. me)
elseif what ~= '' then
    mine = now + lease
end
if what == '+' then
    n = n + enter(ARGV[6])
elseif what == '-' then
    n = n - leave(ARGV[6], me)
elseif what == '=' then
    local staying = {}
    for i = 6, #ARGV do
        staying[ARGV[i]] = true
        enter(ARGV[i])
    end
    leave_all(me, staying)
    n = #ARGV - 5
end

if n > 0 then
    leases = leases .. string.format('%s%.0f %d;', me, mine, n)
    last = math.max(last, mine)
end
if leases == '' then
    redis.call('DEL', room)
elseif leases ~= before then
    redis.call('HSET', room, '', leases)
    -- Later than the last lease: who only listens shall find that it has ended, also
    -- if it has a longer one of its own, or is late.
    redis.call('PEXPIREAT', room, string.format('%.0f', last + 10 * lease))
end
if what == '' then
    return redis.call('HKEYS', room)
end
"""

#: As Redis names it once it is loaded.
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

#: What a message in the channel of a room begins with if it is no entry.
CAME, WENT, ASKED = b"+", b"-", b"?"
SIGNS = (CAME, WENT, ASKED)

#: Renewed so many times a lease.
RENEWALS = 3

#: How many rooms are renewed before the loop comes to others.
SLICE = 100

#: Sends a command to where a key is, and returns the reply; raises one of `ERRORS`.
Call = Callable[[bytes, tuple[Any, ...]], Any]

#: Has one sent, and returns at once; while Redis is away it is forgotten.
Put = Callable[[bytes, tuple[Any, ...]], object]


class RedisPresence:
    """The users of this process, to others; and those of others.

    Args:
        prefix: what the names of keys begin with.
        sharded: with the sharded pub/sub of a cluster.
        lease: seconds after which the users of a process that was killed are gone.
        call, put: see above.
        tell: told of each who comes or goes, in any process.
    """

    def __init__(
        self,
        prefix: str,
        *,
        sharded: bool,
        lease: float,
        call: Call,
        put: Put,
        tell: OnPresence,
    ) -> None:
        self._prefix = prefix
        self._publish = "SPUBLISH" if sharded else "PUBLISH"
        self._lease = lease
        self._call = call
        self._put = put
        self._tell = tell
        # None of these is part of another, nor of two side by side.
        self._process = f"{secrets.token_hex(8)} "
        # The users of this process by room; None has come to hear of others.
        self._rooms: dict[str, set[str | None]] = {}
        self._keeper: Any = None
        self.logger = logging.getLogger("gws.rooms")

    # Public methods

    def enter(self, room: str, user: str | None) -> None:
        """See `SharedPresence`."""
        self._rooms.setdefault(room, set()).add(user)
        if not self._keeper:  # none, or a dead one
            self._keeper = gevent.spawn(self._keep)
        if user is not None:
            self._change(room, CAME, user)

    def leave(self, room: str, user: str | None) -> None:
        """See `SharedPresence`."""
        users = self._rooms.get(room, set())
        users.discard(user)
        if not users:
            self._rooms.pop(room, None)
        if user is not None:
            self._change(room, WENT, user)

    def users(self, room: str) -> set[str] | None:
        """See `SharedPresence`."""
        key, command = self._command(room, b"")
        try:
            found = self._call(key, command)
        except ERRORS as exc:
            self.logger.info("who is in %r in other processes: %s", room, exc)
            return None
        return {user.decode(errors="replace") for user in found if user}

    def enter_again(self) -> None:
        """Tell who is where: Redis is back, and may have lost it."""
        for room in self._rooms:
            self._tell_all(room)

    def on_message(self, room: str, data: bytes) -> None:
        """Take what came by the channel of a room, and is no entry.

        Raises:
            InvalidEnvelope: if nobody of us can have sent it.
        """
        sign, text = data[:1], data[1:]
        try:
            user = text.decode()
            check_user(user)
        except ValueError as exc:
            raise InvalidEnvelope(str(exc)) from None
        if sign != ASKED:
            self._tell(room, user, sign == CAME)
        elif user == self._process:
            self._tell_all(room)

    def close(self) -> None:
        """Have all users of this process leave; waits for nothing."""
        for room in self._rooms:
            self._change(room, b"=")
        self.stop()

    def stop(self) -> None:
        """End, and tell nobody: after a fork its users are those of the parent."""
        self._rooms.clear()
        if self._keeper is not None:
            self._keeper.kill(block=False)
            self._keeper = None

    # Private methods

    def _command(
        self, room: str, what: bytes, *args: str | int
    ) -> tuple[bytes, tuple[Any, ...]]:
        # What tells where the room is, and the command.
        channel = channel_of(self._prefix, room)
        lease = max(int(self._lease * 1000), 1)
        argv = (channel, self._publish, self._process, lease, what, *args)
        return channel, ("EVALSHA", SCRIPT_SHA, 1, channel + b":p", *argv)

    def _change(self, room: str, what: bytes, *args: str | int) -> None:
        self._put(*self._command(room, what, *args))

    def _tell_all(self, room: str) -> None:
        users = self._rooms.get(room, ())
        self._change(room, b"=", *(user for user in users if user is not None))

    def _keep(self) -> None:
        while self._rooms:
            gevent.sleep(self._lease / RENEWALS)
            for i, room in enumerate(list(self._rooms)):
                if i and i % SLICE == 0:
                    gevent.sleep(0)
                users = self._rooms.get(room, set())
                self._change(room, ASKED, len(users) - (None in users))
        self._keeper = None
