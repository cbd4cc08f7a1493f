"""A mailer that keeps what it is given, or refuses it."""

from dataclasses import dataclass

import trio

from domain.people.ports import MailUnavailable


@dataclass(frozen=True)
class Letter:
    """One code that was mailed."""

    address: str
    code: str
    expires_in_s: int


class RecordingMail:
    """A `domain.people.ports.Mail`. With `down`, it takes nothing."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.down = False

    async def send_code(self, address: str, code: str, *, expires_in_s: int) -> None:
        """Record the letter. A checkpoint."""
        await trio.lowlevel.checkpoint()
        if self.down:
            raise MailUnavailable("the test said so")
        self.letters.append(Letter(address, code, expires_in_s))

    def code_for(self, address: str) -> str:
        """Return the newest code mailed to an address."""
        return next(letter.code for letter in reversed(self.letters) if letter.address == address)
