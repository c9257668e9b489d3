"""Offers and answers (RFC 7692, section 7.1), and what comes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gws.exceptions import (
    DuplicateParameter,
    InvalidParameterName,
    InvalidParameterValue,
    NegotiationError,
)
from gws.extensions import (
    ClientExtensionFactory,
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerExtensionFactory,
    ServerPerMessageDeflateFactory,
    enable_client_permessage_deflate,
    enable_server_permessage_deflate,
)
from gws.extensions.permessage_deflate import PerMessageDeflate as SamePerMessageDeflate
from gws.protocol.frames import Frame, Opcode
from gws.protocol.headers import ExtensionParameter, build_extension, parse_extension


#: Two flags and two window sizes: server's, client's.
Agreed = tuple[bool, bool, int, int]


def params(text: str) -> list[ExtensionParameter]:
    """Read ``a; b=1`` as it may stand in a header."""
    header = "permessage-deflate; " + text if text else "permessage-deflate"
    return parse_extension(header)[0][1]


def text(parameters: Sequence[ExtensionParameter]) -> str:
    header = build_extension([("permessage-deflate", parameters)])
    return header.removeprefix("permessage-deflate").removeprefix("; ")


def of_server(extension: PerMessageDeflate) -> Agreed:
    return (
        extension.local_no_context_takeover,
        extension.remote_no_context_takeover,
        extension.local_max_window_bits,
        extension.remote_max_window_bits,
    )


def of_client(extension: PerMessageDeflate) -> Agreed:
    return (
        extension.remote_no_context_takeover,
        extension.local_no_context_takeover,
        extension.remote_max_window_bits,
        extension.local_max_window_bits,
    )


def both_work(server: PerMessageDeflate, client: PerMessageDeflate) -> None:
    """Have each understand the other, twice."""
    for sender, receiver in [(server, client), (client, server)]:
        for message in ["Hello" * 500, "Hello" * 100] * 2:
            sent = sender.encode(Frame(Opcode.TEXT, message), True)
            assert receiver.decode(sent).data == message.encode()


def test_the_class_stands_here_too() -> None:
    assert SamePerMessageDeflate is PerMessageDeflate
    assert PerMessageDeflate.name == "permessage-deflate"
    assert PerMessageDeflate.marks == 0x40


# What a client offers


@pytest.mark.parametrize(
    ("settings", "offer"),
    [
        ({}, "client_max_window_bits"),
        ({"client_max_window_bits": None}, ""),
        ({"client_max_window_bits": 9}, "client_max_window_bits=9"),
        ({"client_max_window_bits": 15}, "client_max_window_bits=15"),
        (
            {"server_max_window_bits": 8},
            "server_max_window_bits=8; client_max_window_bits",
        ),
        (
            {"server_no_context_takeover": True, "client_max_window_bits": None},
            "server_no_context_takeover",
        ),
        (
            {"client_no_context_takeover": True, "client_max_window_bits": None},
            "client_no_context_takeover",
        ),
        (
            {
                "server_no_context_takeover": True,
                "client_no_context_takeover": True,
                "server_max_window_bits": 10,
                "client_max_window_bits": 12,
            },
            "server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=10; client_max_window_bits=12",
        ),
    ],
)
def test_an_offer(settings: dict[str, Any], offer: str) -> None:
    factory = ClientPerMessageDeflateFactory(**settings)
    assert text(factory.get_request_params()) == offer


# What a server answers

BOTH = "server_no_context_takeover; client_no_context_takeover"

ANSWERS: list[tuple[dict[str, Any], str, str, Agreed]] = [
    # The server's settings, the offer, the answer, what holds.
    ({}, "", "", (False, False, 15, 15)),
    # Section 7.1.1.1
    (
        {},
        "server_no_context_takeover",
        "server_no_context_takeover",
        (True, False, 15, 15),
    ),
    (
        {"server_no_context_takeover": True},
        "",
        "server_no_context_takeover",
        (True, False, 15, 15),
    ),
    # Section 7.1.1.2
    (
        {},
        "client_no_context_takeover",
        "client_no_context_takeover",
        (False, True, 15, 15),
    ),
    (
        {"client_no_context_takeover": True},
        "",
        "client_no_context_takeover",
        (False, True, 15, 15),
    ),
    (
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
        "client_no_context_takeover; server_no_context_takeover",
        BOTH,
        (True, True, 15, 15),
    ),
    # Section 7.1.2.1
    ({}, "server_max_window_bits=9", "server_max_window_bits=9", (False, False, 9, 15)),
    (
        {},
        "server_max_window_bits=15",
        "server_max_window_bits=15",
        (False, False, 15, 15),
    ),
    (
        {"server_max_window_bits": 10},
        "",
        "server_max_window_bits=10",
        (False, False, 10, 15),
    ),
    (
        {"server_max_window_bits": 10},
        "server_max_window_bits=9",
        "server_max_window_bits=9",
        (False, False, 9, 15),
    ),
    (
        {"server_max_window_bits": 10},
        "server_max_window_bits=11",
        "server_max_window_bits=10",
        (False, False, 10, 15),
    ),
    # Section 7.1.2.2
    ({}, "client_max_window_bits", "", (False, False, 15, 15)),
    ({}, "client_max_window_bits=8", "client_max_window_bits=8", (False, False, 15, 8)),
    ({"client_max_window_bits": 10}, "", "", (False, False, 15, 15)),
    (
        {"client_max_window_bits": 8},
        "client_max_window_bits",
        "client_max_window_bits=8",
        (False, False, 15, 8),
    ),
    (
        {"client_max_window_bits": 15},
        "client_max_window_bits",
        "client_max_window_bits=15",
        (False, False, 15, 15),
    ),
    (
        {"client_max_window_bits": 10},
        "client_max_window_bits=9",
        "client_max_window_bits=9",
        (False, False, 15, 9),
    ),
    (
        {"client_max_window_bits": 10},
        "client_max_window_bits=11",
        "client_max_window_bits=10",
        (False, False, 15, 10),
    ),
    (
        {"client_max_window_bits": 10, "require_client_max_window_bits": True},
        "client_max_window_bits",
        "client_max_window_bits=10",
        (False, False, 15, 10),
    ),
    # A value may be quoted: section 5, example.
    (
        {},
        'server_max_window_bits="10"',
        "server_max_window_bits=10",
        (False, False, 10, 15),
    ),
]


@pytest.mark.parametrize(("settings", "offer", "answer", "agreed"), ANSWERS)
def test_an_answer(
    settings: dict[str, Any], offer: str, answer: str, agreed: Agreed
) -> None:
    factory = ServerPerMessageDeflateFactory(**settings)
    answered, extension = factory.process_request_params(params(offer), [])
    assert text(answered) == answer
    assert of_server(extension) == agreed


@pytest.mark.parametrize(
    ("settings", "offer", "error"),
    [
        ({}, "server_max_window_bits=8", "unsupported server_max_window_bits: 8"),
        (
            {"server_max_window_bits": 10},
            "server_max_window_bits=8",
            "unsupported server_max_window_bits: 8",
        ),
        (
            {"client_max_window_bits": 10, "require_client_max_window_bits": True},
            "",
            "required client_max_window_bits",
        ),
    ],
)
def test_an_offer_that_is_passed(
    settings: dict[str, Any], offer: str, error: str
) -> None:
    factory = ServerPerMessageDeflateFactory(**settings)
    with pytest.raises(NegotiationError) as raised:
        factory.process_request_params(params(offer), [])
    assert str(raised.value) == error


def test_settings_reach_the_servers_extension() -> None:
    factory = ServerPerMessageDeflateFactory(
        True, compress_settings={"level": 0}, threshold=3
    )
    _, extension = factory.process_request_params([], [])
    check_settings(extension)


def check_settings(extension: PerMessageDeflate) -> None:
    """Level 0: nothing gets shorter; threshold: 3."""
    assert extension.threshold == 3
    assert not extension.encode(Frame(Opcode.TEXT, "xx")).rsv1
    assert len(extension.encode(Frame(Opcode.TEXT, "xxx")).data) == 9


# Autobahn's cases 13.1 to 13.7


@pytest.mark.parametrize(
    "offers",
    [
        [(False, 0)],
        [(True, 0)],
        [(False, 9)],
        [(False, 15)],
        [(True, 9)],
        [(True, 15)],
        [(True, 9), (True, 0), (False, 0)],
    ],
)
def test_autobahn(offers: list[tuple[bool, int]]) -> None:
    no_context, bits = offers[0]
    wanted = ["client_no_context_takeover", "client_max_window_bits"]
    if no_context:
        wanted.append("server_no_context_takeover")
    if bits:
        wanted.append(f"server_max_window_bits={bits}")
    server_factory = ServerPerMessageDeflateFactory()
    answer, server = server_factory.process_request_params(
        params("; ".join(wanted)), []
    )
    assert of_server(server) == (no_context, True, bits or 15, 15)
    client_factory = ClientPerMessageDeflateFactory(
        no_context, True, bits or None, True
    )
    client = client_factory.process_response_params(answer, [])
    assert of_client(client) == of_server(server)
    both_work(server, client)


# What a client takes for an answer

TAKEN: list[tuple[dict[str, Any], str, Agreed]] = [
    # The client's settings, the answer, what holds.
    ({}, "", (False, False, 15, 15)),
    ({}, "server_no_context_takeover", (True, False, 15, 15)),
    (
        {"server_no_context_takeover": True},
        "server_no_context_takeover",
        (True, False, 15, 15),
    ),
    ({}, "client_no_context_takeover", (False, True, 15, 15)),
    ({"client_no_context_takeover": True}, "", (False, True, 15, 15)),
    (
        {"client_no_context_takeover": True},
        "client_no_context_takeover",
        (False, True, 15, 15),
    ),
    ({}, "server_max_window_bits=8", (False, False, 8, 15)),
    (
        {"server_max_window_bits": 10},
        "server_max_window_bits=10",
        (False, False, 10, 15),
    ),
    ({"server_max_window_bits": 10}, "server_max_window_bits=9", (False, False, 9, 15)),
    ({"server_max_window_bits": 15}, "", (False, False, 15, 15)),
    ({}, "client_max_window_bits=10", (False, False, 15, 10)),
    ({}, "client_max_window_bits=8", (False, False, 15, 8)),
    ({"client_max_window_bits": 10}, "", (False, False, 15, 10)),
    (
        {"client_max_window_bits": 10},
        "client_max_window_bits=10",
        (False, False, 15, 10),
    ),
    ({"client_max_window_bits": 10}, "client_max_window_bits=9", (False, False, 15, 9)),
    ({"client_max_window_bits": 10}, "client_max_window_bits=8", (False, False, 15, 8)),
    ({"client_max_window_bits": None}, "", (False, False, 15, 15)),
]


@pytest.mark.parametrize(("settings", "answer", "agreed"), TAKEN)
def test_an_answer_that_is_taken(
    settings: dict[str, Any], answer: str, agreed: Agreed
) -> None:
    factory = ClientPerMessageDeflateFactory(**settings)
    extension = factory.process_response_params(params(answer), [])
    assert of_client(extension) == agreed


@pytest.mark.parametrize(
    ("settings", "answer", "error"),
    [
        (
            {"server_no_context_takeover": True},
            "client_no_context_takeover",
            "expected server_no_context_takeover",
        ),
        ({"server_max_window_bits": 10}, "", "unsupported server_max_window_bits"),
        (
            {"server_max_window_bits": 10},
            "server_max_window_bits=11",
            "unsupported server_max_window_bits",
        ),
        (
            {"client_max_window_bits": None},
            "client_max_window_bits=15",
            "unexpected client_max_window_bits",
        ),
        (
            {"client_max_window_bits": 10},
            "client_max_window_bits=11",
            "unsupported client_max_window_bits",
        ),
        (
            {},
            "client_max_window_bits",
            "missing value for parameter client_max_window_bits",
        ),
    ],
)
def test_an_answer_that_is_refused(
    settings: dict[str, Any], answer: str, error: str
) -> None:
    factory = ClientPerMessageDeflateFactory(**settings)
    with pytest.raises(NegotiationError) as raised:
        factory.process_response_params(params(answer), [])
    assert str(raised.value) == error


def test_settings_reach_the_clients_extension() -> None:
    factory = ClientPerMessageDeflateFactory(
        True, True, compress_settings={"level": 0}, threshold=3
    )
    check_settings(
        factory.process_response_params([("server_no_context_takeover", None)], [])
    )


def test_a_server_that_allows_a_client_too_little() -> None:
    """With a window of 8 bits zlib can't compress, but inflate."""
    factory = ServerPerMessageDeflateFactory(client_max_window_bits=8)
    answer, server = factory.process_request_params(
        params("client_max_window_bits"), []
    )
    client = ClientPerMessageDeflateFactory().process_response_params(answer, [])
    both_work(server, client)
    assert not client.encode(Frame(Opcode.TEXT, "Hello" * 500), True).rsv1


# What is wrong on both sides


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        # "Any of the parameters" may stand once.
        (params("server_no_context_takeover") * 2, DuplicateParameter),
        (params("client_no_context_takeover") * 2, DuplicateParameter),
        (params("server_max_window_bits=10") * 2, DuplicateParameter),
        (params("client_max_window_bits=10") * 2, DuplicateParameter),
        (
            params("client_max_window_bits=10; client_max_window_bits=11"),
            DuplicateParameter,
        ),
        (params("foo"), InvalidParameterName),
        (params("foo=15"), InvalidParameterName),
        (params("Server_No_Context_Takeover"), InvalidParameterName),
        (params("constructor; __class__"), InvalidParameterName),
        (params("server_no_context_takeover=true"), InvalidParameterValue),
        (params("client_no_context_takeover=1"), InvalidParameterValue),
        ([("client_no_context_takeover", "")], InvalidParameterValue),
        (params("server_max_window_bits"), InvalidParameterValue),
        *[
            ([(f"{side}_max_window_bits", value)], InvalidParameterValue)
            for side in ["server", "client"]
            for value in [
                *["", "0", "7", "16", "08", "010", "0x9", "9.0", "-9", "+9", "x"],
                *[" 9", "9 ", "1_0", "\u0669", "99999999999999999999"],
            ]
        ],
    ],
)
def test_wrong_parameters(
    parameters: list[ExtensionParameter], error: type[NegotiationError]
) -> None:
    with pytest.raises(error):
        ServerPerMessageDeflateFactory().process_request_params(parameters, [])
    with pytest.raises(error):
        ClientPerMessageDeflateFactory().process_response_params(parameters, [])


def test_the_extension_is_used_once() -> None:
    accepted = [PerMessageDeflate(True, True)]
    with pytest.raises(NegotiationError, match="duplicate extension"):
        ServerPerMessageDeflateFactory().process_request_params([], accepted)
    with pytest.raises(NegotiationError, match="duplicate extension"):
        ClientPerMessageDeflateFactory().process_response_params([], accepted)


# Any two


bits_from = {
    least: st.none() | st.integers(least, 15)  # 8: who can't send may receive
    for least in (8, 9)
}


@given(
    st.builds(
        ClientPerMessageDeflateFactory,
        st.booleans(),
        st.booleans(),
        bits_from[8],
        bits_from[9] | st.just(True),
    ),
    st.builds(
        ServerPerMessageDeflateFactory,
        st.booleans(),
        st.booleans(),
        bits_from[9],
        bits_from[8],
    ),
)
def test_both_sides_agree(
    client_factory: ClientPerMessageDeflateFactory,
    server_factory: ServerPerMessageDeflateFactory,
) -> None:
    offer = client_factory.get_request_params()
    try:
        answer, server = server_factory.process_request_params(offer, [])
    except NegotiationError:
        assert client_factory.server_max_window_bits == 8
        return
    client = client_factory.process_response_params(params(text(answer)), [])
    both_work(server, client)
    # A client may do with less than it was allowed.
    for ours, theirs in [
        (client.remote_no_context_takeover, server.local_no_context_takeover),
        (server.remote_no_context_takeover, client.local_no_context_takeover),
    ]:
        assert ours <= theirs
    assert client.remote_max_window_bits == server.local_max_window_bits
    assert client.local_max_window_bits <= server.remote_max_window_bits


# Arguments


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"server_max_window_bits": 16}, ValueError),
        ({"server_max_window_bits": 7}, ValueError),
        ({"server_max_window_bits": True}, ValueError),
        ({"server_max_window_bits": "10"}, TypeError),
        ({"client_max_window_bits": 16}, ValueError),
        ({"client_max_window_bits": 7}, ValueError),
        ({"client_max_window_bits": False}, ValueError),
        ({"client_max_window_bits": 9.5}, TypeError),
        ({"compress_settings": {"wbits": 10}}, ValueError),
        ({"compress_settings": {"mem_level": 5}}, ValueError),
        ({"compress_settings": {"level": 10}}, ValueError),
        ({"compress_settings": {"level": "high"}}, TypeError),
        ({"compress_settings": 5}, TypeError),
        ({"threshold": -1}, ValueError),
        ({"threshold": "256"}, TypeError),
    ],
)
@pytest.mark.parametrize(
    "factory", [ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory]
)
def test_arguments_are_checked(
    factory: Any, settings: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        factory(**settings)


def test_what_zlib_can_not_send() -> None:
    with pytest.raises(ValueError, match="from 9 to 15"):
        ServerPerMessageDeflateFactory(server_max_window_bits=8)
    with pytest.raises(ValueError, match="from 9 to 15"):
        ClientPerMessageDeflateFactory(client_max_window_bits=8)
    with pytest.raises(ValueError, match="from 8 to 15"):
        ServerPerMessageDeflateFactory(client_max_window_bits=True)


def test_what_is_required_must_be_said() -> None:
    with pytest.raises(ValueError, match="no client_max_window_bits to require"):
        ServerPerMessageDeflateFactory(require_client_max_window_bits=True)


# compression="deflate"


def test_the_default() -> None:
    [client_factory] = enable_client_permessage_deflate()
    [server_factory] = enable_server_permessage_deflate()
    offer = client_factory.get_request_params()
    assert text(offer) == f"{BOTH}; client_max_window_bits"
    answer, server = server_factory.process_request_params(offer, [])
    assert text(answer) == BOTH
    client = client_factory.process_response_params(answer, [])
    for extension in [server, client]:
        assert isinstance(extension, PerMessageDeflate)
        assert of_server(extension) == (True, True, 15, 15)
        assert extension.threshold == 256
    assert server.shared_encoding() == client.shared_encoding() is not None
    # Whatever a client offers, a connection of the server keeps no context.
    answer, server = server_factory.process_request_params([], [])
    assert text(answer) == BOTH


def test_the_default_comes_last() -> None:
    class Other(ClientExtensionFactory, ServerExtensionFactory):
        name = "x-other"

    other = Other()
    clients = enable_client_permessage_deflate((other,))
    assert [factory.name for factory in clients] == ["x-other", "permessage-deflate"]
    servers = enable_server_permessage_deflate([other])
    assert [factory.name for factory in servers] == ["x-other", "permessage-deflate"]


def test_what_is_there_already_stays() -> None:
    clients = [ClientPerMessageDeflateFactory(server_max_window_bits=10)]
    assert enable_client_permessage_deflate(clients) == clients
    assert enable_client_permessage_deflate(clients) is not clients
    servers = [ServerPerMessageDeflateFactory(server_max_window_bits=10)]
    assert enable_server_permessage_deflate(servers) == servers
