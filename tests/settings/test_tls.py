"""Whose certificates a program shows and asks for: two files together, the third for those who may connect."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from settings.environment import ConfigError
from settings.tls import API, RELAY, TlsFiles, read_api_tls, read_relay_tls

READERS = [(read_relay_tls, RELAY), (read_api_tls, API)]
Reader = Callable[[Mapping[str, str]], TlsFiles | None]


@pytest.mark.parametrize(("read", "names"), READERS)
def test_who_may_connect_is_a_file_of_its_own(read: Reader, names: tuple[str, ...]) -> None:
    """Without it everybody may; nothing at all is no TLS."""
    environ = dict(zip(names, ("/c.pem", "/c.key", "/ca.pem"), strict=True))
    assert read(environ) == TlsFiles(Path("/c.pem"), Path("/c.key"), Path("/ca.pem"), names)
    assert read(dict(list(environ.items())[:2])) == TlsFiles(Path("/c.pem"), Path("/c.key"), None, names)
    assert read({}) is None


@pytest.mark.parametrize(("read", "names"), READERS)
def test_an_authority_alone_is_a_mistake(read: Reader, names: tuple[str, ...]) -> None:
    """A port would be in plain text and open to everybody, where somebody meant the opposite."""
    with pytest.raises(ConfigError, match=names[0]):
        read({names[2]: "/ca.pem"})
