"""gws: a room a path, over the bus that GWS_BUS names, with GWS_HISTORY messages kept.

For `gws serve`. /N joins the room N; what a member sends is published there.
"""

import os

from gws import ServerConnection
from gws.rooms import Rooms


rooms = Rooms(
    os.environ["GWS_BUS"],
    history=int(os.environ.get("GWS_HISTORY", "0")),
    history_ttl=3600,
)


def handler(ws: ServerConnection) -> None:
    name = ws.path[1:]
    with rooms.join(name, ws):
        ws.send("joined")
        for message in ws:
            rooms.publish(name, message)
