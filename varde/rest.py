"""The API as this device uses it: its access token, refreshed in time, and one function for each call."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import trio
from msgspec import Struct

from varde.clock import now
from varde.errors import SignedOut
from varde.http import Http
from varde.store import Store
from varde.typed import read_code, read_email
from varde_contract.ids import AccountId, ConversationId, DeviceId, LinkId, ProfileId, SessionId
from varde_contract.refusals import RefusalCode
from varde_contract.rest.people import (
    AccountView,
    ClaimedKeys,
    CodeRequest,
    CodeSent,
    DeviceListView,
    DeviceProof,
    Devices,
    DeviceView,
    FoundProfile,
    LostDeviceLists,
    NewDeviceList,
    NewProfile,
    NewUserName,
    PrekeyClaim,
    PrekeyCount,
    PrekeyUpload,
    ProfileOpening,
    Profiles,
    ProfileUpdate,
    ProfileView,
    Refresh,
    RelayAddress,
    RelayTicket,
    Sessions,
    SessionTokens,
    SignIn,
    UserNameQuery,
)
from varde_contract.rest.people import DeviceLists as Lists
from varde_contract.rest.talk import (
    Blocks,
    ChainHead,
    Conversations,
    ConversationView,
    FirstWords,
    LinkProof,
    Links,
    LinkUse,
    LinkView,
    MessageStored,
    NewLink,
    NewMessage,
    NewStatements,
    Requests,
    Statements,
    StatementsStored,
)
from varde_contract.rest.transparency import ConsistencyProof, LogLookup

T = TypeVar("T")

SESSION = "session"
"""The setting that holds the tokens."""
EARLY = timedelta(minutes=2)
"""A token this close to its end is not used for a new call."""


class AccessTokens:
    """The tokens of the store's session."""

    def __init__(self, store: Store, http: Http) -> None:
        self._store = store
        self._http = http
        self._refreshing = trio.Lock()

    def tokens(self) -> SessionTokens:
        """Return the tokens as stored. Raises SignedOut when there are none."""
        tokens = self._store.settings.find(SESSION, SessionTokens)
        if tokens is None:
            advice = "enrol again as a new device, in a new folder"
            raise SignedOut(RefusalCode.UNAUTHENTICATED, "This device has logged out for ever.", advice=advice)
        return tokens

    async def use(self, call: Callable[[str], Awaitable[T]]) -> T:
        """Run a call with an access token, and once more with a fresh one when it turns out to be too old."""
        token = await self._token()
        try:
            return await call(token)
        except SignedOut as refusal:
            # Any other refusal of the token means that the session is over: a refresh would be refused, too.
            if refusal.refusal is not RefusalCode.TOKEN_EXPIRED:
                raise
        return await call(await self._refreshed(token))

    async def _token(self) -> str:
        tokens = self.tokens()
        # Early, because a token may end on the way. A clock that is wrong is found out by the server's `token-expired`.
        if now() < tokens.access_expires_at - EARLY:
            return tokens.access_token
        return await self._refreshed(tokens.access_token)

    async def _refreshed(self, old: str) -> str:
        # One at a time: the second use of a refresh token ends the session, as if somebody had stolen it.
        async with self._refreshing:
            tokens = self.tokens()
            if tokens.access_token != old:
                return tokens.access_token  # somebody else was faster
            # Shielded: the server rotates the refresh token. Cancelled before the response, this one would be spent and
            # its successor lost.
            with trio.CancelScope(shield=True):
                fresh = await self._http.call(
                    "POST", "/v1/auth/session/refresh", SessionTokens, body=Refresh(tokens.refresh_token)
                )
                with self._store.transaction():
                    self._store.settings.put(SESSION, fresh)
            return fresh.access_token


async def request_code(http: Http, email: str) -> CodeSent:
    """Ask for a one-time code by e-mail. Raises VardeError for what is no address."""
    return await http.call("POST", "/v1/auth/codes", CodeSent, body=CodeRequest(read_email(email)))


async def sign_in(http: Http, email: str, code: str) -> SessionTokens:
    """Trade the code for a session. Raises VardeError for what is no address, or no code."""
    return await http.call("POST", "/v1/auth/session", SessionTokens, body=SignIn(read_email(email), read_code(code)))


async def adopt_device(http: Http, access_token: str, device: DeviceId, signature: bytes) -> DeviceView:
    """Bind a session that has no device to a device of the account's list. The same again changes nothing."""
    path = f"/v1/devices/{device}/session"
    return await http.call("PUT", path, DeviceView, body=DeviceProof(signature), token=access_token)


async def end_session(http: Http, access_token: str) -> None:
    """End the session of an access token."""
    await http.call("DELETE", "/v1/auth/session", type(None), token=access_token)


class Rest:
    """The API as a signed-in device uses it. Every call raises Refusal or Unreachable."""

    def __init__(self, http: Http, access: AccessTokens) -> None:
        self._http = http
        self._access = access

    async def account(self) -> AccountView:
        """Return this account."""
        return await self._call("GET", "/v1/account", AccountView)

    async def put_device_list(self, signed: bytes) -> DeviceListView:
        """Make a signed list the account's newest; return the newest. The same again changes nothing."""
        return await self._call("PUT", "/v1/device-list", DeviceListView, body=NewDeviceList(signed))

    async def own_lists(self, from_number: int) -> Lists:
        """Return this account's device lists from a number on, one page."""
        return await self._call("GET", "/v1/device-list", Lists, query={"from": str(from_number)})

    async def device_lists(self, account: AccountId, from_number: int, profile: ProfileId | None = None) -> Lists:
        """Return an account's device lists from a number on, one page. Name a profile to write to a stranger."""
        query = {"from": str(from_number)} | ({} if profile is None else {"profile": str(profile)})
        return await self._call("GET", f"/v1/accounts/{account}/device-lists", Lists, query=query)

    async def opening(self, profile: ProfileId) -> ProfileOpening:
        """Return whose a profile is, and the salt of its commitment."""
        return await self._call("GET", f"/v1/profiles/{profile}/opening", ProfileOpening)

    async def profiles(self) -> Profiles:
        """Return the account's profiles."""
        return await self._call("GET", "/v1/profiles", Profiles)

    async def make_profile(self, profile: NewProfile) -> ProfileView:
        """Make a profile."""
        return await self._call("POST", "/v1/profiles", ProfileView, body=profile)

    async def devices(self) -> Devices:
        """Return the account's devices."""
        return await self._call("GET", "/v1/devices", Devices)

    async def sessions(self) -> Sessions:
        """Return the account's live sessions."""
        return await self._call("GET", "/v1/auth/sessions", Sessions)

    async def end_session(self, session: SessionId) -> None:
        """End a session."""
        await self._call("DELETE", f"/v1/auth/sessions/{session}", type(None))

    async def log_out(self) -> None:
        """End this session."""
        await self._call("DELETE", "/v1/auth/session", type(None))

    async def prekeys(self) -> PrekeyCount:
        """Return how many one-time keys this device has left at the server."""
        return await self._call("GET", "/v1/prekeys", PrekeyCount)

    async def upload_prekeys(self, upload: PrekeyUpload) -> PrekeyCount:
        """Add one-time keys, and replace the fallback key when there is one. The same again changes nothing."""
        return await self._call("POST", "/v1/prekeys", PrekeyCount, body=upload, repeat=True)

    async def claim_prekeys(self, claim: PrekeyClaim) -> ClaimedKeys:
        """Claim one key for each of some devices of a conversation."""
        return await self._call("POST", "/v1/prekeys/claim", ClaimedKeys, body=claim)

    async def conversations(self, after: ConversationId | None) -> Conversations:
        """Return one page of this device's conversations."""
        query = {} if after is None else {"after": str(after)}
        return await self._call("GET", "/v1/conversations", Conversations, query=query)

    async def open_conversation(self, new: NewStatements) -> ConversationView:
        """Open a conversation, or return the dm or self that is there. The same again changes nothing."""
        return await self._call("POST", "/v1/conversations", ConversationView, body=new, repeat=True)

    async def conversation(self, conversation: ConversationId) -> ConversationView:
        """Return a conversation with its roster."""
        return await self._call("GET", f"/v1/conversations/{conversation}", ConversationView)

    async def append_statements(self, conversation: ConversationId, statements: NewStatements) -> StatementsStored:
        """Put membership statements into a chain. The same again changes nothing."""
        path = f"/v1/conversations/{conversation}/statements"
        return await self._call("POST", path, StatementsStored, body=statements, repeat=True)

    async def link_head(self, conversation: ConversationId, proof: LinkProof) -> ChainHead:
        """Return the head of a chain that a link lets somebody into."""
        return await self._call(
            "POST", f"/v1/conversations/{conversation}/statements/head", ChainHead, body=proof, repeat=True
        )

    async def put_back_statements(self, conversation: ConversationId, lost: NewStatements) -> StatementsStored:
        """Put back statements that the server has lost. The same again changes nothing."""
        path = f"/v1/conversations/{conversation}/statements"
        return await self._call("PUT", path, StatementsStored, body=lost)

    async def put_back_lists(self, account: AccountId, lost: LostDeviceLists) -> DeviceListView:
        """Put back device lists that the server has lost; return the newest that it has then."""
        return await self._call("PUT", f"/v1/accounts/{account}/device-lists", DeviceListView, body=lost)

    async def statements(self, conversation: ConversationId, first: int, holds: int | None = None) -> Statements:
        """Return a page of a chain. From 0 on it begins with the last snapshot, or the last not behind `holds`."""
        path = f"/v1/conversations/{conversation}/statements"
        query = {"from": str(first)} | ({} if holds is None else {"holds": str(holds)})
        return await self._call("GET", path, Statements, query=query)

    async def requests(self) -> Requests:
        """Return what this device's profiles are invited to."""
        return await self._call("GET", "/v1/requests", Requests)

    async def put_words(self, conversation: ConversationId, profile: ProfileId, words: FirstWords) -> None:
        """Let an invitation say something. The same again changes nothing."""
        await self._call("PUT", f"/v1/conversations/{conversation}/words/{profile}", type(None), body=words)

    async def put_link(self, link: LinkId, new: NewLink) -> LinkView:
        """Make an invite link to a profile. The same again changes nothing."""
        return await self._call("PUT", f"/v1/links/{link}", LinkView, body=new)

    async def links(self) -> Links:
        """Return this account's links to its profiles."""
        return await self._call("GET", "/v1/links", Links)

    async def revoke_link(self, link: LinkId) -> None:
        """Let nobody ask by a link. The same again changes nothing."""
        await self._call("DELETE", f"/v1/links/{link}", type(None))

    async def use_link(self, use: LinkUse) -> None:
        """Be allowed to ask who the link leads to. The same again changes nothing."""
        await self._call("POST", "/v1/links/use", type(None), body=use, repeat=True)

    async def set_user_name(self, profile: ProfileId, name: str) -> None:
        """Let a profile be found by a name. The same again changes nothing."""
        await self._call("PUT", f"/v1/profiles/{profile}/user-name", type(None), body=NewUserName(name))

    async def remove_user_name(self, profile: ProfileId) -> None:
        """Let it be found by none. The same again changes nothing."""
        await self._call("DELETE", f"/v1/profiles/{profile}/user-name", type(None))

    async def find_user_name(self, name: str) -> FoundProfile:
        """Return whose name it is."""
        return await self._call("POST", "/v1/user-names/find", FoundProfile, body=UserNameQuery(name), repeat=True)

    async def blocks(self) -> Blocks:
        """Return whom this account has blocked."""
        return await self._call("GET", "/v1/blocks", Blocks)

    async def block(self, account: AccountId) -> None:
        """Block an account. The same again changes nothing."""
        await self._call("PUT", f"/v1/blocks/{account}", type(None))

    async def unblock(self, account: AccountId) -> None:
        """Block an account no longer. The same again changes nothing."""
        await self._call("DELETE", f"/v1/blocks/{account}", type(None))

    async def profile(self, profile: ProfileId) -> ProfileView:
        """Return one of this account's profiles, with its policies."""
        return await self._call("GET", f"/v1/profiles/{profile}", ProfileView)

    async def replace_profile(self, profile: ProfileId, update: ProfileUpdate) -> ProfileView:
        """Replace what can change of a profile. The same again changes nothing."""
        return await self._call("PUT", f"/v1/profiles/{profile}", ProfileView, body=update)

    async def send(self, message: NewMessage) -> MessageStored:
        """Send without a socket. The same client id again stores nothing."""
        return await self._call("POST", "/v1/messages", MessageStored, body=message, repeat=True)

    async def relay(self) -> RelayAddress:
        """Return where the relay is, and its static key."""
        return await self._call("GET", "/v1/relay", RelayAddress)

    async def ticket(self) -> RelayTicket:
        """Return a ticket for this device. Asking again makes another one and harms nobody."""
        return await self._call("POST", "/v1/relay/tickets", RelayTicket, repeat=True)

    async def log_keys(self) -> str:
        """Return the verifier keys of the transparency log, one on a line."""
        return (await self._http.read("/v1/log/key")).decode(errors="replace")

    async def log_checkpoint(self) -> bytes:
        """Return the newest checkpoint of the transparency log as a signed note."""
        return await self._http.read("/v1/log/checkpoint")

    async def log_cosigned(self) -> bytes:
        """Return the newest checkpoint that the server's witnesses have cosigned, as a signed note."""
        return await self._http.read("/v1/log/checkpoint/cosigned")

    async def log_lookup(self, account: AccountId, number: int) -> LogLookup:
        """Return an account's entries in the transparency log from this list number on."""
        return await self._call("GET", f"/v1/log/lookup/{account}", LogLookup, query={"number": str(number)})

    async def log_consistency(self, old: int, size: int) -> ConsistencyProof:
        """Return the proof that one size of the transparency log continues another."""
        return await self._http.call("GET", f"/v1/log/consistency/{old}/{size}", ConsistencyProof)

    async def _call(
        self,
        method: str,
        path: str,
        response_type: type[T],
        *,
        body: Struct | None = None,
        query: dict[str, str] | None = None,
        repeat: bool | None = None,
    ) -> T:
        return await self._access.use(
            lambda token: self._http.call(
                method, path, response_type, body=body, query=query, token=token, repeat=repeat
            )
        )
