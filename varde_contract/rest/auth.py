"""Sign-in and sessions."""

from msgspec import Struct

from varde_contract.hidden import Hidden
from varde_contract.ids import AccountId, DeviceId, SessionId
from varde_contract.rest.fields import Email, Instant, OneTimeCode, Token


class CodeRequest(Hidden, frozen=True, forbid_unknown_fields=True):
    """Ask for a one-time code by e-mail."""

    email: Email


class CodeSent(Struct, frozen=True):
    """Always the same answer, whether or not there is an account."""

    expires_in_s: int


class SignIn(Hidden, frozen=True, forbid_unknown_fields=True):
    """Trade a code for a session. The first sign-in of an address makes the account."""

    email: Email
    code: OneTimeCode


class Refresh(Hidden, frozen=True, forbid_unknown_fields=True):
    """Trade a refresh token for new tokens. Each works once: the second use ends the session."""

    refresh_token: Token


class SessionTokens(Hidden, frozen=True):
    """The tokens of a session. `new_account` is true when this sign-in made the account."""

    account: AccountId
    session: SessionId
    access_token: Token
    access_expires_at: Instant
    refresh_token: Token
    refresh_expires_at: Instant
    new_account: bool = False


class SessionView(Struct, frozen=True):
    """One session, as its owner sees it."""

    session: SessionId
    device: DeviceId | None
    created_at: Instant
    refreshed_at: Instant
    current: bool


class Sessions(Struct, frozen=True):
    """The live sessions of an account."""

    sessions: tuple[SessionView, ...]
