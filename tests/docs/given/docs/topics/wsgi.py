"""What an application has beside its WebSockets: pages, users, a database."""

from pathlib import Path

import django.conf


django.conf.settings.configure()

rooms = {}


def pages(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"a page\n"]


def login_required(view):
    return view


Path("module.py").write_text("""
from flask import Flask

from gws.wsgi.flask import Sock

app = Flask(__name__)
sock = Sock(app)
""")
