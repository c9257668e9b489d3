"""Extensions of the WebSocket protocol (RFC 6455, section 9), without I/O."""

from .base import ClientExtensionFactory as ClientExtensionFactory
from .base import Extension as Extension
from .base import ServerExtensionFactory as ServerExtensionFactory
