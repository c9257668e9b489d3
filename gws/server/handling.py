"""An open connection in: its handler runs, then it is closed, whatever happened."""

from __future__ import annotations

from gevent import GreenletExit, Timeout

from ..exceptions import ConnectionClosed
from ..observe import tell_closed, tell_opened
from ..protocol.codes import CloseCode
from .handshake import ServerConnection


def handle(ws: ServerConnection) -> None:
    """Run the handler of an open connection in this greenlet, then close.

    The close code is 1000, or 1011 if the handler raised, or 1001 if it was killed.
    A handler that ends because its connection did has done nothing wrong.
    """
    logger = ws.logger
    logger.info("connection open: %s", ws.remote_address)
    code = CloseCode.INTERNAL_ERROR
    error: BaseException | None = None
    try:
        tell_opened(ws)
        ws.start_keepalive()
        assert ws.handler is not None  # the opening handshake sets it
        if ws.handler_kwargs:
            ws.handler(ws, **ws.handler_kwargs)
        else:
            # Micro-optimization: a plain call does not nest in C, which saves
            # an idle connection 0.6 KB of stack.
            ws.handler(ws)
        code = CloseCode.NORMAL_CLOSURE
    except ConnectionClosed as exc:
        if ws.open:  # it was not this connection that closed
            logger.error("connection handler failed", exc_info=True)
            error = exc
        else:
            logger.debug("handler ended: %s", exc)
    except GreenletExit as exc:
        code = CloseCode.GOING_AWAY
        error = exc
    except (Exception, Timeout) as exc:
        logger.error("connection handler failed", exc_info=True)
        error = exc
    finally:
        try:
            ws.close(code)
        finally:
            logger.info("connection closed: %s", ws.remote_address)
            tell_closed(ws, error)
            error = None  # it has this frame, which shall not have it
