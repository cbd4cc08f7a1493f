"""What a person demands of the transparency log: its very keys, and witnesses that have cosigned it (C2SP tlog-policy).

Without witnesses, two groups of people who never write to each other can each be shown a log of their own.
"""

from collections.abc import Sequence

from varde.errors import UnprovenList, VardeError
from varde.store import Store
from varde_contract.errors import PeerFault
from varde_contract.transparency.checkpoint import signed_time
from varde_contract.transparency.note import Note
from varde_contract.transparency.policy import NONE, Policy, parse_policy

POLICY = "log-policy"
"""The setting that holds the policy."""
COSIGNED_SECONDS = 60 * 60
"""How long a cosignature is good for. The log asks its witnesses each minute; when one restarts, or the log does, that
must not stop everybody's messages."""
SKEW_SECONDS = 60
"""How far the clock of a witness may be ahead."""


class LogPolicy:
    """The policy in the store, if there is one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        text = self.text()
        self._policy = None if text is None else _parse(text)

    def text(self) -> str | None:
        """Return the policy as it was put."""
        return self._store.settings.find(POLICY, str)

    def put(self, text: str | None, vkeys: Sequence[str]) -> None:
        """Keep another policy, or with None no one; `vkeys` are those of the log, as far as they are known.

        Raises VardeError for one that cannot be read, UnprovenList for one that is for another log.
        """
        policy = None if text is None else _parse(text)
        _check_keys(policy, vkeys)
        if text is None:
            self._store.settings.remove(POLICY)
        else:
            self._store.settings.put(POLICY, text)
        self._policy = policy

    def check_keys(self, vkeys: Sequence[str]) -> None:
        """Compare the keys that a log shows. Raises UnprovenList."""
        _check_keys(self._policy, vkeys)

    @property
    def demands_witnesses(self) -> bool:
        """Whether anybody must have cosigned."""
        return self._policy is not None and self._policy.quorum != NONE

    def cosigned_time(self, note: Note, now: int) -> int | None:
        """Return when the last witness that is needed has cosigned; None where too few have, or too long ago.

        Seconds since the Unix epoch, as is `now`. Raises PeerFault for a cosignature that does not verify.
        """
        assert self._policy is not None
        policy, earliest, latest = self._policy, now - COSIGNED_SECONDS, now + SKEW_SECONDS + 1
        found = {signed_time(note, witness.key) for witness in policy.witnesses.values()}
        times = sorted((time for time in found if time is not None and time > earliest), reverse=True)
        # Newest first: the largest time at which the quorum holds says for how long it is good.
        return next((since for since in times if policy.accepts(note, range(since, latest).__contains__)), None)


def _parse(text: str) -> Policy:
    try:
        return parse_policy(text)
    except PeerFault as fault:
        raise VardeError(f"{fault}", code="bad-policy", advice="see c2sp.org/tlog-policy for the format") from None


def _check_keys(policy: Policy | None, vkeys: Sequence[str]) -> None:
    if policy is not None and not {str(key) for key in policy.logs}.issuperset(vkeys):
        advice = "ask who wrote the policy which log it is for; if it is for this one, treat the server as hostile"
        raise UnprovenList("the transparency log has other keys than the policy names", advice=advice)
