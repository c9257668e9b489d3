"""Proxies of the pproxy package, on ports that the kernel chooses.

    peer.py CERTIFICATE

Says one line of JSON, the port of each by its name, and serves until it is killed.
The user is "user", the password "pass:wörd"; that of SOCKS is ASCII: "password".
"""

import asyncio
import json
import ssl
import sys

import pproxy


PROXIES = {
    "http": "http://127.0.0.1:1",
    "http with auth": "http://127.0.0.1:1#user:pass:wörd",
    "https": "http://127.0.0.1:1#user:pass:wörd",
    "socks4": "socks4://127.0.0.1:1",
    "socks4 with user": "socks4://127.0.0.1:1#user",
    "socks5": "socks5://127.0.0.1:1",
    "socks5 with auth": "socks5://127.0.0.1:1#user:password",
}


async def main():
    loop = asyncio.get_running_loop()
    ports = {}
    for name, uri in PROXIES.items():
        option = pproxy.Server(uri)
        if name == "https":
            option.sslserver = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            option.sslserver.load_cert_chain(sys.argv[1])
        option.port = 0  # the library takes none in the URI for the default
        # Not: once somebody has given the password, all of the address may pass.
        settings = {"rserver": [pproxy.Connection("direct://")], "authtime": -1}
        server = await option.start_server(settings)
        ports[name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await loop.create_future()


asyncio.run(main())
