"""Pages of other origins: https://fetch.spec.whatwg.org/#http-cors-protocol. Off until pipeline.toml names one."""

from collections.abc import Collection

from serving.protocols.routes import Headers, header

DAY = b"86400"  # seconds that a browser remembers what it may send


def fields(origins: Collection[str], method: str, headers: Headers) -> Headers:
    """The header fields by which a browser lets a page read the answer, or send the request that it asks about."""
    origin = header(headers, b"origin")
    if origin not in origins and "*" not in origins:
        return [(b"vary", b"Origin")]
    allowed = [(b"vary", b"Origin"), (b"access-control-allow-origin", origin.encode("latin-1") or b"*")]
    asked = header(headers, b"access-control-request-method")
    if method == "OPTIONS" and asked:
        allowed += [(b"access-control-allow-methods", b"GET, POST"), (b"access-control-max-age", DAY)]
        wanted = header(headers, b"access-control-request-headers")
        allowed += [(b"access-control-allow-headers", wanted.encode("latin-1"))] if wanted else []
    return allowed
