"""The first words to somebody who has not accepted: sent with the invitation of a dm, and shown with the request.

They are the beginning of what waits in the outbox, and nothing but a foretaste: once the other has accepted, all that
waits is sent as messages, so that the log of both is whole.
"""

import hmac
from collections.abc import Callable

from varde.clock import fresh_id, now_ms
from varde.crypto import CannotDecrypt
from varde.crypto.keychain import Keychain
from varde.errors import Busy, Unreachable, VardeError
from varde.identity import Identity
from varde.rest import Rest
from varde.rosters import Rosters
from varde.sayings import text_of
from varde.store import Store
from varde.store.chains import Chain
from varde.store.outbox import Draft, DraftKind
from varde.store.ratchets import Pair
from varde_contract.bodies import Text
from varde_contract.ids import ClientId, ConversationId, ProfileId
from varde_contract.links import PersonLink, parse_link
from varde_contract.rest.people import ClaimedKeys, PrekeyClaim
from varde_contract.rest.talk import FirstWords, WordsView


class FirstContact:
    """What this device says, and is told, before anybody has accepted."""

    def __init__(self, store: Store, keychain: Keychain, rest: Rest, rosters: Rosters, identity: Identity) -> None:
        self._store = store
        self._keychain = keychain
        self._rest = rest
        self._rosters = rosters
        self._identity = identity

    async def send(self, draft: Draft, may_encrypt: Callable[[], bool]) -> None:
        """Let the invitation say what waits first, once. Raises Unreachable and Busy; all else leaves it unsaid.

        `may_encrypt` is asked last, within the transaction that turns the ratchets.
        """
        chain = self._store.chains.find(draft.conversation)
        if chain is None or chain.blocked or draft.kind is not DraftKind.TEXT:
            return
        if not isinstance(draft.said, Text):
            return  # a timer that was set first, say
        if self._store.first_words.find(draft.conversation) is not None:
            return
        try:
            await self._send(chain, draft, may_encrypt)
        except (Unreachable, Busy):
            raise
        except VardeError:
            pass  # the invitation stands without it, and the text itself still waits

    async def introduce(
        self, conversation: ConversationId, profile: ProfileId, may_encrypt: Callable[[], bool]
    ) -> bool:
        """Say nothing, with the proof of a link: True when it was said. Raises what a message for a stranger raises."""
        chain = self._store.chains.find(conversation)
        if chain is None or chain.blocked or self._store.first_words.find(conversation) is not None:
            return True
        silence = Draft(conversation, ClientId(fresh_id()), DraftKind.TEXT, profile, now_ms(), text="")
        await self._send(chain, silence, may_encrypt)
        return self._store.first_words.find(conversation) is not None

    async def _send(self, chain: Chain, draft: Draft, may_encrypt: Callable[[], bool]) -> None:
        invited = [(each, member.account) for each, member in chain.state.members.items() if not member.accepted]
        if len(invited) != 1 or invited[0][1] == self._identity.account:
            return
        ((profile, account),) = invited
        await self._rosters.learn_profile(profile)
        # Proven as for a message: these are words, and the server would like to choose who reads them.
        lists = await self._rosters.prove_lists(self._identity.account, account)
        devices = self._keychain.trust.devices_of(profile, now_ms())
        pairs = (Pair(draft.conversation, peer.device) for peer in devices)
        missing = tuple(pair.device for pair in pairs if not self._store.ratchets.has_session(pair))
        keys = ClaimedKeys((), ())
        if missing:
            keys = await self._rest.claim_prekeys(PrekeyClaim(draft.conversation, missing))
        with self._store.transaction():
            if not may_encrypt():
                return
            proof = self._store.settings.find(link_proof(draft.conversation), bytes)
            sealed = self._keychain.encrypt_words(chain.state, draft, lists, devices, keys, proof)
        # Nothing where no device had a prekey: it is tried again with the next look, and the text waits anyhow.
        if sealed:
            words = FirstWords(draft.client_id, draft.profile, sealed)
            await self._rest.put_words(draft.conversation, profile, words)
            # Afterwards: after a crash in between it is said once more, which replaces what was said.
            with self._store.transaction():
                self._store.first_words.put(draft.conversation, text_of(draft.said))
                self._store.settings.remove(link_proof(draft.conversation))

    def read(
        self, conversation: ConversationId, inviter: ProfileId, profile: ProfileId, words: WordsView | None
    ) -> str | None:
        """Return what an invitation says, which was verified; None where it says nothing that this device can read."""
        known = self._store.first_words.find(conversation)
        if known is not None or words is None or words.profile != inviter:
            return known
        try:
            with self._store.transaction():
                said = self._keychain.open_words(conversation, words)
                self._store.first_words.put(conversation, said.text)
                link = None if said.proof is None else self._find_link(conversation, inviter, profile, said.proof)
                if link is not None:
                    self._store.settings.put(_came_by(conversation), link)
        except CannotDecrypt:
            return None
        return said.text

    def link_of(self, conversation: ConversationId) -> bytes | None:
        """Return the link of this device by which an invitation came, proven."""
        return self._store.settings.find(_came_by(conversation), bytes)

    def _find_link(
        self, conversation: ConversationId, inviter: ProfileId, profile: ProfileId, proof: bytes
    ) -> bytes | None:
        chain = self._store.chains.find(conversation)
        assert chain is not None, "its invitation was verified"
        account = chain.past[inviter]
        roots = self._keychain.trust.lists.root_hashes(account)
        found = None
        for key, own in self._store.own_links.all().items():
            link = parse_link(own.url)
            if not isinstance(link, PersonLink) or link.profile != profile:
                continue
            # The account's root key is proven with it: the lists that the server shows are those of who has the link.
            if any(hmac.compare_digest(link.proof(account, inviter, root), proof) for root in roots):
                found = key
        return found


def link_proof(conversation: ConversationId) -> str:
    """Name the setting with the proof that goes with the first words."""
    return f"link-proof-{conversation}"


def _came_by(conversation: ConversationId) -> str:
    return f"came-by-{conversation}"
