"""Every URL that a program is told may hold a password: whatever is wrong with it, none of it is shown."""

from collections.abc import Callable, Mapping

import pytest

from settings.api import ApiSettings
from settings.bus import read_bus
from settings.environment import ConfigError
from settings.mail import MailSettings
from settings.observability import ObservabilitySettings
from settings.storage import StorageSettings

Read = Callable[[Mapping[str, str]], object]
SECRET = "s3c"
READERS: Mapping[str, tuple[str, Read]] = {
    "VARDE_SMTP_URL": ("smtp", lambda environ: MailSettings.from_environ({**environ, "VARDE_MAIL_FROM": "a@b.no"})),
    "VARDE_BUS_URL": ("redis", read_bus),
    "VARDE_RELAY_URL": ("wss", ApiSettings.from_environ),
    "VARDE_DATABASE_URL": ("postgresql", StorageSettings.from_environ),
    "VARDE_REPLICA_URL": ("postgresql", StorageSettings.from_environ),
    "VARDE_OTLP_URL": ("https", ObservabilitySettings.from_environ),
    "VARDE_SENTRY_DSN": ("https", ObservabilitySettings.from_environ),
}
SIGNS = ("[", "]", "\u2100", "/", "#", "?", "@", "%", " ", "\n", ":", "\\", "ø", "%zz")


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("name", READERS)
def test_no_password_is_shown(name: str, sign: str) -> None:
    """It is read, or refused by the name of its variable."""
    scheme, read = READERS[name]
    try:
        read({name: f"{scheme}://user:{SECRET}{sign}ret@host.example:5"})
    except ConfigError as error:
        told = str(error)
        assert name in told
        assert SECRET not in told
