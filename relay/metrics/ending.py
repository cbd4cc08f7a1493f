"""How an established connection ended, as it is counted."""

from relay.metrics.counters import Metrics
from relay.metrics.words import GOODBYES, UNKNOWN_CODE
from relay.socket.websocket import WebSocket


def count_end(metrics: Metrics, websocket: WebSocket, chosen: int | None) -> None:
    """Count by the code that was said first, whoever said it. Call it before anything is closed.

    `chosen` is the node's; None for a peer that went without a word.
    """
    metrics.closed[chosen if chosen is None or websocket.open else _said(websocket)] += 1
    if websocket.broken is not None:
        metrics.hostile[websocket.broken] += 1


def _said(websocket: WebSocket) -> int | None:
    code = websocket.ended_with
    return code if code is None or websocket.broken or code in GOODBYES else UNKNOWN_CODE
