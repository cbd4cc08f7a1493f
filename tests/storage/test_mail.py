"""The mailers: a message arrives whole, or the caller hears that it did not, and nothing else does."""

import email
import ipaddress
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trio
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from domain.people.ports import MailRefused, MailUnavailable
from settings.mail import MailFolder, Security, Smtp
from storage.mail import FolderMail, SmtpMail, write_message
from supervisor.ports import free_port

SENDER, ADDRESS, CODE = "codes@example.org", "alice@example.org", "00412233"


def read(raw: bytes) -> EmailMessage:
    """Read a message."""
    return email.message_from_bytes(raw, _class=EmailMessage, policy=policy.default)


@pytest.mark.parametrize("address", [ADDRESS, "bjørn@blåbær.example", "o'neil+tag@example.org"])
def test_a_letter_says_what_it_is_for(address: str) -> None:
    """To one address, in any script, with the code on a line of its own and nothing to click."""
    message = read(write_message(SENDER, address, CODE, expires_in_s=600).as_bytes())
    assert message["To"] == address
    assert message["From"].addresses[0].addr_spec == SENDER
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    assert f"    {CODE}" in text.splitlines()
    assert "10 minutes" in text
    assert "http" not in text
    assert [part.get_content_type() for part in message.walk()] == ["text/plain"]


@pytest.mark.parametrize("address", ["alice@example.org\nBcc: mallory@example.org", "alice\r@example.org"])
def test_an_address_cannot_write_headers(address: str) -> None:
    """A line feed in an address adds no recipient: no message is written, and the address is not repeated."""
    with pytest.raises(MailUnavailable) as refused:
        write_message(SENDER, address, CODE, expires_in_s=600)
    assert "alice" not in str(refused.value)
    assert refused.value.__suppress_context__


async def test_the_outbox_keeps_whole_letters_for_its_owner_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of sending, each complete when it is there, and readable by no other user."""
    folder = tmp_path / "data" / "outbox"
    mail = FolderMail(MailFolder(folder), SENDER)
    for code in (CODE, "99999999"):
        await mail.send_code(ADDRESS, code, expires_in_s=600)
    files = sorted(folder.iterdir())
    assert [CODE in files[0].read_text(), "99999999" in files[1].read_text()] == [True, True]
    assert all(path.suffix == ".eml" and stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    said = capsys.readouterr()
    assert said.out == ""
    assert f"sign-in code for {ADDRESS}: {CODE}  (" in said.err


async def test_an_address_writes_nothing_but_itself_to_the_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No command to the terminal, and no text that runs the other way."""
    odd = "a\u202eb\u009bc@example.org"
    await FolderMail(MailFolder(tmp_path), SENDER).send_code(odd, CODE, expires_in_s=600)
    assert "a\ufffdb\ufffdc@example.org" in capsys.readouterr().err


async def test_no_code_goes_to_a_console_where_strangers_may_ask_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The console says where the letter is, and no more."""
    await FolderMail(MailFolder(tmp_path / "outbox", show_codes=False), SENDER).send_code(
        ADDRESS, CODE, expires_in_s=600
    )
    said = capsys.readouterr().err
    assert CODE not in said
    assert ADDRESS not in said
    assert ".eml" in said


class _Inbox:
    """Takes letters and keeps them; refuses recipients when told to."""

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], bytes]] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep the message."""
        self.letters.append((list(envelope.rcpt_tos), bytes(envelope.content)))
        return self.answer


@contextmanager
def smtp_server(inbox: _Inbox, *, smtputf8: bool = True, **options: Any) -> Iterator[Smtp]:
    """A real SMTP server in a thread."""
    port = free_port()  # aiosmtpd asks its own server whether it is there, which it cannot do with port 0
    controller = Controller(inbox, hostname="127.0.0.1", port=port, enable_SMTPUTF8=smtputf8, **options)
    controller.start()
    try:
        yield Smtp(host="127.0.0.1", port=port, security=Security.NONE)
    finally:
        controller.stop()


async def test_a_letter_is_handed_to_the_server() -> None:
    """To exactly the one address, also in another script."""
    inbox = _Inbox()
    with smtp_server(inbox) as route:
        for address in (ADDRESS, "bjørn@blåbær.example"):
            await SmtpMail(route, SENDER).send_code(address, CODE, expires_in_s=600)
    assert [recipients for recipients, _ in inbox.letters] == [[ADDRESS], ["bjørn@blåbær.example"]]
    assert CODE in read(inbox.letters[0][1]).get_content()


async def test_a_dead_mail_server_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Operators see it; the address is not there."""
    await unavailable(SmtpMail(Smtp(host="127.0.0.1", port=1, security=Security.NONE), SENDER))
    assert "the mail server did not take a message: ConnectionRefusedError" in caplog.text
    assert ADDRESS not in caplog.text


async def unavailable(mail: SmtpMail) -> MailUnavailable:
    """Send, in vain; the error, which names neither address nor code."""
    with pytest.raises(MailUnavailable) as refused:
        await mail.send_code(ADDRESS, CODE, expires_in_s=600)
    assert ADDRESS not in str(refused.value)
    assert CODE not in str(refused.value)
    assert refused.value.__suppress_context__
    return refused.value


async def test_a_server_that_refuses_is_unavailable() -> None:
    """What the server says may repeat the address, so it is not passed on."""
    inbox = _Inbox()
    inbox.answer = f"550 no such user {ADDRESS}"
    with smtp_server(inbox) as route:
        await unavailable(SmtpMail(route, SENDER))


@pytest.mark.parametrize(("answer", "final"), [("550 no such user", True), ("554 no", True), ("451 later", False)])
async def test_what_is_final_is_told_apart(answer: str, final: bool) -> None:  # noqa: FBT001
    """An address that the server will never take need not be tried again."""
    inbox = _Inbox()
    inbox.answer = answer
    with smtp_server(inbox) as route:
        assert isinstance(await unavailable(SmtpMail(route, SENDER)), MailRefused) is final


async def test_a_domain_in_another_script_needs_nothing_of_the_server() -> None:
    """It has a spelling in ASCII. A name in another script has none: there the server must know SMTPUTF8."""
    inbox = _Inbox()
    with smtp_server(inbox, smtputf8=False) as route:
        await SmtpMail(route, SENDER).send_code("post@blåbær.no", CODE, expires_in_s=600)
        assert inbox.letters[0][0] == ["post@xn--blbr-roah.no"]
        with pytest.raises(MailRefused):
            await SmtpMail(route, SENDER).send_code("bjørn@blåbær.no", CODE, expires_in_s=600)
    assert len(inbox.letters) == 1


async def test_a_server_that_is_down_is_unavailable() -> None:
    """Nobody listens there."""
    with smtp_server(_Inbox()) as route:
        pass
    await unavailable(SmtpMail(route, SENDER))


async def test_a_server_that_says_nothing_is_unavailable() -> None:
    """The caller is free again when the deadline passes, whatever the thread still waits for."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        route = Smtp(host="127.0.0.1", port=silent.getsockname()[1], security=Security.NONE)
        with trio.fail_after(3):
            await unavailable(SmtpMail(route, SENDER, deadline=0.1))


async def test_no_code_goes_to_a_server_without_starttls() -> None:
    """A server, or somebody in between, that does not offer TLS gets nothing."""
    inbox = _Inbox()
    with smtp_server(inbox) as route:
        await unavailable(SmtpMail(replace(route, security=Security.STARTTLS), SENDER))
    assert inbox.letters == []


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[], ssl.SSLContext]:
    """A server's TLS under a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    signed = dated.add_extension(here, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "server.pem").write_bytes(private + signed.public_bytes(pem))

    def context() -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(tmp_path / "server.pem")
        return made

    return context


async def test_no_code_goes_to_a_server_that_nobody_vouches_for(certificate: Callable[[], ssl.SSLContext]) -> None:
    """A certificate made by anybody is no proof of who is there."""
    inbox = _Inbox()
    with smtp_server(inbox, tls_context=certificate()) as route:
        await unavailable(SmtpMail(replace(route, security=Security.STARTTLS), SENDER))
    assert inbox.letters == []


async def test_a_code_goes_over_tls_to_a_server_that_is_trusted(
    certificate: Callable[[], ssl.SSLContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same server, once its certificate is among the trusted ones of the machine."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    inbox = _Inbox()
    with smtp_server(inbox, tls_context=certificate(), require_starttls=True) as route:
        await SmtpMail(replace(route, security=Security.STARTTLS), SENDER).send_code(ADDRESS, CODE, expires_in_s=600)
    assert [recipients for recipients, _ in inbox.letters] == [[ADDRESS]]
