"""The chain of each conversation as this device has verified it: the membership it comes to, and its hashes."""

from uuid import UUID

from msgspec import Struct

from varde.store.table import Cell, Table
from varde_contract.ids import AccountId, ConversationId, ProfileId
from varde_contract.membership import Membership


class Chain(Struct, frozen=True):
    """A verified chain. `past` has everybody who ever accepted: what they wrote may still come.

    With `blocked` an update is needed: a statement follows that this client does not know.
    """

    state: Membership
    past: dict[ProfileId, AccountId]
    inviters: dict[ProfileId, ProfileId]
    blocked: bool = False


class Chains(Table):
    """One row for each conversation, and one for each statement."""

    def find(self, conversation: ConversationId) -> Chain | None:
        """Return the chain up to its last verified statement."""
        row = self._database.row("SELECT sealed FROM chain WHERE conversation = ?", conversation.bytes)
        return None if row is None else self._decrypt(_chain_cell(conversation), row[0], Chain)

    def put(self, chain: Chain) -> None:
        """Keep a chain as it is now, and who its members are after its last statement."""
        conversation = chain.state.conversation
        self._put_accounts(chain)
        self._database.run(
            "INSERT INTO chain (conversation, sealed) VALUES (?, ?)"
            " ON CONFLICT (conversation) DO UPDATE SET sealed = excluded.sealed",
            conversation.bytes,
            self._encrypt(_chain_cell(conversation), chain),
        )

    def keep(self, state: Membership, signed: bytes) -> None:
        """Keep the last statement of a chain, and its hash: a server that loses it can be given it back."""
        self._database.run(
            "INSERT OR IGNORE INTO chain_hash VALUES (?, ?, ?, ?)",
            state.conversation.bytes,
            state.number,
            state.head,
            self._encrypt(_statement_cell(state.conversation, state.number), signed),
        )

    def signed_from(self, conversation: ConversationId, number: int) -> list[bytes]:
        """Return the signed statements from a number on; none where that one is not here."""
        rows = self._database.rows(
            "SELECT number, signed FROM chain_hash WHERE conversation = ? AND number >= ? ORDER BY number",
            conversation.bytes,
            number,
        )
        if [each for each, signed in rows if signed is not None] != list(range(number, number + len(rows))):
            return []
        return [self._decrypt(_statement_cell(conversation, each), signed, bytes) for each, signed in rows]

    def all_ids(self) -> list[ConversationId]:
        """Return the conversations of which a chain is known."""
        rows = self._database.rows("SELECT conversation FROM chain ORDER BY conversation")
        return [ConversationId(UUID(bytes=row[0])) for row in rows]

    def accounts_at(self, conversation: ConversationId, number: int) -> list[AccountId]:
        """Return the accounts that had accepted members after a statement; none where this device did not see it."""
        rows = self._database.rows(
            "SELECT account FROM chain_account WHERE conversation = ? AND number <= ?"
            " GROUP BY account HAVING sum(step) > 0",
            conversation.bytes,
            number,
        )
        return [AccountId(UUID(bytes=row[0])) for row in rows]

    def _put_accounts(self, chain: Chain) -> None:
        conversation, number = chain.state.conversation, chain.state.number
        before = set(self.accounts_at(conversation, number))
        after = {member.account for member in chain.state.accepted.values()}
        # Only what differs: a room of a thousand would otherwise cost a thousand rows for each statement.
        steps = [(each, 1) for each in after - before] + [(each, -1) for each in before - after]
        for account, step in steps:
            self._database.run(
                "INSERT INTO chain_account VALUES (?, ?, ?, ?)", conversation.bytes, account.bytes, number, step
            )

    def hash_of(self, conversation: ConversationId, number: int) -> bytes | None:
        """Return the hash of a statement that was verified; None before the first this device has."""
        row = self._database.row(
            "SELECT hash FROM chain_hash WHERE conversation = ? AND number = ?", conversation.bytes, number
        )
        return None if row is None else row[0]

    def set_pending(self, conversation: ConversationId, *, pending: bool) -> None:
        """Note that a statement of this device is on its way: a number of it may be called own before the answer."""
        if pending:
            self._database.run("INSERT OR IGNORE INTO chain_pending VALUES (?)", conversation.bytes)
        else:
            self._database.run("DELETE FROM chain_pending WHERE conversation = ?", conversation.bytes)

    def all_pending(self) -> list[ConversationId]:
        """Return the conversations in which the answer to a statement is due."""
        return [
            ConversationId(UUID(bytes=row[0])) for row in self._database.rows("SELECT conversation FROM chain_pending")
        ]

    def is_pending(self, conversation: ConversationId) -> bool:
        """Whether the answer to a statement of this device is due."""
        return self._database.row("SELECT 1 FROM chain_pending WHERE conversation = ?", conversation.bytes) is not None


def _statement_cell(conversation: ConversationId, number: int) -> Cell:
    return Cell("chain_hash", "signed", conversation.bytes, number)


def _chain_cell(conversation: ConversationId) -> Cell:
    return Cell("chain", "sealed", conversation.bytes)
