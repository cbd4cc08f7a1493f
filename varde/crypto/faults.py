"""Why a message cannot be opened, as the one exception of the crypto."""

from varde.happenings import Reason


class CannotOpen(Exception):
    """A message that was received stays closed. It is counted and shown as `Undecryptable`, never dropped."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
