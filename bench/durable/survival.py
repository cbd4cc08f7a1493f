"""What an ack is worth: messages to people who are away, a server that is killed with SIGKILL, and what they find."""

import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.durable.load import BEGIN_NS, Load, Open, draw_schedule, open_ledger, survival_of

CONNECTIONS: Final = 200
RATE: Final = 1_000
SECONDS: Final = 3.0
DEADLINE: Final = 60.0
_LEAVING: Final = 2.0
_SETTLING: Final = 8.0
_SENDERS: Final = range(0, CONNECTIONS, 2)
_RECEIVERS: Final = range(1, CONNECTIONS, 2)


def measure_survival(open_server: Open, *, seconds: float = SECONDS) -> dict[str, Any]:
    """Return how many messages were acked before the kill, and how many of those never came. Raises ServerFault."""
    ledger = open_ledger()
    with tempfile.TemporaryDirectory(prefix="varde-bench-") as name:
        folder = Path(name)
        with open_server(folder, CONNECTIONS) as server:
            with Load(server, CONNECTIONS, ledger) as receivers:  # they make themselves known, and leave in good order
                receivers.open(_RECEIVERS, deadline=DEADLINE)
                receivers.leave(_LEAVING)
            with Load(server, CONNECTIONS, ledger) as senders:
                senders.open(_SENDERS, deadline=DEADLINE)
                senders.run(draw_schedule(RATE, seconds, _SENDERS), time.monotonic_ns() + BEGIN_NS)
                server.kill()
                senders.drain(_SETTLING)  # they go on reading acks for as long as there are any
        with open_server(folder, CONNECTIONS) as server, Load(server, CONNECTIONS, ledger) as receivers:
            receivers.open(_RECEIVERS, deadline=DEADLINE)
            end = time.monotonic() + _SETTLING
            while survival_of(ledger, CONNECTIONS)["lost_after_ack"] and time.monotonic() < end:
                receivers.poll()
    return survival_of(ledger, CONNECTIONS)
