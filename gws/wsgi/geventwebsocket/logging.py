"""The logger of gevent-websocket; known as geventwebsocket.logging."""

from __future__ import annotations

import logging


class DebugHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to stderr what a server with ``debug=True`` logs."""


def create_logger(
    name: str, debug: bool = False, format: str | None = None
) -> logging.Logger:
    """Return a logger, without the handlers that it had.

    Args:
        name: of the logger.
        debug: whether it logs all there is, to stderr.
        format: of a line, for `logging.Formatter`.
    """
    logger = logging.getLogger(name)
    logger.handlers.clear()
    if debug:
        handler = DebugHandler()
        handler.setFormatter(logging.Formatter(format))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    return logger
