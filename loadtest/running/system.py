"""The system that a run is made against: a fresh one of ours with people in it, or one that runs already."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gevent import socket
from msgspec import Struct

from loadtest.command.exits import CouldNotRun
from loadtest.crowd.crowd import Crowd, CrowdError, read_crowd
from loadtest.crowd.order import Order, run_seeding
from loadtest.running.options import Options
from loadtest.scenarios.plan import Kind, Plan
from loadtest.stack.stack import Stack, StackError, open_stack
from loadtest.users.target import find_target
from loadtest.users.tickets import TICKET_SECONDS, may_renew

_REACH_SECONDS: Final = 5.0
_AFTERWARDS_SECONDS: Final = 120.0
"""What a run may take beyond its plan: preparing and settling."""
_PASSABLE: Final = 0o711
"""Postgres runs as a user of its own and has to come through."""

Say = Callable[[str], None]


class System(Struct, frozen=True, kw_only=True):
    """What there is to be loaded. `stack` is None when it is somebody else's."""

    crowd: Crowd
    crowd_file: Path
    stack: Stack | None = None

    @property
    def outbox(self) -> str:
        """The folder of mails of a stack of ours."""
        return "" if self.stack is None else str(self.stack.outbox)


@contextmanager
def open_system(options: Options, plan: Plan, say: Say) -> Iterator[System]:
    """Have a system for as long as a block lasts. Raises CouldNotRun."""
    if options.crowd is not None:
        yield _find_system(options.crowd, plan)
        return
    with tempfile.TemporaryDirectory(prefix="varde-load-") as name:
        folder = Path(name)
        folder.chmod(_PASSABLE)
        nodes = options.nodes or plan.nodes
        say(f"a fresh stack: Postgres, API and {nodes} relay node{'s' * (nodes != 1)}")
        try:
            with open_stack(folder, nodes=nodes, tls=options.tls) as stack:
                crowd = _seed(stack, plan, options, folder, say)
                check_crowd(crowd, plan, _file(folder))
                yield System(crowd=crowd, crowd_file=_file(folder), stack=stack)
        except StackError as error:
            raise CouldNotRun(str(error), "The logs are gone with the stack; its first lines are above.") from error


def _seed(stack: Stack, plan: Plan, options: Options, folder: Path, say: Say) -> Crowd:
    order = Order(
        seats=plan.seats,
        rooms=plan.rooms,
        relay_url=stack.relay_url,
        api_url=stack.api_url,
        database_url=stack.database_url,
        keys=str(stack.keys),
        out=str(_file(folder)),
        authority="" if stack.authority is None else str(stack.authority),
        seed=options.seed,
    )
    try:
        return run_seeding(order, say)
    except CrowdError as error:
        raise CouldNotRun(f"the stack could not be seeded: {error}") from error


def _file(folder: Path) -> Path:
    return folder / "crowd"


def _find_system(path: Path, plan: Plan) -> System:
    try:
        crowd = read_crowd(path)
        target = find_target(crowd.relay_url)
    except CrowdError as error:
        raise CouldNotRun(str(error)) from error
    check_crowd(crowd, plan, path)
    try:
        with socket.create_connection((target.host, target.address[1]), timeout=_REACH_SECONDS):
            pass
    except OSError as error:
        raise CouldNotRun(
            f"nobody answers at the relay that {path} names ({error.strerror or 'no answer in time'})",
            "Start the system, or make the file anew with `python -m loadtest seed`.",
        ) from error
    return System(crowd=crowd, crowd_file=path)


def check_crowd(crowd: Crowd, plan: Plan, path: Path) -> None:
    """Raise CouldNotRun when the people of a file cannot carry a plan out."""
    again = "Make it anew with `python -m loadtest seed`."
    if len(crowd.seats) < plan.seats:
        raise CouldNotRun(f"{path} has {len(crowd.seats):,} people; the plan needs {plan.seats:,}", again)
    left_s = crowd.tickets_expire_ms / 1000 - time.time()
    if left_s <= 0:
        raise CouldNotRun(f"the tickets in {path} expired {_span(-left_s)} ago", again)
    if plan.kind is Kind.MESSAGING and may_renew(crowd):
        left_s += TICKET_SECONDS  # its users fetch new ones in time, once: then the access tokens have ended as well
    if left_s < plan.seconds + _AFTERWARDS_SECONDS:
        raise CouldNotRun(f"the tickets in {path} expire in {_span(left_s)}, before the run would be over", again)


def _span(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"
