"""Extensions of the WebSocket protocol (RFC 6455, section 9), without I/O."""

from .base import ClientExtensionFactory as ClientExtensionFactory
from .base import Extension as Extension
from .base import ServerExtensionFactory as ServerExtensionFactory
from .permessage_deflate import (
    ClientPerMessageDeflateFactory as ClientPerMessageDeflateFactory,
)
from .permessage_deflate import PerMessageDeflate as PerMessageDeflate
from .permessage_deflate import (
    ServerPerMessageDeflateFactory as ServerPerMessageDeflateFactory,
)
from .permessage_deflate import (
    enable_client_permessage_deflate as enable_client_permessage_deflate,
)
from .permessage_deflate import (
    enable_server_permessage_deflate as enable_server_permessage_deflate,
)
