"""Outgoing e-mail: where letters are handed over."""

from settings.mail import MailFolder, MailSettings, Smtp
from storage.mail.outbox import OutboxMail
from storage.mail.smtp import SmtpMail


def open_mail(config: MailSettings) -> OutboxMail | SmtpMail:
    """Return what the configuration asks for. Nothing is connected to before the first letter."""
    match config.route:
        case MailFolder():
            return OutboxMail(config.route, config.sender)
        case Smtp():
            return SmtpMail(config.route, config.sender)
