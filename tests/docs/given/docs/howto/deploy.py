"""A handler, and a router to serve."""

from pathlib import Path


def handler(ws):
    for message in ws:
        ws.send(message)


Path("chat.py").write_text("from gws import Router\n\nrouter = Router()\n")
