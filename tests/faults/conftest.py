"""Two network namespaces, a server in one, clients in the other."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


HERE = Path(__file__).parent


class Network:
    """The wire between the namespaces, and who lives in them."""

    def __init__(self, spawn_peer: Callable[..., Any], log: Path) -> None:
        self._spawn = spawn_peer
        self._log = log
        self._wire = spawn_peer(HERE / "wire.py")
        said = self._wire.hear()
        #: Why there is no network; None if there is one.
        self.error: str | None = said.get("error")
        self._namespaces = said.get("namespaces")

    def set(self, **how: Any) -> dict[str, int]:
        """Change the wire; return how many packets it carried and dropped before.

        Args:
            how: delay in seconds, loss as a share, cut or not; what is not named is
                as in a wire without faults.
        """
        self._wire.tell(how)
        counts: dict[str, int] = self._wire.hear()
        return counts

    def cut(self) -> float:
        """Let nothing pass any more, and nobody know; return when that was."""
        self.set(cut=True)
        return time.monotonic()

    def await_packets(self, n: int, what: str = "carried") -> None:
        """Wait until so many packets were carried, or ``what``; the wire stays so."""
        while n > 0:
            self._wire.tell(None)
            n -= self._wire.hear()[what]
            time.sleep(0.005)

    def await_drops(self, n: int) -> None:
        """Wait until so many packets were dropped."""
        self.await_packets(n, "dropped")

    def serve(self, **options: Any) -> Any:
        """Start the server; return who tells of it."""
        return self._start(0, "server", str(self._log), options)

    def connect(self, scenario: str, **options: Any) -> Any:
        """Start a client; return who tells of it."""
        return self._start(1, "client", scenario, options)

    def check_log(self) -> None:
        """Check that the server took nothing of it for a fault of its own."""
        text = self._log.read_text()
        assert "connection open" in text
        assert "ERROR" not in text and "Traceback" not in text, text

    def _start(self, n: int, role: str, what: str, options: Any) -> Any:
        namespace = self._namespaces[n]
        return self._spawn(HERE / "side.py", namespace, role, what, json.dumps(options))


@pytest.fixture
def network(spawn_peer: Callable[..., Any], tmp_path: Path) -> Network:
    if sys.platform != "linux":
        pytest.skip("needs network namespaces")
    network = Network(spawn_peer, tmp_path / "server.log")
    if network.error is not None:
        why = f"needs root and network namespaces: {network.error}"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return network
