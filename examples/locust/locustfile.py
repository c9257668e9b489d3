"""Load on a WebSocket server, by Locust.

    python examples/echo_server.py
    locust -f examples/locust/locustfile.py --headless -u 20 -r 20 -t 10s \
        -H ws://localhost:8765

Locust runs each user in a greenlet, and gws is made for these: `connect` is used as it
is. `WebSocketUser` is for any server; `EchoUser` is what a user of yours may look like.
"""

import contextlib
import secrets
import time

from locust import User, between, task
from locust.exception import RescheduleTask

from gws import WebSocketException, connect


class WebSocketUser(User):
    """A user with a connection, which is opened when it is needed.

    In Locust's table "open" are the opening handshakes; "ask" what was sent and
    answered, and the time between; "tell" what was sent alone, and the time that the
    network took to take it; "push" what came alone, with no time but its rate. A
    failure ends the task and the connection.
    """

    abstract = True

    #: Where to, after the host.
    path = "/"

    #: Seconds for an answer.
    timeout = 10

    ws = None

    # For tasks

    def connected(self):
        """Return the connection, a new one if there is none."""
        if self.ws is None or not self.ws.open:
            with self.reported("open", self.path):
                self.ws = connect(self.host + self.path, close_timeout=1).open()
        return self.ws

    def ask(self, name, message):
        """Send a message and return the next one that comes."""
        ws = self.connected()
        with self.reported("ask", name) as report:
            ws.send(message)
            answer = ws.recv(self.timeout)
            report["response_length"] = len(answer)
        return answer

    def tell(self, name, message):
        """Send a message that nobody answers, or only later."""
        ws = self.connected()
        with self.reported("tell", name) as report:
            ws.send(message)
            report["response_length"] = len(message)

    def listen(self, name, n):
        """Take the next ``n`` messages, whenever they come."""
        ws = self.connected()
        for _ in range(n):
            with self.reported("push", name) as report:
                report["response_length"] = len(ws.recv(self.timeout))
                report["response_time"] = 0

    # Around them

    def on_stop(self):
        if self.ws is not None:
            self.ws.close()

    @contextlib.contextmanager
    def reported(self, kind, name):
        """Tell Locust what became of the ``with``; it can say more in its dict."""
        report = {"response_length": 0, "exception": None}
        start = time.perf_counter()
        try:
            yield report
        except (OSError, WebSocketException) as exc:
            report["exception"] = exc
        # Whatever else ends it, such as the end of the run, is no answer.
        report.setdefault("response_time", 1000 * (time.perf_counter() - start))
        self.environment.events.request.fire(
            request_type=kind, name=name, context=self.context(), **report
        )
        if report["exception"] is not None:
            # An answer that is late must not be taken for the next one.
            self.on_stop()
            raise RescheduleTask


class EchoUser(WebSocketUser):
    wait_time = between(0.05, 0.15)

    @task(3)
    def short(self):
        assert self.ask("hello", "hello") == "hello"

    @task
    def long(self):
        # Random: what repeats itself would be compressed to nothing.
        self.ask("10 KB", secrets.token_hex(5_000))

    @task
    def burst(self):
        """Say ten things at once, and see how fast they come back."""
        for i in range(10):
            self.tell("burst", f"{i}")
        self.listen("burst", 10)
