"""End-to-end encryption: certificates and trust, Olm and Megolm ratchets, the envelope sealed and opened."""

from varde.events import Reason


class CannotDecrypt(Exception):
    """A received message stays closed. It is stored and shown as `Undecryptable`, never dropped."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
