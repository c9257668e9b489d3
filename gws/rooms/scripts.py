"""What Redis does in one step, and what its answers mean.

Keys of a room, with braces so that a cluster has them in one place:

    PREFIX:{room:ROOM}:n    a hash: epoch and number of the last entry, and the run of
                            Redis
    PREFIX:{room:ROOM}:s    the stream of the latest entries
    PREFIX:{room:ROOM}      the channel

A Redis that has started anew may have lost what it had not saved: then an epoch begins,
so that no id is ever given twice.
"""

from __future__ import annotations

import hashlib
from typing import Any

from .entry import Entry, EntryId, InvalidEntryId
from .envelope import MAGIC, NONCE, InvalidEnvelope, unpack


#: KEYS: the hash, the stream. ARGV: the entry; the channel; PUBLISH or SPUBLISH; how
#: many entries to keep; for how many milliseconds, 0 is for ever; the run of Redis;
#: origin and number of the entry if it may be there already, or "". Returns the id.
PUBLISH = """
local n, s = KEYS[1], KEYS[2]
local entry, channel, publish, keep, ttl, run, again =
    ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
if again ~= '' then
    for _, item in ipairs(redis.call('XREVRANGE', s, '+', '-', 'COUNT', keep)) do
        if string.sub(item[2][2], 5, 20) == again then
            return item[1]
        end
    end
end
local now = redis.call('TIME')
local ms = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
local known = redis.call('HMGET', n, 'epoch', 'run')
local epoch = known[1]
if not epoch or known[2] ~= run then
    if epoch and tonumber(ms) <= tonumber(epoch) then
        ms = string.format('%.0f', tonumber(epoch) + 1)
    end
    epoch = ms
    redis.call('HSET', n, 'epoch', epoch, 'run', run, 'number', 0)
end
local id = epoch .. '-' .. redis.call('HINCRBY', n, 'number', 1)
local add = {'XADD', s, 'MAXLEN', keep, id, 'e', entry, 't', ms}
if redis.pcall(unpack(add)).err then
    -- Others wrote there what is no entry of ours, or is later than any.
    redis.call('DEL', s)
    redis.call(unpack(add))
end
if ttl > 0 then
    redis.call('PEXPIRE', n, ttl)
    redis.call('PEXPIRE', s, ttl)
end
redis.call(publish, channel, id .. ' ' .. entry)
return id
"""

#: KEYS: the hash, the stream. ARGV: the id from which on to read, or "-". Returns epoch
#: and number of the last entry, the time in milliseconds, and the entries.
READ = """
local now = redis.call('TIME')
local last = redis.call('HMGET', KEYS[1], 'epoch', 'number')
return {last[1], last[2], now[1] * 1000 + math.floor(now[2] / 1000),
        redis.call('XRANGE', KEYS[2], ARGV[1], '+')}
"""


#: As Redis names them once they are loaded.
_PUBLISH_SHA = hashlib.sha1(PUBLISH.encode(), usedforsecurity=False).hexdigest()
_READ_SHA = hashlib.sha1(READ.encode(), usedforsecurity=False).hexdigest()


def check_master(connection: Any) -> None:
    """Make sure that a connection is to a master: what is published elsewhere does not
    reach all.

    Raises one of `redis.ERRORS`.
    """
    connection.send_command("ROLE")
    role = connection.read_response()[0]
    if role != b"master":
        raise ConnectionError(f"this Redis is a {role.decode()}, no master")


def prepare(connection: Any, history: bool, scripts: tuple[str, ...] = ()) -> bytes:
    """Make sure that a connection is to a master, and load what is called there.

    Args:
        history: load what history needs.
        scripts: load these.

    Returns:
        The run of Redis: another one after each start.

    Raises one of `redis.ERRORS`.
    """
    check_master(connection)
    for script in (*scripts, *((PUBLISH, READ) if history else ())):
        connection.send_command("SCRIPT", "LOAD", script)
        connection.read_response()
    if not history:
        return b""
    connection.send_command("INFO", "server")
    info: bytes = connection.read_response()
    return info.partition(b"run_id:")[2][:40]


def publish_command(
    channel: bytes,
    data: bytes,
    *,
    sharded: bool,
    history: int,
    ttl: float | None,
    run: bytes,
    again: bool,
) -> tuple[Any, ...]:
    """Return the command that publishes an entry.

    Args:
        channel: of the room.
        data: the entry.
        sharded: with the sharded pub/sub of a cluster.
        history: how many entries are kept.
        ttl: for how many seconds.
        run: what `prepare` returned.
        again: it may have been sent before.
    """
    publish = b"SPUBLISH" if sharded else b"PUBLISH"
    if not history:
        return publish, channel, data
    milliseconds = 0 if ttl is None else max(int(ttl * 1000), 1)
    keys = (2, channel + b":n", channel + b":s")
    nonce = data[NONCE] if again else b""
    args = (data, channel, publish, history, milliseconds, run, nonce)
    return ("EVALSHA", _PUBLISH_SHA, *keys, *args)


def read_command(channel: bytes, since: EntryId | None) -> tuple[Any, ...]:
    """Return the command that reads the entries of a room from ``since`` on.

    From `LATEST` on there are none: it tells only which the last one is.
    """
    begin = "-" if since is None else str(since)
    return "EVALSHA", _READ_SHA, 2, channel + b":n", channel + b":s", begin


#: The greatest id; Redis has 64 bits for each number, but ours are shorter.
LATEST = EntryId(10**16 - 1, 10**16 - 1)


#: The id before all others.
NOTHING = EntryId(0, 0)


class Kept:
    """What Redis has of the history of a room.

    Args:
        reply: to `READ`.
        ttl: for how many seconds entries are kept; None is for ever.

    Raises:
        InvalidEntryId: if others wrote into the hash.
    """

    def __init__(self, reply: Any, ttl: float | None) -> None:
        epoch, number, now, items = reply
        #: The id of the last entry; None if nothing is known of the room.
        self.last = None
        if epoch is not None and number is not None:
            self.last = as_id(epoch + b"-" + number)
        self._oldest = 0 if ttl is None else int(now) - int(ttl * 1000)
        #: The ids in the stream, too old or not, and the entries that are not.
        self.ids: list[EntryId] = []
        self.entries: list[Entry] = []
        #: How many were no entries.
        self.n_invalid = 0
        self._n_old = 0
        for item in items:
            try:
                self._add(*item)
            except (InvalidEnvelope, InvalidEntryId):
                self.n_invalid += 1

    def after(self, since: EntryId | None) -> tuple[list[Entry], bool]:
        """Return the entries after ``since``, and whether that is all there were.

        The stream was read from ``since`` on; it loses what is oldest, never what is
        in between.
        """
        if since is None:
            return self.entries, True
        found = [entry for entry in self.entries if entry.id != since]
        if not self.ids:
            return found, since == (self.last or NOTHING)
        if self.ids[0] == since:
            return found, self._n_old <= 1
        follows = EntryId(since.epoch or self.ids[0].epoch, since.number + 1)
        return found, self.ids[0] == follows and not self._n_old

    def _add(self, item_id: bytes, fields: list[bytes]) -> None:
        entry_id = as_id(item_id)
        if fields[::2] != [b"e", b"t"] or not fields[3].isdigit():
            raise InvalidEnvelope("not what we add")
        self.ids.append(entry_id)
        if int(fields[3]) < self._oldest:
            self._n_old += 1
            return
        entry = unpack(fields[1])
        entry.id = entry_id
        self.entries.append(entry)


def as_id(data: bytes) -> EntryId:
    """Return the id that Redis wrote.

    Raises:
        InvalidEntryId: if it did not.
    """
    return EntryId.parse(data.decode("ascii", "replace"))


def parse_message(data: bytes) -> Entry:
    """Return the entry that was published: by the script, or without one.

    Raises:
        InvalidEnvelope, InvalidEntryId: if it is none.
    """
    if data.startswith(MAGIC):
        return unpack(data)
    # An id is at most 33 bytes; of 100 MB no copy is made to find none.
    end = data.find(b" ", 0, 34)
    if end < 0:
        raise InvalidEnvelope("neither an entry nor an id")
    entry_id, octets = data[:end], data[end + 1 :]
    entry = unpack(octets)
    entry.id = as_id(entry_id)
    return entry
