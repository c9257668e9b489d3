"""A handler to serve."""


def handler(ws):
    for message in ws:
        ws.send(message)
