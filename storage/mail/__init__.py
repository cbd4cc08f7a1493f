"""Outgoing e-mail: where letters are handed over."""

from storage.mail.config import MailConfig, Outbox, Smtp
from storage.mail.outbox import OutboxMail
from storage.mail.smtp import SmtpMail


def open_mail(config: MailConfig) -> OutboxMail | SmtpMail:
    """Return what the configuration asks for. Nothing is connected to before the first letter."""
    match config.route:
        case Outbox():
            return OutboxMail(config.route, config.sender)
        case Smtp():
            return SmtpMail(config.route, config.sender)
