"""Opcodes, close codes, states and sides."""

from __future__ import annotations

import pytest

from gws.protocol import codes
from gws.protocol.codes import CloseCode, Opcode, Side, State


def test_opcodes() -> None:
    # RFC 6455, section 11.8
    assert {opcode.name: opcode.value for opcode in Opcode} == {
        "CONT": 0,
        "TEXT": 1,
        "BINARY": 2,
        "CLOSE": 8,
        "PING": 9,
        "PONG": 10,
    }


def test_states_come_one_after_the_other() -> None:
    assert list(State) == sorted(State)
    assert [state.name for state in State] == [
        "CONNECTING",
        "OPEN",
        "CLOSING",
        "CLOSED",
    ]
    assert [Side.SERVER, Side.CLIENT] == [0, 1]


def test_codes_that_may_be_sent() -> None:
    """CASES F14, and every other code beside them."""
    allowed = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    assert {code for code in range(-1, 65537) if codes.may_be_sent(code)} == allowed


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (1000, "OK"),
        (1006, "connection closed abnormally [internal]"),
        (1012, "service restart"),
        (2999, "unknown"),
        (3000, "registered"),
        (3999, "registered"),
        (4000, "private use"),
        (4999, "private use"),
        (5000, "unknown"),
        (0, "unknown"),
    ],
)
def test_meanings(code: int, meaning: str) -> None:
    assert codes.close_code_meaning(code) == meaning


def test_every_close_code_has_a_meaning() -> None:
    assert set(codes.CLOSE_CODE_MEANINGS) == {code.value for code in CloseCode}
