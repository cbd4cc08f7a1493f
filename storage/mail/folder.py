"""The development mailer: a folder that anybody on this machine's account can look into, and a line on the console.

Not for production: whoever reads the folder can sign in as anybody.
"""

import secrets
import sys
import time

import trio

from settings.mail import MailFolder
from storage.mail.message import write_message


class FolderMail:
    """See `domain.ports.Mail`."""

    def __init__(self, route: MailFolder, sender: str) -> None:
        self._folder = trio.Path(route.folder)
        self._sender = sender

    async def send_code(self, address: str, code: str, *, expires_in_s: int) -> None:
        """Write the message as one complete `.eml` file, the newest last in the order of names; show the code."""
        message = write_message(self._sender, address, code, expires_in_s=expires_in_s)
        await self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{time.time_ns():020}-{secrets.token_hex(4)}"
        partial = self._folder / f".{name}"
        await partial.write_bytes(message.as_bytes(policy=message.policy.clone(linesep="\n")))
        await partial.chmod(0o600)
        # Whoever watches the folder never sees half a message.
        await partial.rename(self._folder / f"{name}.eml")
        # Standard error: standard output is for the line that says the program is ready. The address is in the file.
        sys.stderr.write(f"sign-in code: {code}  ({self._folder / name}.eml)\n")
        sys.stderr.flush()
