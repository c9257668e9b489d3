"""What an extension is (RFC 6455, section 9): frames in, frames out, and its terms.

An extension is a class of two methods, `Extension.encode` and `Extension.decode`;
a factory for each side says what is offered in the opening handshake and makes
the extension once both sides agree. `permessage_deflate` is the one that everybody
speaks; one of your own stands in ``examples/extension.py``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ..protocol.frames import Frame
from ..protocol.headers import ExtensionParameter


class Extension:
    """Changes the frames of one connection, on their way out and in.

    It belongs to one connection and is called by one thread at a time. It may
    neither block nor switch to another greenlet.
    """

    __slots__ = ()

    #: The name under which it is negotiated, a token.
    name: str

    #: The reserved bits that mark a message as encoded, as they stand in the first
    #: octet of its first frame: 0x40 is RSV1, 0x20 RSV2, 0x10 RSV3. Messages
    #: without one of them are not given to `decode`. 0: all frames are.
    marks: int = 0

    def encode(self, frame: Frame, compress: bool | None = None) -> Frame:
        """Encode a frame that is to be sent.

        Args:
            frame: a whole message, or one fragment, or a control frame.
            compress: what the sender asked for: True or False; None leaves the
                choice to the extension. Later fragments get what the first got.
        """
        raise NotImplementedError

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Decode a frame that came.

        Args:
            frame: its payload is bytes.
            max_size: the most bytes that the payload may have now.

        Raises:
            ProtocolError: if it can't be decoded (1002).
            PayloadTooBig: if it would be larger than ``max_size`` (1009); no more
                than that may ever be held.
        """
        raise NotImplementedError

    def shared_encoding(self) -> Hashable | None:
        """Return what, besides the message, decides how it is encoded.

        Connections that return equal values encode a whole message alike, so
        `broadcast` encodes it once for all of them. None: it depends on more, such
        as the messages before it.
        """
        return None


class ClientExtensionFactory:
    """Offers an extension, and makes it when the server accepts."""

    #: The name under which it is negotiated, a token.
    name: str

    def get_request_params(self) -> Sequence[ExtensionParameter]:
        """Return the parameters to offer: pairs of name and value, or None."""
        raise NotImplementedError

    def process_response_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> Extension:
        """Make the extension that the server's answer describes.

        Args:
            params: the parameters of the answer, in their order.
            accepted_extensions: those before it in the answer.

        Raises:
            NegotiationError: if the answer is none to what was offered.
        """
        raise NotImplementedError


class ServerExtensionFactory:
    """Accepts an extension that a client offers, or passes."""

    #: The name under which it is negotiated, a token.
    name: str

    def process_request_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> tuple[list[ExtensionParameter], Extension]:
        """Return the parameters to answer with, and the extension.

        Args:
            params: the parameters of one offer, in their order.
            accepted_extensions: those accepted already in this handshake.

        Raises:
            NegotiationError: if this offer can't be accepted. The client may have
                made others.
        """
        raise NotImplementedError
