"""A server of what the page connects to."""

from gws import Router, serve


router = Router()


@router.route("/chat")
def chat(ws):
    for message in ws:
        ws.send(message)


@router.route("/prices")
def prices(ws):
    ws.send("4051")
    ws.wait_closed()


with serve(router, "localhost", 8765) as server:
    server.serve_forever()
