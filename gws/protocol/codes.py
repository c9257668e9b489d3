"""The numbers of RFC 6455: opcodes, close codes, and the states a connection has.

The enumerations are for users; the plain integers beside them are for the hot
modules, whose ``.pxd`` makes them integers of C.
"""

from __future__ import annotations

import enum


OP_CONT = 0x0
OP_TEXT = 0x1
OP_BINARY = 0x2
OP_CLOSE = 0x8
OP_PING = 0x9
OP_PONG = 0xA

CONNECTING = 0
OPEN = 1
CLOSING = 2
CLOSED = 3


class Opcode(enum.IntEnum):
    """What a frame carries (RFC 6455, section 5.2)."""

    CONT = OP_CONT
    TEXT = OP_TEXT
    BINARY = OP_BINARY
    CLOSE = OP_CLOSE
    PING = OP_PING
    PONG = OP_PONG


class State(enum.IntEnum):
    """Where a connection is in its life (RFC 6455, sections 4 and 7)."""

    CONNECTING = CONNECTING
    OPEN = OPEN
    CLOSING = CLOSING
    CLOSED = CLOSED


class Side(enum.IntEnum):
    """Which end of the connection this is: only a client masks what it sends."""

    SERVER = 0
    CLIENT = 1


class CloseCode(enum.IntEnum):
    """Close codes by their IANA names (RFC 6455, section 7.4.1)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


#: How a close code reads in messages for people.
CLOSE_CODE_MEANINGS = {
    1000: "OK",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1005: "no status received [internal]",
    1006: "connection closed abnormally [internal]",
    1007: "invalid frame payload data",
    1008: "policy violation",
    1009: "message too big",
    1010: "mandatory extension",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
    1015: "TLS handshake failure [internal]",
}


def close_code_meaning(code: int) -> str:
    """Say in words what ``code`` means."""
    if code in CLOSE_CODE_MEANINGS:
        return CLOSE_CODE_MEANINGS[code]
    if 3000 <= code < 4000:
        return "registered"
    if 4000 <= code < 5000:
        return "private use"
    return "unknown"


def may_be_sent(code: int) -> bool:
    """Tell whether ``code`` may stand in a close frame.

    RFC 6455, section 7.4.1: 1005, 1006 and 1015 MUST NOT be set as a status
    code in a Close control frame; 1004 is reserved. 1012 to 1014 were
    registered with IANA later. Section 7.4.2 gives 3000-4999 to libraries and
    applications.
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
