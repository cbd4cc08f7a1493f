"""How each server program begins: its arguments, its TLS, and the one line that says where it listens."""

import argparse
import json
import ssl
import sys
from typing import Any, Final

from msgspec import Struct

HOST: Final = "127.0.0.1"
BACKLOG: Final = 1_024


class Arguments(Struct, frozen=True):
    """With `certificate` and `key`, paths of PEM files, the server speaks TLS."""

    certificate: str | None
    key: str | None

    def tls(self) -> ssl.SSLContext | None:
        """Return the server's side of TLS 1.3, or None for plain sockets."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.certificate, self.key)
        return context


def argument_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser that every server's arguments begin with."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--certificate", help="PEM file; with it the server speaks TLS")
    parser.add_argument("--key", help="PEM file with the private key")
    return parser


def read_arguments(description: str) -> Arguments:
    """Read the command line of a server that has no arguments of its own."""
    given = argument_parser(description).parse_args()
    return Arguments(given.certificate, given.key)


def announce(port: int, **more: Any) -> None:
    """Say on stdout, in one line of JSON, that the server listens now."""
    sys.stdout.write(json.dumps({"port": port, **more}) + "\n")
    sys.stdout.flush()
