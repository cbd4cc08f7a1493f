"""The e-mail that carries a one-time code."""

from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import formatdate

from domain.people.ports import MailUnavailable

_TEXT = """\
Your code to sign in to Varde:

    {code}

It is good for {minutes} minutes and works once.
Nobody from Varde will ever ask you for it.
If you did not ask for a code, you need not do anything.
"""


def write_message(sender: str, address: str, code: str, *, expires_in_s: int) -> EmailMessage:
    """Write it, to an address in any script (RFC 6531). Raises MailUnavailable for an address no header can carry."""
    message = EmailMessage(policy=SMTPUTF8)
    name, _, domain = address.rpartition("@")
    try:
        message["To"] = Address(username=name, domain=domain)
    except (HeaderParseError, ValueError, IndexError):
        # The cause is cut off: it repeats the address.
        raise MailUnavailable("the address cannot be written in a header") from None
    message["From"] = Address(display_name="Varde", addr_spec=sender)
    message["Subject"] = "Your sign-in code"
    message["Date"] = formatdate(usegmt=True)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notice comes back
    message.set_content(_TEXT.format(code=code, minutes=expires_in_s // 60))
    return message
