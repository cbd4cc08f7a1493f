"""Metrics of the worker for Prometheus: how the transparency log stands, asked of the store at each scrape."""

from contextlib import suppress
from functools import partial
from typing import Final

import trio

from domain.ports import Clock, StoreUnavailable
from domain.transparency.ports import LogStore
from varde_contract.limits import SECOND_MS

PATIENCE: Final = 10.0
"""Seconds, for a whole scrape."""
HEAD_BYTES: Final = 8_192
_END: Final = b"\r\n\r\n"

GAUGES: Final = {
    "varde_log_up": "Whether the store of the log answered. 0: the other figures are missing.",
    "varde_log_entries": "Entries in the newest checkpoint.",
    "varde_log_pending_entries": "Device lists that are not in the log yet.",
    "varde_log_checkpoint_age_seconds": "Since the newest checkpoint was signed. Above 60: no worker signs.",
    "varde_log_cosigned_age_seconds": "Since the newest checkpoint that enough witnesses have cosigned was signed.",
}


async def serve_metrics(
    bind: tuple[str, int],
    store: LogStore,
    clock: Clock,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer every request on this address with all metrics. Raises OSError when the address cannot be had."""
    listeners = await trio.open_tcp_listeners(bind[1], host=bind[0])
    await trio.serve_listeners(partial(_answer, store, clock), listeners, task_status=task_status)


async def render_metrics(store: LogStore, clock: Clock) -> str:
    """Return all metrics in the text format of Prometheus."""
    try:
        backlog, head, cosigned = await store.backlog(), await store.head(), await store.head(cosigned=True)
    except StoreUnavailable:
        return _render({"varde_log_up": 0})
    found: dict[str, float] = {"varde_log_up": 1, "varde_log_pending_entries": backlog.pending}
    if head is not None:
        found["varde_log_entries"] = head.size
        found["varde_log_checkpoint_age_seconds"] = (clock() - head.signed_ms) / SECOND_MS
    if cosigned is not None:
        found["varde_log_cosigned_age_seconds"] = (clock() - cosigned.signed_ms) / SECOND_MS
    return _render(found)


def _render(found: dict[str, float]) -> str:
    lines = (
        (f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {found.get(name)}")
        for name, text in GAUGES.items()
        if name in found
    )
    return "".join(f"{line}\n" for gauge in lines for line in gauge)


async def _answer(store: LogStore, clock: Clock, stream: trio.SocketStream) -> None:
    # Who goes away in the middle, or has gone before the end, has no metrics, and that is all.
    with trio.move_on_after(PATIENCE), suppress(trio.BrokenResourceError):
        head = b""
        while _END not in head and len(head) < HEAD_BYTES:
            more = await stream.receive_some(HEAD_BYTES)
            if not more:
                return
            head += more
        body = (await render_metrics(store, clock)).encode()
        media = "text/plain; version=0.0.4; charset=utf-8"
        text = f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await stream.send_all(text.encode() + body)
    await trio.aclose_forcefully(stream)
