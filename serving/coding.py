"""Content codings of bodies: RFC 9110, 8.4."""

import zlib

from serving.replies import Problem, bad_request, too_large

HEADER = b"content-encoding"
WINDOWS = {"gzip": zlib.MAX_WBITS + 16, "x-gzip": zlib.MAX_WBITS + 16, "deflate": zlib.MAX_WBITS}  # as zlib wants them
MEMBER, MEMBERS = b"\x1f\x8b", 16  # how one of gzip begins, of which a file may have several, and so many are taken
TAKEN = ((b"accept-encoding", b"gzip, deflate"),)


def decoded(body: bytes, coding: str, limit: int) -> bytes:
    """What was encoded, at most `limit` bytes. Raises Problem (400, 413, 415)."""
    name = coding.strip().lower()
    if name == "identity":
        return body
    if name not in WINDOWS:
        detail = f"the body is encoded as {coding[:50]!r}, which is not taken; send it as gzip, deflate, or as it is"
        raise Problem(415, "Unsupported Media Type", detail, more=TAKEN)
    parts, size, rest = list[bytes](), 0, body
    for _ in range(MEMBERS):
        stream = zlib.decompressobj(WINDOWS[name])
        try:
            parts.append(stream.decompress(rest, limit + 1 - size))
        except zlib.error as error:
            raise bad_request(f"the body is no {name} that can be read: {error}") from None
        size += len(parts[-1])
        if size > limit:
            raise too_large(limit)
        if not stream.eof:
            raise bad_request(f"the body is no {name} that can be read: its end is missing")
        rest = stream.unused_data
        if not rest.startswith(MEMBER):
            break
    if rest:
        raise bad_request(f"the body goes on for {len(rest)} bytes after its {name} has ended")
    return b"".join(parts)
