"""Connections that are asked to go: all of them when the node drains, a share when it sheds."""

import logging
from collections.abc import Sequence
from random import Random
from typing import Final, NoReturn

import trio

from domain.fleet.model import PERCENT, Action, Order
from relay.connection.peer import Peer
from relay.delivery.hub import Hub
from varde_contract.close_codes import CloseCode
from varde_contract.frames import Goaway

DEPARTURES_PER_SECOND: Final = 200
"""How fast connections are asked to go, if there is time: a third of what another node accepts, which has its own to
serve. At 700, two thousand clients of a busy machine waited up to nine seconds for their messages. Ten thousand have to
go at 670, within their fifteen seconds."""
LEAVE: Final = 5.0
"""Seconds that a client has after its `goaway`, to finish what is under way and go by itself."""
TICK: Final = 0.05
"""Seconds between two slices: at full rate fifty `goaway`, a millisecond of work."""
SHED_SECONDS: Final = 20.0
"""The longest time that an order to shed takes."""

_log: Final = logging.getLogger("varde.relay")


async def ask_to_go(hub: Hub, peers: Sequence[Peer], seconds: float) -> None:
    """Ask these peers to go, spread over time, and cut who stays. Over after `seconds`, or sooner when all have gone.

    The node spreads the departures, and not the clients alone: those that know no jitter come back spread, too, and the
    others of a second get a second's jitter on top.
    """
    spread = min(max(seconds - LEAVE, seconds / 2), len(peers) / DEPARTURES_PER_SECOND)
    leave = min(LEAVE, seconds - spread)
    goaway = Goaway(CloseCode.DRAINING, 0, round(min(1.0, leave / 2) * 1_000))
    begun, asked, cut = trio.current_time(), 0, 0
    while cut < len(peers):
        passed = trio.current_time() - begun
        asked_by_now, cut_by_now = _due(peers, passed, spread), _due(peers, passed - leave, spread)
        for peer in peers[asked:asked_by_now]:
            peer.send_goaway(goaway)
        for peer in peers[cut:cut_by_now]:
            if hub.find(peer.device) is peer:
                peer.connection.cut(CloseCode.DRAINING)
        asked, cut = asked_by_now, cut_by_now
        if asked == len(peers) and not any(hub.find(peer.device) is peer for peer in peers[cut:]):
            return
        await trio.sleep(TICK)


def _due(peers: Sequence[Peer], passed: float, spread: float) -> int:
    """Return how many of the peers have had their turn when so many seconds of the spread have passed."""
    if passed < 0:
        return 0
    return len(peers) if passed >= spread else 1 + int(len(peers) * passed / spread)


class Orders:
    """Carries out what the operator wants of this node. `obey` may be called from anywhere."""

    def __init__(self, hub: Hub, random: Random, stop: trio.Event) -> None:
        """`stop` ends the node."""
        self._hub = hub
        self._random = random
        self._stop = stop
        self._percent = 0
        self._work = trio.lowlevel.ParkingLot()

    def obey(self, order: Order) -> None:
        """Begin to carry out an order."""
        match order.action:
            case Action.DRAIN:
                self._stop.set()
            case Action.SHED:
                self._percent = order.percent
                self._work.unpark_all()
            case Action.NONE:
                pass

    async def run(self) -> NoReturn:
        """Shed what is wanted, for as long as the node lives. One order at a time; of those that wait, the last."""
        while True:
            while not self._percent:
                await self._work.park()  # without a deadline: nobody may ever want it
            percent, self._percent = self._percent, 0
            everybody = list(self._hub.peers)
            # Any of them: who connected first is no better spread over the conversations than who connected last.
            peers = self._random.sample(everybody, -(-len(everybody) * percent // PERCENT))
            _log.info("shedding %d of %d connections", len(peers), len(everybody))
            await ask_to_go(self._hub, peers, SHED_SECONDS)
