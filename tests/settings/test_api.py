"""Settings: what is said is followed, and what cannot be followed is named."""

from pathlib import Path

import pytest

from settings.api import ApiSettings
from settings.environment import ConfigError


def test_nothing_said_is_a_development_server() -> None:
    """Without settings the API is on the loopback address."""
    assert ApiSettings.from_environ({}) == ApiSettings()


def test_every_variable_is_followed() -> None:
    """Each variable changes what it names."""
    config = ApiSettings.from_environ(
        {
            "VARDE_API_BIND": "[::1]:0",
            "VARDE_DATA": "/srv/varde",
            "VARDE_RELAY_URL": "wss://relay.example.org/v1/relay",
            "VARDE_API_PROXIES": "2",
            "VARDE_SIGN_IN_BURST": "7",
            "VARDE_API_ORIGINS": "https://chat.example.org http://localhost:5173,capacitor://localhost",
        }
    )
    assert (config.host, config.port) == ("::1", 0)
    assert config.data == Path("/srv/varde")
    assert config.relay_url == "wss://relay.example.org/v1/relay"
    assert (config.proxies, config.sign_in_burst) == (2, 7)
    assert config.origins == {"https://chat.example.org", "http://localhost:5173", "capacitor://localhost"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("VARDE_API_BIND", "8400"),
        ("VARDE_API_BIND", "localhost:"),
        ("VARDE_API_BIND", "localhost:99999"),
        ("VARDE_API_BIND", "localhost:²"),
        ("VARDE_RELAY_URL", "http://relay.example.org"),
        ("VARDE_RELAY_URL", "ws://"),
        ("VARDE_API_PROXIES", "-1"),
        ("VARDE_SIGN_IN_BURST", "many"),
        ("VARDE_API_ORIGINS", "*"),
        ("VARDE_API_ORIGINS", "null"),
        ("VARDE_API_ORIGINS", "chat.example.org"),
        ("VARDE_API_ORIGINS", "https://chat.example.org/"),
        ("VARDE_API_ORIGINS", "https://chat.example.org:443"),
        ("VARDE_API_ORIGINS", "https://good.example https://Chat.example.org"),
    ],
)
def test_what_cannot_be_followed_is_named(name: str, text: str) -> None:
    """A typing error stops the server with the name of the variable, and does not repeat what it holds."""
    with pytest.raises(ConfigError, match=name):
        ApiSettings.from_environ({name: text})
