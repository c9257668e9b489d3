from pathlib import Path

from gws import Router, broadcast


PAGE = Path(__file__).with_name("page.html").read_bytes()


def answer(ws, request):
    """Answer / with the page; None leaves the rest to the routes."""
    if request.path == "/":
        return 200, {"Content-Type": "text/html; charset=utf-8"}, PAGE
    return None


router = Router(process_request=answer)


@router.route("/chat")
def chat(ws):
    for message in ws:
        broadcast(ws.server.connections, message)
