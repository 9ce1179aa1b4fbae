"""Where the service listens, HOST and PORT of the environment; and how long still after SIGTERM, SHUTDOWN_DELAY."""

import re
import socket
from collections.abc import Mapping


def bind(environment: Mapping[str, str]) -> str:
    """Host and port as gunicorn takes them. Raises ValueError, which names the variable."""
    name = "AIP_HTTP_PORT" if environment.get("AIP_HTTP_PORT") else "PORT"  # Vertex AI has a name of its own for it
    port, host = environment.get(name) or "8000", environment.get("HOST") or "127.0.0.1"
    if not (port.isdecimal() and 0 < int(port) < 65_536):
        raise ValueError(f"the variable {name} is {port!r}; expected a port from 1 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(address)
    except OSError as error:  # some shells and conda set HOST to the name of a machine or of a compiler
        raise ValueError(
            f"the variable HOST is {host!r}, which is no address of this machine ({error.strerror or error}). Unset "
            "it, or set 127.0.0.1, 0.0.0.0 or ::"
        ) from None
    return f"[{host}]:{port}" if family == socket.AF_INET6 and ":" in host else f"{host}:{port}"


def shutdown_delay(environment: Mapping[str, str]) -> int:
    """Seconds for which the service goes on after SIGTERM. Raises ValueError, which names the variable."""
    given = environment.get("SHUTDOWN_DELAY") or "0"
    if not re.fullmatch("[0-9]{1,3}", given):
        raise ValueError(f"the variable SHUTDOWN_DELAY is {given!r}; expected whole seconds, such as 5")
    return int(given)
