"""A certificate authority, a server under it, and a connection to that server, for all tests of TLS."""

import ssl

import pytest

from chaos.certificates import Authority, issue
from tls.connection import Tls, make_context, open_buffers


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Whom the clients trust."""
    return Authority()


@pytest.fixture(scope="module")
def context(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The server's side."""
    return make_context(*issue(authority, tmp_path_factory.mktemp("tls")))


@pytest.fixture
def tls(context: ssl.SSLContext) -> Tls:
    """A connection that has heard nothing yet."""
    return Tls(context, open_buffers())
