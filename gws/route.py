"""What a router finds for a request: who handles it, with which values and options."""

from __future__ import annotations

import dataclasses
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
    """

    handler: Callable[..., Any]
    kwargs: dict[str, Any]
    options: Mapping[str, Any]
