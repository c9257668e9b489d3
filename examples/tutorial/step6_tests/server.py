import json
import os
from pathlib import Path
from urllib.parse import parse_qs

from gws import Router, broadcast
from gws.rooms import InvalidEntryId, Rooms


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


def render(entry):
    """Return what members get: what was said, and the id of it."""
    return json.dumps(json.loads(entry.message) | {"id": str(entry.id or "")})


router = Router(process_request=answer)
rooms = Rooms(
    os.environ.get("CHAT_BUS", "memory://"),
    history=100,
    history_ttl=24 * 3600,
    presence=True,
    on_presence=tell,
    render=render,
)


@router.route("/chat/<room>/<name>")
def chat(ws, room, name):
    query = parse_qs(ws.path.partition("?")[2])
    since = query.get("since", [""])[0]
    try:
        membership = rooms.join(room, ws, since=since, user=name)
    except InvalidEntryId:
        ws.close(1008, "since is no id")
        return
    with membership:
        ws.send(here(room))
        if membership.gap:
            ws.send(json.dumps({"gap": True}))
        for text in ws:
            if isinstance(text, bytes):
                ws.close(1003, "text only")
                return
            rooms.publish(room, json.dumps({"name": name, "text": text}))
