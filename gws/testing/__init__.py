"""What tests of WebSocket code need: connections without ports, peers, time.

    from gws.testing import connect_to

    def test_echo():
        with connect_to(echo) as ws:
            ws.send("hello")
            assert ws.recv() == "hello"

It depends on no test framework; fixtures for pytest are in `gws.testing.plugin`.
"""

from .clock import FakeClock as FakeClock
from .idle import settle as settle
from .octets import BINARY as BINARY
from .octets import CLOSE as CLOSE
from .octets import CONT as CONT
from .octets import PING as PING
from .octets import PONG as PONG
from .octets import TEXT as TEXT
from .octets import frame as frame
from .octets import request as request
from .pairs import connect_to as connect_to
from .pairs import pair as pair
from .peer import TIMEOUT as TIMEOUT
from .peer import RawPeer as RawPeer
from .rawpairs import client_pair as client_pair
from .rawpairs import raw_connect_to as raw_connect_to
from .rawpairs import server_pair as server_pair
