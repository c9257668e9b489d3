"""The examples of WSGI servers, as a user runs them."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import gevent
import pytest

from gws import ClientConnection, ConnectionClosed, InvalidStatus, connect

from ..program import SOON, Program
from .stacks import has_control_socket, process


pytestmark = pytest.mark.usefixtures("leakcheck")

EXAMPLES = Path(__file__).parents[2] / "examples"
STOPS = [signal.SIGINT, signal.SIGTERM]

#: What both answer over HTTP.
BODY = b"There is a WebSocket at /echo.\n"


def echoing(port: int) -> ClientConnection:
    ws = connect(f"ws://localhost:{port}/echo").open()
    ws.send("hello")
    assert ws.recv(SOON) == "hello"
    return ws


def check_goodbye(ws: ClientConnection) -> None:
    with pytest.raises(ConnectionClosed):
        ws.recv(SOON)
    assert ws.close_code == 1001


@pytest.mark.parametrize("stop", STOPS)
def test_pywsgi(stop: signal.Signals) -> None:
    with Program(EXAMPLES / "wsgi_pywsgi.py", "0") as program:
        port = int(program.hear().rpartition(":")[2])
        ws = echoing(port)
        program.signal(stop)
        check_goodbye(ws)
        code, out, err = program.end()
    assert (code, out) == (0, "")
    assert re.fullmatch(r'.* "GET /echo HTTP/1.1" 101 .*\n', err), err


def test_pywsgi_answers_http() -> None:
    with Program(EXAMPLES / "wsgi_pywsgi.py", "0") as program:
        port = int(program.hear().rpartition(":")[2])
        with pytest.raises(InvalidStatus, match="200") as answer:
            connect(f"ws://localhost:{port}/elsewhere").open()
    assert answer.value.response.body == BODY


@pytest.mark.parametrize("stop", STOPS)
def test_gunicorn(tmp_path: Path, stop: signal.Signals) -> None:
    text = (EXAMPLES / "wsgi_gunicorn.py").read_text()
    (line,) = re.findall("^    gunicorn (.*) -b localhost:8765 (.*)$", text, re.M)
    command = [sys.executable, "-m", "gunicorn", *line[0].split(), line[1]]
    command += ["-b", "localhost:0", "--chdir", str(EXAMPLES)]
    if has_control_socket():
        command.append("--no-control-socket")
    with (
        open(os.devnull) as file,
        process("gunicorn", command, None, file.fileno(), str(tmp_path)) as stack,
    ):
        where = stack.log.wait("Listening at: ")
        stack.address = "127.0.0.1", int(re.findall(r":(\d+) ", where)[-1])
        assert BODY.decode() in stack.get("/")  # chunked
        ws = echoing(stack.address[1])
        stack.process.send_signal(stop)
        check_goodbye(ws)
        with gevent.Timeout(SOON):
            assert stack.process.wait() == 0
