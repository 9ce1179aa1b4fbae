"""What goes back to a client, whoever sends it: answers, and errors as RFC 9457 problem details."""

from typing import Any

import msgspec

DRAIN_BYTES = 64_000_000  # read of a body that is refused, so that its client still gets the answer
JSON = "application/json"
PROBLEM = "application/problem+json"
More = tuple[tuple[bytes, bytes], ...]  # header fields, names in lower case


class Reply(msgspec.Struct, frozen=True, gc=False):
    status: int
    content_type: str
    body: bytes
    rows: int = 0  # predicted
    more: More = ()


class Problem(Exception):
    """A request that cannot be answered; `errors` are the rows and fields that are wrong, `more` is as in Reply."""

    def __init__(
        self, status: int, title: str, detail: str, errors: list[dict[str, Any]] | None = None, more: More = ()
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.errors, self.more = status, title, detail, errors or [], more

    def document(self) -> dict[str, Any]:
        """As RFC 9457 has it."""
        document = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        return document | ({"errors": self.errors} if self.errors else {})


def as_json(document: object) -> Reply:
    return Reply(200, JSON, msgspec.json.encode(document))


def fields(reply: Reply) -> list[tuple[bytes, bytes]]:
    """The header fields of an answer."""
    if reply.status == 204:  # RFC 9110, 8.6: no length
        return [*reply.more]
    length = b"%d" % len(reply.body)
    return [(b"content-type", reply.content_type.encode()), (b"content-length", length), *reply.more]


def bad_request(detail: str) -> Problem:
    return Problem(400, "Bad Request", detail)


def unprocessable(detail: str, errors: list[dict[str, Any]] | None = None) -> Problem:
    return Problem(422, "Unprocessable Content", detail, errors)


def too_large(limit: int) -> Problem:
    return Problem(413, "Request Entity Too Large", f"the body has more than {limit} bytes")
