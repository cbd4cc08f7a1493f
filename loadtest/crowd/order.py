"""An order for people: how many, in rooms of which sizes, into which database; carried out by a child process.

The order goes over a pipe, as it may hold the password of a database.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from loadtest.crowd.crowd import Crowd, CrowdError, read_crowd
from loadtest.scenarios.plan import PAIRS, Sizes
from varde_contract.secret_struct import SecretStruct

ROOT: Final = Path(__file__).parents[2]
PREKEYS: Final = 5
FAILED: Final = 3
"""How the child ends when a person can mend what is wrong: its last line says what. A traceback ends with 1."""
_PROGRAM: Final = "loadtest.crowd.seeding"


class Order(SecretStruct, frozen=True, kw_only=True):
    """What is to be made. Paths are text, so that the order can be sent."""

    seats: int
    rooms: Sizes = PAIRS
    relay_url: str
    api_url: str = ""
    database_url: str
    keys: str  # the servers' folder of keys: tickets are signed, and addresses hidden, with what is there
    out: str
    authority: str = ""  # PEM file of whom to trust for `wss`; empty for those whom the system trusts
    seed: int = 1  # what the sizes of rooms are drawn with. Ids and keys are new each time
    prekeys: int = PREKEYS  # one-time keys for each device; the fallback key comes in addition
    into_existing: bool = False  # whether people may live in the database already


def run_seeding(order: Order, say: Callable[[str], None] = lambda _: None) -> Crowd:
    """Carry the order out in a child process, and return the crowd that is now also in the file `order.out`.

    `say` is told in lines how far it is. Raises CrowdError, which says what to do.
    """
    process = subprocess.Popen(  # noqa: S603 - our own program
        (sys.executable, "-m", _PROGRAM), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    last = ""
    try:
        with process.stdin as order_pipe:
            order_pipe.write(msgspec.json.encode(order))
        for line in process.stdout:
            if last:
                say(last)
            last = line.decode().rstrip()  # the last one may be a fault
        ended = process.wait()  # it has closed its output: it is at its end
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    if ended == FAILED:
        raise CrowdError(last)
    if ended:
        raise CrowdError(f"the seeding program ended with {ended}; what it said is above")
    say(last)
    return read_crowd(Path(order.out))
