import json
from pathlib import Path

from gws import Router, broadcast
from gws.rooms import Rooms


PAGE = Path(__file__).with_name("page.html").read_bytes()


def answer(ws, request):
    """Answer / with the page; None leaves the rest to the routes."""
    if request.path == "/":
        return 200, {"Content-Type": "text/html; charset=utf-8"}, PAGE
    return None


def here(room):
    return json.dumps({"here": sorted(rooms.members(room))})


def tell(room, user, came):
    """Tell those in a room that somebody came or went."""
    broadcast(rooms.connections(room), here(room))


router = Router(process_request=answer)
rooms = Rooms(presence=True, on_presence=tell)


@router.route("/chat/<room>/<name>")
def chat(ws, room, name):
    with rooms.join(room, ws, user=name):
        ws.send(here(room))
        for text in ws:
            rooms.publish(room, json.dumps({"name": name, "text": text}))
