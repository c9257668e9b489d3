"""What `serve` and the routes of a router let their caller decide, checked once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..extensions import ServerExtensionFactory, enable_server_permessage_deflate
from ..options import Options, as_int, check_compression
from ..protocol.datastructures import is_field_value
from ..protocol.head import HEADER_LIMITS, HeaderLimits
from ..protocol.headers import validate_subprotocols
from ..protocol.http11 import Response
from ..protocol.origins import Origins, checked_origins
from ..version import version
from .answers import ExtraHeaders, ResponseLike, checked_extra, checked_hosts
from .forwarded import TrustedProxies


#: The default Server header.
SERVER = f"gws/{version}"

OPTION_NAMES = frozenset(f.name for f in dataclasses.fields(Options) if f.init)


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How a server opens connections, and how these behave."""

    options: Options
    origins: Origins = "same"
    allowed_hosts: Sequence[str] | None = None
    extensions: Sequence[ServerExtensionFactory] | None = None
    compression: str | None = "deflate"
    subprotocols: Sequence[str] | None = None
    select_subprotocol: Callable[..., str | None] | None = None
    process_request: Callable[..., ResponseLike | None] | None = None
    process_response: Callable[..., Response | None] | None = None
    server_header: str | None = SERVER
    extra_headers: ExtraHeaders | None = None
    trusted_proxies: Iterable[str] | None = None
    proxy_header: str = "X-Forwarded-For"
    header_limits: HeaderLimits = HEADER_LIMITS
    #: Who is believed about where a request came from; None is nobody.
    _proxies: TrustedProxies | None = dataclasses.field(default=None, init=False)
    #: The factories of all extensions, that of ``compression`` included.
    _available_extensions: Sequence[ServerExtensionFactory] = dataclasses.field(
        default=(), init=False
    )
    _merged: dict[int, tuple[Mapping[str, Any], Settings]] = dataclasses.field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        for name in ("select_subprotocol", "process_request", "process_response"):
            hook = getattr(self, name)
            if hook is not None and not callable(hook):
                raise TypeError(f"{name} must be callable, not {hook!r}")
        if self.subprotocols is not None:
            validate_subprotocols(self.subprotocols)
        if self.server_header is not None and not is_field_value(self.server_header):
            raise ValueError(f"invalid Server header: {self.server_header!r}")
        # An iterator can be read once: here, not for the first connection.
        kept: dict[str, Any] = {"origins": checked_origins(self.origins)}
        if self.allowed_hosts is not None:
            kept["allowed_hosts"] = checked_hosts(self.allowed_hosts)
        if self.extra_headers is not None and not callable(self.extra_headers):
            kept["extra_headers"] = checked_extra(self.extra_headers)
        check_compression(self.compression)
        check_header_limits(self.header_limits)
        kept["_available_extensions"] = (
            self.extensions or ()
            if self.compression is None
            else enable_server_permessage_deflate(self.extensions)
        )
        if self.trusted_proxies is not None:
            proxies = TrustedProxies(self.trusted_proxies, self.proxy_header)
            kept["_proxies"] = proxies
            kept["trusted_proxies"] = proxies.names
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    def merged(self, changes: Mapping[str, Any]) -> Settings:
        """Return these settings but for what a route says; made once a route."""
        if not changes:
            return self
        known = self._merged.get(id(changes))
        if known is None:
            # The mapping is kept, so that no other can get its id.
            known = self._merged[id(changes)] = changes, self.replace(changes)
        return known[1]

    def replace(self, changes: Mapping[str, Any]) -> Settings:
        """Return these settings but for ``changes``, of them or of their options.

        Raises:
            TypeError, ValueError: as `serve`, for the same options.
        """
        options = {name: v for name, v in changes.items() if name in OPTION_NAMES}
        mine = {name: v for name, v in changes.items() if name not in OPTION_NAMES}
        return dataclasses.replace(
            self, options=self.options.replace(**options), **mine
        )


def check_header_limits(limits: HeaderLimits) -> None:
    """Check the option of that name."""
    if not isinstance(limits, HeaderLimits):
        raise TypeError(f"header_limits must be HeaderLimits, not {limits!r}")
    if not all(as_int("header_limits", limit) > 0 for limit in limits):
        raise ValueError(f"header_limits must be positive: {limits!r}")


#: The options of `serve` that are about connections: all that `Settings.replace` takes.
CONNECTION_OPTIONS = OPTION_NAMES | {
    field.name
    for field in dataclasses.fields(Settings)
    if not field.name.startswith("_") and field.name != "options"
}
