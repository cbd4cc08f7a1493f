"""Signed records that a restored server has lost and this device holds: it gives them back.

A server may only be behind, never different: what it has must be the beginning of what is known here. Anything else is
a second history, which is told and never mended. Giving records back to a liar does no harm, because it had them.
"""

from collections.abc import Callable, Sequence

from varde.crypto.device_lists import DeviceLists
from varde.errors import Busy, NotFound, Refusal, Unreachable
from varde.rest import Rest
from varde.store import Store
from varde.store.chains import Chain
from varde_contract.device_list import list_hash
from varde_contract.ids import AccountId, ConversationId
from varde_contract.limits import MEMBERS_PER_CONVERSATION
from varde_contract.membership_statements import parse_statement
from varde_contract.rest.people import LISTS_PUT_BACK, LostDeviceLists
from varde_contract.rest.talk import ChainHead, ListHead, NewStatements

_AT_ONCE = MEMBERS_PER_CONVERSATION + 1  # as many as begin a conversation


class LostRecords:
    """What this device can put back."""

    def __init__(self, store: Store, rest: Rest, account: AccountId, settle: Callable[[ConversationId], None]) -> None:
        """`settle` decides which numbers of a conversation are this device's own, within a transaction."""
        self._store = store
        self._rest = rest
        self._account = account
        self._lists = DeviceLists(store)
        self._settle = settle

    async def put_back_chain(self, conversation: ConversationId, head: ChainHead | None) -> bool:
        """Put back the statements after the server's `head`; True when it has them now. Raises Unreachable and Busy.

        False where this device holds none that follow, or the server does not take them.
        """
        chain = self._store.chains.find(conversation)
        # The server takes them only from who is in the conversation before or after them.
        if chain is None or not any(member.account == self._account for member in chain.state.members.values()):
            return False
        # A fork: what follows here does not follow there.
        if head is not None and self._store.chains.hash_of(conversation, head.number) != head.hash:
            return False
        signed = self._store.chains.signed_from(conversation, 0 if head is None else head.number + 1)
        if not signed:
            return False
        try:
            await self._put_statements(conversation, signed)
        except NotFound:
            # Somebody in it is unknown to the server, or has signed with a list that it has lost as well.
            try:
                await self._put_all_lists(chain, signed)
                await self._put_statements(conversation, signed)
            except Refusal:
                return False
        except Refusal:
            return False
        return True

    async def put_back_lists(self, head: ListHead) -> bool:
        """Put back the lists of an account after the newest that the server shows; True when it has them now.

        `number` 0 is none. Raises Unreachable and Busy.
        """
        newest = self._lists.newest(head.account)
        if newest is None or newest.number <= head.number:
            return False
        if head.number and list_hash(self._lists.at(head.account, head.number)) != head.hash:
            return False
        try:
            await self._put_lists(head.account, range(head.number + 1, newest.number + 1))
        except Refusal:
            return False
        return True

    async def _put_statements(self, conversation: ConversationId, signed: Sequence[bytes]) -> None:
        with self._store.transaction():
            self._store.chains.set_pending(conversation, pending=True)
        try:
            for start in range(0, len(signed), _AT_ONCE):
                some = tuple(signed[start : start + _AT_ONCE])
                stored = await self._rest.put_back_statements(conversation, NewStatements(some))
                with self._store.transaction():
                    # They are messages of this device, whoever signed them: the relay will call their numbers own.
                    for seq in stored.seqs:
                        self._store.own_numbers.acked(conversation, seq)
        except (Unreachable, Busy):
            raise  # an answer is due: no number may be judged before it
        except Refusal:
            self._answered(conversation)
            raise
        self._answered(conversation)

    def _answered(self, conversation: ConversationId) -> None:
        with self._store.transaction():
            self._store.chains.set_pending(conversation, pending=False)
            self._settle(conversation)

    async def _put_all_lists(self, chain: Chain, signed: Sequence[bytes]) -> None:
        accounts = {member.account for member in chain.state.members.values()}
        for account in sorted(accounts | {parse_statement(each)[0].account for each in signed}):
            newest = self._lists.newest(account)
            if newest is not None:
                await self._put_lists(account, range(1, newest.number + 1))

    async def _put_lists(self, account: AccountId, numbers: range) -> None:
        openings = self._store.pins.salts_of(account)
        for start in range(0, len(numbers), LISTS_PUT_BACK):
            some = numbers[start : start + LISTS_PUT_BACK]
            lists = tuple(self._store.pins.signed_list(account, number) for number in some)
            await self._rest.put_back_lists(account, LostDeviceLists(lists, openings))
