"""A Locust user, who is a device of the crowd.

Everybody shares one task, which lasts for the user's whole life; what is sent and when is decided by the crew's pacer.
"""

from typing import ClassVar

from locust import User, task
from locust.exception import StopUser

from loadtest.running.crew import Crew, Member
from loadtest.users.population import NoSeat


class VardeUser(User):
    """Takes a seat, lives in it, and gives it back."""

    crew: ClassVar[Crew | None] = None
    """Whoever gives out the seats of this process; set before the first user starts."""

    member: Member | None = None

    def on_start(self) -> None:
        """Wait for the turn, and sit down."""
        assert self.crew is not None
        try:
            self.member = self.crew.enter()
        except NoSeat:
            raise StopUser from None  # there are more users than seats: whoever asked for them sees it in the figures

    @task
    def live(self) -> None:
        """Live until stopped. A user who may not come back leaves for good."""
        assert self.member is not None
        self.member.live()
        raise StopUser

    def on_stop(self) -> None:
        """Leave the seat."""
        if self.crew is not None and self.member is not None:
            self.crew.leave(self.member)
            self.member = None
