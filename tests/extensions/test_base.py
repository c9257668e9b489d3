"""What an extension is asked for, and what it need not say."""

from __future__ import annotations

import pytest

from gws.extensions import ClientExtensionFactory, Extension, ServerExtensionFactory
from gws.protocol.frames import Frame, Opcode


def test_an_extension_encodes_and_decodes() -> None:
    extension = Extension()
    frame = Frame(Opcode.TEXT, "Hello")
    with pytest.raises(NotImplementedError):
        extension.encode(frame)
    with pytest.raises(NotImplementedError):
        extension.decode(frame)


def test_it_sees_all_frames_and_shares_nothing_unless_it_says_so() -> None:
    assert Extension.marks == 0
    assert Extension().shared_encoding() is None


def test_a_factory_negotiates() -> None:
    with pytest.raises(NotImplementedError):
        ClientExtensionFactory().get_request_params()
    with pytest.raises(NotImplementedError):
        ClientExtensionFactory().process_response_params([], [])
    with pytest.raises(NotImplementedError):
        ServerExtensionFactory().process_request_params([], [])
