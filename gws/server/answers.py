"""What a server's caller says about its answers, checked: what hooks return, headers.

A mistake in it is an exception, never something on the wire.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from http import HTTPStatus

from ..protocol.datastructures import Headers, HeadersLike
from ..protocol.http11 import Response


#: What the response to an opening handshake has, or may not have (RFC 9110,
#: section 8.6; RFC 9112, section 6.1).
OWN_HEADERS = {"connection", "upgrade", "content-length", "transfer-encoding"}

#: What a process_request hook may return in the place of a Response.
ResponseLike = Response | tuple[int, HeadersLike, bytes]

#: Headers, or what makes them for a connection and its request.
ExtraHeaders = HeadersLike | Callable[..., HeadersLike | None]


def as_response(answer: ResponseLike) -> Response:
    """Return what a process_request hook answered as a Response of its own.

    Raises:
        TypeError, ValueError: if it is no answer, or 101: hooks can't accept.
    """
    if isinstance(answer, tuple) and len(answer) == 3:
        status, given, body = answer
        headers = Headers(given)
        if "Content-Length" not in headers and isinstance(body, bytes):
            headers["Content-Length"] = str(len(body))
        answer = Response(int(status), HTTPStatus(status).phrase, headers, body)
    response = checked_response(answer, "process_request")
    if response.status_code < 200:
        raise ValueError("process_request can't accept: it returns None to go on")
    return response


def checked_response(answer: object, hook: str) -> Response:
    """Return a copy of what a hook answered, which it may answer again.

    Raises:
        TypeError: if it is no Response.
    """
    if not isinstance(answer, Response):
        raise TypeError(f"{hook} must return None or a response, not {answer!r}")
    if not isinstance(answer.body, bytes):
        raise TypeError(f"the body of a response is bytes, not {answer.body!r}")
    response = dataclasses.replace(answer, headers=Headers(answer.headers))
    if response.status_code == HTTPStatus.NO_CONTENT:
        # RFC 9110, section 8.6: "A server MUST NOT send a Content-Length header
        # field in any response with a status code of 1xx (Informational) or 204".
        response.headers.pop("Content-Length", None)
    return response


def checked_hosts(hosts: object) -> tuple[str, ...]:
    """Return the option ``allowed_hosts`` as a tuple.

    Raises:
        TypeError: if it is no list of str.
    """
    if isinstance(hosts, str) or not isinstance(hosts, Iterable):
        raise TypeError("allowed_hosts must be a list of str")
    entries = tuple(hosts)
    if not all(isinstance(entry, str) for entry in entries):
        raise TypeError(f"allowed_hosts must be a list of str, not {entries!r}")
    return entries


def checked_extra(headers: HeadersLike) -> Headers:
    """Return what was given as ``extra_headers``.

    Raises:
        ValueError: if one of them can't be sent, or belongs to the opening
            handshake.
    """
    checked = Headers(headers)
    for name in checked:
        if name in OWN_HEADERS or name.startswith("sec-websocket-"):
            raise ValueError(f"{name} can't be added: the handshake makes it")
    return checked
