"""What serves a connection: a handler, or what a router finds for a request."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """What `resolve` of a handler given to `serve` returns for a path that exists.

    Args:
        handler: called as ``handler(ws, **kwargs)``.
        kwargs: the values captured in the path.
        options: options of `serve` that take the place of the server's own. All
            requests to one route share one mapping, which never changes.
        rule: what the path matched, such as "/chat/<room>".
    """

    handler: Callable[..., Any]
    kwargs: dict[str, Any]
    options: Mapping[str, Any]
    rule: str = ""


def with_path(handler: Any) -> Any:
    """Return a handler that takes the connection alone.

    Handlers of two arguments, ``(ws, path)``, are how older libraries have it.
    """
    if hasattr(handler, "resolve"):
        return handler
    try:
        inspect.signature(handler).bind(None)
    except TypeError:
        pass
    except ValueError:  # a builtin without a signature
        return handler
    else:
        return handler
    inspect.signature(handler).bind(None, None)
    return lambda ws: handler(ws, ws.path)
