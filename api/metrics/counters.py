"""The counters of one API process since it started."""

from collections import Counter
from typing import Final

from domain.people.ports import Mail, MailUnavailable
from observability.histogram import SECONDS, Histogram

UNKNOWN: Final = "none"
"""The operation of a request whose path or method is none. A client may ask for anything, and must not make a label."""


class ApiMetrics:
    """Counted where it happens."""

    def __init__(self) -> None:
        self.seconds: dict[str, Histogram] = {}
        """From the end of a request's head to its answer, by operation."""
        self.answers: Counter[int] = Counter()
        """By HTTP status."""
        self.connections = 0
        self.refused_connections = 0
        self.store_unavailable = 0
        self.surprises = 0
        self.mails = {"sent": 0, "failed": 0}
        self.lateness = Histogram(SECONDS)

    def note_answer(self, operation: str | None, status: int, seconds: float) -> None:
        """Count an answered request. `operation` is the name of its view."""
        self.answers[status] += 1
        self.seconds.setdefault(operation or UNKNOWN, Histogram(SECONDS)).observe(seconds)


class CountedMail:
    """A `domain.people.ports.Mail` that counts what became of each message."""

    def __init__(self, mail: Mail, metrics: ApiMetrics) -> None:
        self._mail = mail
        self._metrics = metrics

    async def send_code(self, address: str, code: str, *, expires_in_s: int) -> None:
        """Send a one-time code. Raises MailUnavailable."""
        try:
            await self._mail.send_code(address, code, expires_in_s=expires_in_s)
        except MailUnavailable:
            self._metrics.mails["failed"] += 1
            raise
        self._metrics.mails["sent"] += 1
