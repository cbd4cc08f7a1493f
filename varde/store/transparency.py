"""What this device knows of the transparency log: its keys, the last checkpoint, and which device lists are in it."""

from msgspec import Struct

from varde.errors import StoreDamaged
from varde.store.table import Cell, Table
from varde_contract.envelope import SeenCheckpoint
from varde_contract.ids import AccountId

_STATE = Cell("log_state", "sealed", 1)


class LogState(Struct, frozen=True):
    """The log as it was seen last: the keys that were pinned, and a checkpoint with its time in seconds.

    `forked` says, once two histories were shown, in which way, with both signed notes. `cosigned_time`: when the last
    of the witnesses that a policy demands has cosigned a checkpoint which is part of this log.
    """

    vkeys: tuple[str, ...]
    size: int
    root: bytes
    time: int
    note: bytes
    forked: tuple[str, bytes, bytes] | None = None
    cosigned_time: int = 0


class KnownList(Struct, frozen=True):
    """A device list that this device was shown; `index` is its place in the log, None before it was proven.

    `looked_up_ms`: when the log was seen to have no newer one of the account; 0 once it had.
    """

    digest: bytes
    since_ms: int
    index: int | None
    looked_up_ms: int = 0


class LogTable(Table):
    """One row for the log, and one for each list."""

    def state(self) -> LogState | None:
        """Return the log as it was seen last; None before the first time. Raises StoreDamaged."""
        row = self._database.row("SELECT sealed FROM log_state WHERE one = 1")
        if row is not None:
            return self._decrypt(_STATE, row[0], LogState)
        # Without this, deleting one row of the file would have the device pin whatever log it is shown next.
        if self._database.row("SELECT 1 FROM logged_list WHERE place IS NOT NULL LIMIT 1") is not None:
            raise StoreDamaged("the store has lists of a log, and has lost the log's keys")
        return None

    def seen(self) -> SeenCheckpoint | None:
        """Return the newest checkpoint that was verified: it goes into every message."""
        state = self.state()
        return None if state is None else SeenCheckpoint(state.size, state.root)

    def put_state(self, state: LogState) -> None:
        """Keep what was seen."""
        self._database.run(
            "INSERT INTO log_state VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET sealed = excluded.sealed",
            self._encrypt(_STATE, state),
        )

    def known(self, account: AccountId, number: int) -> KnownList | None:
        """Return a list that was shown before."""
        query = "SELECT sealed FROM logged_list WHERE account = ? AND number = ?"
        row = self._database.row(query, account.bytes, number)
        return None if row is None else self._decrypt(_list_cell(account, number), row[0], KnownList)

    def put(self, account: AccountId, number: int, known: KnownList) -> None:
        """Keep a list that was shown, new or again."""
        self._database.run(
            "INSERT INTO logged_list VALUES (?, ?, ?, ?) ON CONFLICT (account, number)"
            " DO UPDATE SET place = excluded.place, sealed = excluded.sealed",
            account.bytes,
            number,
            known.index,
            self._encrypt(_list_cell(account, number), known),
        )

    def past(self) -> list[LogState]:
        """Return the logs that were let go, as they were seen last, oldest first."""
        rows = self._database.rows("SELECT position, sealed FROM past_log ORDER BY position")
        return [self._decrypt(_past_cell(position), sealed, LogState) for position, sealed in rows]

    def forget(self) -> None:
        """Begin anew with the next log that is shown. What was proven goes; the last checkpoint is put aside."""
        state = self.state()
        if state is not None:
            # The position is part of the associated data, so it is chosen here, as that of an event is.
            (last,) = self._database.row("SELECT ifnull(max(position), 0) FROM past_log") or (0,)
            self._database.run(
                "INSERT INTO past_log VALUES (?, ?)", last + 1, self._encrypt(_past_cell(last + 1), state)
            )
        # Both: a proof says nothing under other keys.
        self._database.run("DELETE FROM log_state")
        self._database.run("DELETE FROM logged_list")


def _past_cell(position: int) -> Cell:
    return Cell("past_log", "sealed", position)


def _list_cell(account: AccountId, number: int) -> Cell:
    return Cell("logged_list", "sealed", account.bytes, number)
