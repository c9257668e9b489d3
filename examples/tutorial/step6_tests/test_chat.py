import json

import pytest
from server import router

from gws import ConnectionClosed
from gws.testing import connect_to


def hear(ws, key):
    """Return the next message that has this key."""
    while key not in (message := json.loads(ws.recv(timeout=1))):
        pass
    return message


def end_of(ws):
    """Return the code with which the server closes."""
    with pytest.raises(ConnectionClosed):
        hear(ws, "nothing has this")
    return ws.close_code


def test_a_message_reaches_all_in_the_room():
    with (
        connect_to(router, "/chat/first/Ada") as ada,
        connect_to(router, "/chat/first/Joan") as joan,
    ):
        assert hear(joan, "here")["here"] == ["Ada", "Joan"]
        ada.send("hello")
        for ws in (ada, joan):
            message = hear(ws, "text")
            assert (message["name"], message["text"]) == ("Ada", "hello")


def test_who_comes_back_gets_what_was_missed():
    with connect_to(router, "/chat/second/Ada") as ada:
        ada.send("one")
        ada.send("two")
        seen = hear(ada, "text")["id"]
    with connect_to(router, f"/chat/second/Ada?since={seen}") as ada:
        assert hear(ada, "text")["text"] == "two"


def test_what_is_no_id():
    with connect_to(router, "/chat/third/Ada?since=yesterday") as ada:
        assert end_of(ada) == 1008


def test_what_is_no_text():
    with connect_to(router, "/chat/fourth/Ada") as ada:
        ada.send(b"\x00\x01")
        assert end_of(ada) == 1003
