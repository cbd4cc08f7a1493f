"""Settings of the mailer: followed, or refused by name; never a code in the clear over a network."""

from pathlib import Path

import pytest

from settings.environment import ConfigError
from settings.mail import MailFolder, MailSettings, Security, Smtp
from storage.mail import FolderMail, SmtpMail, open_mail

FROM = {"VARDE_MAIL_FROM": "codes@example.org"}


def smtp(url: str) -> Smtp:
    """What a URL is read as."""
    route = MailSettings.from_environ(FROM | {"VARDE_SMTP_URL": url}).route
    assert isinstance(route, Smtp)
    return route


def test_without_a_server_letters_go_to_a_folder() -> None:
    """Development needs no mail server."""
    config = MailSettings.from_environ({"VARDE_DATA": "/srv/varde"})
    assert config.route == MailFolder(Path("/srv/varde/outbox"))
    assert isinstance(open_mail(config), FolderMail)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.org", ("mail.example.org", 587, Security.STARTTLS)),
        ("smtp://mail.example.org:2525", ("mail.example.org", 2525, Security.STARTTLS)),
        ("smtps://mail.example.org", ("mail.example.org", 465, Security.TLS)),
        ("smtp://localhost?tls=none", ("localhost", 25, Security.NONE)),
        ("smtp://[::1]:1025?tls=none", ("::1", 1025, Security.NONE)),
    ],
)
def test_a_url_says_where_and_how(url: str, expected: tuple[str, int, Security]) -> None:
    """TLS is the rule, and the ports are the usual ones."""
    route = smtp(url)
    assert (route.host, route.port, route.security) == expected
    assert isinstance(open_mail(MailSettings(route=route, sender="a@b.no")), SmtpMail)


def test_a_login_is_read_and_not_shown() -> None:
    """Characters that a URL escapes are unescaped; the password is in no repr."""
    route = smtp("smtps://us%40er:s%2Fecret@mail.example.org")
    assert (route.user, route.password) == ("us@er", "s/ecret")
    assert "ecret" not in repr(MailSettings(route=route, sender="a@b.no"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://mail.example.org",
        "mail.example.org",
        "smtp://",
        "smtp://mail.example.org:port",
        "smtp://mail.example.org?tls=none",
        "smtp://user:secret@localhost?tls=none",
    ],
)
def test_a_url_that_cannot_or_must_not_be_followed_is_named(url: str) -> None:
    """A typing error, a code in the clear over a network, a password in the clear: refused at the start."""
    with pytest.raises(ConfigError, match="VARDE_SMTP_URL") as refused:
        smtp(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("sender", ["", "nobody", "a@b@c", "a@b\nBcc: x@y"])
def test_a_server_needs_a_sender(sender: str) -> None:
    """Letters from nowhere would be thrown away unseen."""
    with pytest.raises(ConfigError, match="VARDE_MAIL_FROM"):
        MailSettings.from_environ({"VARDE_SMTP_URL": "smtps://mail.example.org", "VARDE_MAIL_FROM": sender})
