"""`python -m operations.health [PATH]`: asks the program in this container whether it lives, at its operators' port.

Exits with 0 when the answer is 200, else with 1. Where that port speaks TLS of both sides, it shows the program's own
certificate, which is of the authority that may ask. PATH is `/v1/health`, or `/v1/ready`.
"""

import http.client
import os
import ssl
import sys
from collections.abc import Mapping
from typing import Final

from settings.environment import read_bind
from settings.tls import read_metrics_tls

BINDS: Final = ("VARDE_RELAY_METRICS_BIND", "VARDE_API_METRICS_BIND", "VARDE_WORKER_METRICS_BIND")
"""Whichever program runs in the container: all of them are given the same port there."""
SECONDS: Final = 2.0
OK: Final = 200


def is_well(environ: Mapping[str, str], path: str) -> bool:
    """Whether the answer is 200. Raises ConfigError for variables that no program could use."""
    address = next((found for name in BINDS if (found := read_bind(environ, name)) is not None), None)
    if address is None:
        return False
    files = read_metrics_tls(environ)
    if files is None:
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=SECONDS)
    else:
        context = ssl.create_default_context(cafile=files.client_ca)
        context.check_hostname = False  # it is this container's own, under whatever name
        context.load_cert_chain(files.certificate, files.key)
        connection = http.client.HTTPSConnection("127.0.0.1", address.port, timeout=SECONDS, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not is_well(os.environ, *sys.argv[1:] or ("/v1/health",)))
