"""Outgoing e-mail: where letters are handed over."""

from settings.mail import MailFolder, MailSettings, Smtp
from storage.mail.folder import FolderMail
from storage.mail.smtp import SmtpMail


def open_mail(config: MailSettings) -> FolderMail | SmtpMail:
    """Return what the configuration asks for. Nothing is connected to before the first message."""
    match config.route:
        case MailFolder():
            return FolderMail(config.route, config.sender)
        case Smtp():
            return SmtpMail(config.route, config.sender)
