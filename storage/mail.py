"""Outgoing e-mail: the message with a one-time code, written to a folder or handed to a mail server."""

import logging
import os
import secrets
import smtplib
import ssl
import sys
import time
import weakref
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import formatdate
from functools import partial
from typing import Final

import idna
import trio

from domain.people.ports import MailRefused, MailUnavailable
from settings.environment import SECONDS
from settings.mail import MailFolder, MailSettings, Security, Smtp

SMTP_DEADLINE: Final = 10 * SECONDS
SMTP_STEP: Final = 5 * SECONDS  # each read and write of the connection, so that an abandoned thread ends too
PERMANENT: Final = 500
SMTP_AT_ONCE: Final = 8
"""Each is a thread that a silent mail server holds for some steps; the ninth waits for its turn within its deadline."""

_log = logging.getLogger(__name__)

_TEXT = """\
Your code to sign in to Varde:

    {code}

It is good for {minutes} minutes and works once.
Nobody from Varde will ever ask you for it.
If you did not ask for a code, you need not do anything.
"""


def _header_address(address: str) -> Address:
    name, _, domain = address.rpartition("@")
    if name.isascii() and not domain.isascii():
        # A domain has a spelling that every mail server knows (RFC 5890). A name has none: that takes SMTPUTF8.
        domain = idna.encode(domain, uts46=True).decode()  # raises a ValueError
    return Address(username=name, domain=domain)


def open_mail(config: MailSettings) -> "FolderMail | SmtpMail":
    """Return what the configuration asks for. Nothing is connected to before the first message."""
    match config.route:
        case MailFolder():
            return FolderMail(config.route, config.sender)
        case Smtp():
            return SmtpMail(config.route, config.sender)


def write_message(sender: str, address: str, code: str, *, expires_in_s: int) -> EmailMessage:
    """Write it, to an address in any script (RFC 6531). Raises MailUnavailable for an address no header can carry."""
    message = EmailMessage(policy=SMTPUTF8)
    try:
        message["To"] = _header_address(address)
    except (HeaderParseError, ValueError, IndexError):
        # The cause is cut off: it repeats the address.
        raise MailRefused("the address cannot be written in a header") from None
    message["From"] = Address(display_name="Varde", addr_spec=sender)
    message["Subject"] = "Your sign-in code"
    message["Date"] = formatdate(usegmt=True)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notice comes back
    message.set_content(_TEXT.format(code=code, minutes=expires_in_s // 60))
    return message


class FolderMail:
    """A `domain.people.ports.Mail` for development. Whoever reads the folder can sign in as anybody."""

    def __init__(self, route: MailFolder, sender: str) -> None:
        """Open the folder, which is made when absent. Raises OSError.

        By descriptor and not by path: a server that has left root may not get through the folders above.
        """
        route.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = route.folder
        self._descriptor = os.open(route.folder, os.O_DIRECTORY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self._show_codes = route.show_codes
        self._sender = sender

    async def send_code(self, address: str, code: str, *, expires_in_s: int) -> None:
        """Write the message as one complete `.eml` file, the newest last in the order of names; show the code."""
        message = write_message(self._sender, address, code, expires_in_s=expires_in_s)
        name = f"{time.time_ns():020}-{secrets.token_hex(4)}"
        text = message.as_bytes(policy=message.policy.clone(linesep="\n"))
        await trio.to_thread.run_sync(self._write, name, text)
        # Standard error: standard output is for the line that says the program is ready. Where strangers may ask for
        # one, a console becomes a log, and names nobody.
        whose = "".join(each if each.isprintable() else "\ufffd" for each in address)
        shown = f"for {whose}: {code}" if self._show_codes else "in the file"
        sys.stderr.write(f"sign-in code {shown}  ({self._folder / name}.eml)\n")
        sys.stderr.flush()

    def _write(self, name: str, text: bytes) -> None:
        folder, draft = self._descriptor, f".{name}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder), "wb") as file:
            file.write(text)
        # Whoever watches the folder never sees half a message.
        os.rename(draft, f"{name}.eml", src_dir_fd=folder, dst_dir_fd=folder)


class SmtpMail:
    """A `domain.people.ports.Mail` by SMTP, with the standard library's blocking client in a thread.

    One connection for each message: codes are few and must not wait for a stale one.
    """

    def __init__(self, route: Smtp, sender: str, *, deadline: float = SMTP_DEADLINE) -> None:
        self._route = route
        self._sender = sender
        self._deadline = deadline
        self._threads = trio.CapacityLimiter(SMTP_AT_ONCE)

    async def send_code(self, address: str, code: str, *, expires_in_s: int) -> None:
        """Hand the message over. Raises MailUnavailable, after the deadline at the latest."""
        message = write_message(self._sender, address, code, expires_in_s=expires_in_s)
        deliver = partial(self._deliver, message, message["To"].addresses[0].addr_spec)
        try:
            # The thread cannot be cancelled: it is left alone, and ends by itself when a step takes too long.
            with trio.fail_after(self._deadline):
                await trio.to_thread.run_sync(deliver, abandon_on_cancel=True, limiter=self._threads)
        except (OSError, smtplib.SMTPException, UnicodeError, trio.TooSlowError) as error:
            # The cause is cut off, and the log has its kind only: the mail server's words repeat the address.
            _log.error("the mail server did not take a message: %s", type(error).__name__)
            kind = MailRefused if _is_final(error) else MailUnavailable
            raise kind(f"the mail server did not take the message ({type(error).__name__})") from None

    def _deliver(self, message: EmailMessage, address: str) -> None:
        with self._connect() as server:
            if self._route.security is Security.STARTTLS:
                server.starttls(context=ssl.create_default_context())
            if self._route.user is not None:
                server.login(self._route.user, self._route.password)
            server.send_message(message, from_addr=self._sender, to_addrs=[address])

    def _connect(self) -> smtplib.SMTP:
        host, port = self._route.host, self._route.port
        if self._route.security is Security.TLS:
            return smtplib.SMTP_SSL(host, port, timeout=SMTP_STEP, context=ssl.create_default_context())
        return smtplib.SMTP(host, port, timeout=SMTP_STEP)


def _is_final(error: Exception) -> bool:
    """Whether it is about the address, and trying again is of no use (RFC 5321 section 4.2.1)."""
    match error:
        case smtplib.SMTPNotSupportedError():
            return "SMTPUTF8" in str(error)
        case smtplib.SMTPRecipientsRefused(recipients=answers):
            return all(code >= PERMANENT for code, _ in answers.values())
        case smtplib.SMTPDataError(smtp_code=code):
            return code >= PERMANENT
    return False
