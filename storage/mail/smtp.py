"""Mail by SMTP, with the standard library's blocking client in a thread."""

import smtplib
import ssl
from email.message import EmailMessage
from functools import partial
from typing import Final

import trio

from domain.people.ports import MailUnavailable
from settings.mail import Security, Smtp
from storage.mail.message import write_message

SECONDS: Final = 1.0
DEADLINE: Final = 10 * SECONDS
STEP: Final = 5 * SECONDS  # each read and write of the connection, so that an abandoned thread ends too
AT_ONCE: Final = 8


class SmtpMail:
    """See `domain.ports.Mail`. One connection for each message: codes are few and must not wait for a stale one."""

    def __init__(self, route: Smtp, sender: str, *, deadline: float = DEADLINE) -> None:
        self._route = route
        self._sender = sender
        self._deadline = deadline
        self._threads = trio.CapacityLimiter(AT_ONCE)

    async def send_code(self, address: str, code: str, *, expires_in_s: int) -> None:
        """Hand the message over. Raises MailUnavailable, after the deadline at the latest."""
        message = write_message(self._sender, address, code, expires_in_s=expires_in_s)
        deliver = partial(self._deliver, message, address)
        try:
            with trio.fail_after(self._deadline):
                await trio.to_thread.run_sync(deliver, abandon_on_cancel=True, limiter=self._threads)
        except (OSError, smtplib.SMTPException, UnicodeError, trio.TooSlowError) as error:
            # The cause is cut off: the mail server's words repeat the address.
            raise MailUnavailable(f"the mail server did not take the message ({type(error).__name__})") from None

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
            return smtplib.SMTP_SSL(host, port, timeout=STEP, context=ssl.create_default_context())
        return smtplib.SMTP(host, port, timeout=STEP)
