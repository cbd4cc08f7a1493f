"""The letter that carries a one-time code."""

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


def write_letter(sender: str, address: str, code: str, *, expires_in_s: int) -> EmailMessage:
    """Write the letter, to an address in any script (RFC 6531). Raises MailUnavailable where no letter can carry it."""
    letter = EmailMessage(policy=SMTPUTF8)
    name, _, domain = address.rpartition("@")
    try:
        letter["To"] = Address(username=name, domain=domain)
    except (HeaderParseError, ValueError, IndexError):
        # The cause is cut off: it repeats the address.
        raise MailUnavailable("the address cannot be written on a letter") from None
    letter["From"] = Address(display_name="Varde", addr_spec=sender)
    letter["Subject"] = "Your sign-in code"
    letter["Date"] = formatdate(usegmt=True)
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notice comes back
    letter.set_content(_TEXT.format(code=code, minutes=expires_in_s // 60))
    return letter
