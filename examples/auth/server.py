"""Who is it? Known by a signed cookie, or by a token in the first message.

    python examples/auth/server.py [PORT] [--patience SECONDS]

and open the address that it prints, as ann (apple) or bob (banana); or run client.py.

    /            the page, or the form to log in
    POST /login  user and password; sets the cookie
    POST /token  user and password; answers with a token, which is good for a minute
    /by-cookie   a WebSocket for pages of this server: the browser sends the cookie
    /by-token    a WebSocket for anybody else; the token is the first message

What is signed can be read by whoever has it, but made by nobody else: AUTH_SECRET is
the key, random if it is not set. A connection ends with what it was opened by.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import secrets
import signal
import time
from typing import NamedTuple

import gevent
from werkzeug.sansio.http import parse_cookie
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from gws import Router
from gws.wsgi import WebSocketApp, is_websocket
from gws.wsgi.pywsgi import WSGIServer


SECRET = os.environ.get("AUTH_SECRET", secrets.token_hex()).encode()

USERS = {
    "ann": generate_password_hash("apple"),
    "bob": generate_password_hash("banana"),
}
NOBODY = generate_password_hash(secrets.token_hex())

#: For how many seconds they are good.
COOKIE_LIFE = 8 * 3600
TOKEN_LIFE = 60

#: Close codes that IANA knows: https://www.iana.org/assignments/websocket
UNAUTHORIZED = 3000
TIMEOUT = 3008

LOGIN = """<!doctype html>
<title>Who are you?</title>
<form method="post" action="/login">
  <input name="user" placeholder="name" autofocus>
  <input name="password" type="password" placeholder="password">
  <button>Log in</button>
</form>
"""

PAGE = """<!doctype html>
<title>Welcome</title>
<form><input autofocus> <button>Say</button></form>
<pre></pre>
<script>
  const ws = new WebSocket(location.href.replace("http", "ws") + "by-cookie");
  ws.onmessage = (event) => document.querySelector("pre").append(event.data, "\\n");
  // Its time is over: to the form.
  ws.onclose = (event) => { if (event.code === 3000) location.reload(); };
  document.forms[0].onsubmit = (event) => {
    event.preventDefault();
    ws.send(document.querySelector("input").value);
    event.target.reset();
  };
</script>
"""


# What is signed


class Rejected(Exception):
    """It says nothing, or not any more."""


class Proof(NamedTuple):
    """What a cookie or a token says."""

    kind: str
    user: str
    expires: float


def sign(kind, user, seconds):
    """Return text that proves, for so many seconds, who somebody is."""
    proof = Proof(kind, user, time.time() + seconds)
    payload = base64.urlsafe_b64encode(json.dumps(proof).encode()).decode()
    return f"{payload}.{signature(payload)}"


def verify(kind, text):
    """Return what it proves. The kind keeps a cookie from being taken for a token."""
    payload, _, given = text.partition(".")
    # Compared in a time that does not tell how much of it is right.
    if not hmac.compare_digest(given.encode(), signature(payload).encode()):
        raise Rejected("not signed here")
    proof = Proof(*json.loads(base64.urlsafe_b64decode(payload)))
    if proof.kind != kind:
        raise Rejected(f"that is a {proof.kind}")
    if proof.expires <= time.time():
        raise Rejected("expired")
    return proof


def signature(payload):
    return hmac.new(SECRET, payload.encode(), hashlib.sha256).hexdigest()


# The WebSockets


def check_cookie(ws, request):
    """Refuse whoever has no good cookie."""
    # That of werkzeug.http fails where a cookie is not UTF-8.
    cookies = parse_cookie("; ".join(request.headers.get_all("Cookie")))
    try:
        ws.proof = verify("cookie", cookies.get("session", ""))
    except Rejected as exc:
        return ws.respond(403, f"The cookie is no good: {exc}.\n")
    return None


def talk(ws, proof):
    """Talk with a user as long as we may know who it is."""
    with gevent.Timeout(max(proof.expires - time.time(), 0), False):
        ws.send(f"You are {proof.user}.")
        for message in ws:
            ws.send(f"{proof.user}: {message}")
    ws.close(UNAUTHORIZED, "expired")


class Application:
    """Pages and WebSockets on one port.

    Args:
        patience: seconds that somebody has to send a token.
    """

    def __init__(self, patience):
        self.patience = patience
        router = Router()
        # The browser adds the cookie whatever page connects. That the page is ours,
        # by its Origin, is checked unless one says otherwise: origins="same".
        router.route("/by-cookie", process_request=check_cookie)(self.by_cookie)
        # No page has a token but by whom it is meant for: any may connect.
        router.route("/by-token", origins="*", max_size=2**12)(self.by_token)
        self.websockets = WebSocketApp(router)

    def __call__(self, environ, start_response):
        serve = self.websockets if is_websocket(environ) else pages
        return serve(environ, start_response)

    def by_cookie(self, ws):
        talk(ws, ws.proof)

    def by_token(self, ws):
        try:
            proof = verify("token", ws.recv(self.patience, decode=True))
        except TimeoutError:
            ws.close(TIMEOUT, "no token in time")
        except UnicodeDecodeError:
            ws.close(UNAUTHORIZED, "that is no text")
        except Rejected as exc:
            ws.close(UNAUTHORIZED, str(exc))
        else:
            talk(ws, proof)


# The pages


@Request.application
def pages(request):
    """Answer a request over HTTP."""
    match request.method, request.path:
        case "GET", "/":
            return page(request)
        case "POST", "/login":
            return log_in(request)
        case "POST", "/token":
            return token(request)
    return Response("There is nothing here.\n", 404)


def page(request):
    try:
        verify("cookie", request.cookies.get("session", ""))
        text = PAGE
    except Rejected:
        text = LOGIN
    return Response(text, mimetype="text/html", headers={"Cache-Control": "no-store"})


def log_in(request):
    # Nor may another page log a visitor in, as somebody else. Programs have no Origin.
    if request.origin and request.origin.partition("://")[2] != request.host:
        return Response("This is for our own form.\n", 403)
    if (user := known(request)) is None:
        return Response("There is no such user, or the password is wrong.\n", 403)
    response = redirect("/", 303)
    response.set_cookie(
        "session",
        sign("cookie", user, COOKIE_LIFE),
        max_age=COOKIE_LIFE,
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


def token(request):
    if (user := known(request)) is None:
        return Response("There is no such user, or the password is wrong.\n", 403)
    headers = {"Cache-Control": "no-store"}
    return Response(sign("token", user, TOKEN_LIFE), headers=headers)


def known(request):
    """Return the user of a form, if the password is right."""
    user = request.form.get("user", "")
    # A check takes long, on purpose: also for who is nobody, so that its time does
    # not tell; and in a thread, so that the others need not wait.
    right = gevent.get_hub().threadpool.apply(
        check_password_hash,
        (USERS.get(user, NOBODY), request.form.get("password", "")),
    )
    return user if right else None


def main():
    parser = argparse.ArgumentParser(description="Authentication in two ways.")
    parser.add_argument("port", nargs="?", type=int, default=8765)
    parser.add_argument("--patience", type=float, default=5, metavar="SECONDS")
    args = parser.parse_args()
    server = WSGIServer(("localhost", args.port), Application(args.patience), log=None)
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, server.close)
    server.start()
    print(f"Listening on http://localhost:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
