"""A program that logs in: once for a cookie, once for a token.

    python examples/auth/client.py [URL [USER PASSWORD]]

URL is http://localhost:8765 if you don't say: the address of server.py.
"""

import http.cookiejar
import sys
import urllib.parse
import urllib.request

from gws import connect


class Login:
    """Asks a server over HTTP what opens its WebSockets."""

    def __init__(self, url, user, password):
        self.url = url
        self.form = urllib.parse.urlencode({"user": user, "password": password})

    def cookie(self):
        """Return the header with the cookie that /login sets."""
        jar = http.cookiejar.CookieJar()
        opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(jar),
        )
        opener.open(f"{self.url}/login", self.form.encode(), timeout=10).close()
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)

    def token(self):
        with urllib.request.urlopen(
            f"{self.url}/token", self.form.encode(), timeout=10
        ) as response:
            return response.read().decode()


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8765"
    user, password = sys.argv[2:4] if len(sys.argv) > 3 else ("ann", "apple")
    login = Login(url, user, password)
    uri = url.replace("http", "ws", 1)
    headers = {"Cookie": login.cookie()}
    with connect(f"{uri}/by-cookie", additional_headers=headers) as ws:
        print("by cookie:", ws.recv())
    token = login.token()  # first: once connected, the server won't wait long
    with connect(f"{uri}/by-token") as ws:
        # Not in the URI: that is written into logs on the way.
        ws.send(token)
        print("by token:", ws.recv())


if __name__ == "__main__":
    main()
