"""Proven device lists are looked up again, so that an old proof does not stand for ever.

A server that hides a list from one client shows it the old roster, whose lists stay proven. The log is the same for
everybody and has the new one.
"""

import random
from contextlib import suppress

import trio

from varde.errors import VardeError
from varde.store import Store
from varde.transparency import Transparency
from varde_contract.rest.talk import ListHead

DAY_MS = 24 * 3_600 * 1_000
ROUND_SECONDS = 3_600.0
PAUSE_SECONDS = 1.0


class ListLookups:
    """Looks up the lists that this device's rosters rest on, each about once a day."""

    def __init__(self, store: Store, log: Transparency) -> None:
        self._store = store
        self._log = log

    async def run(self) -> None:
        """Look until the client ends. What is found to be old is fetched again before the next message."""
        while True:
            for head in self._due():
                # One at a time: those of a large room were all proven in the same minute.
                await trio.sleep(random.uniform(0, 2 * PAUSE_SECONDS))  # noqa: S311 - jitter is no secret
                # The next hour tries again, and what the log is found to be is raised to whoever sends.
                with suppress(VardeError):
                    await self._log.look_again(head.account, head.number)
            await trio.sleep(ROUND_SECONDS)

    def _due(self) -> list[ListHead]:
        rosters = map(self._store.conversations.roster, self._store.conversations.all_ids())
        heads = {head.account: head for roster in rosters if roster is not None for head in roster.lists}
        found = []
        for head in heads.values():
            age_ms = self._log.proof_age_ms(head.account, head.number)
            # Drawn anew each hour, so that the clients of a server that was away do not all come back at once.
            due_ms = random.uniform(DAY_MS / 2, DAY_MS)  # noqa: S311 - jitter is no secret
            if age_ms is not None and age_ms >= due_ms:
                found.append(head)
        return found
