"""Sign-in: a one-time code goes to an e-mail address, and whoever has it gets a session of the address's account."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from domain.people.addresses import address_digest, code_digest, normal_address
from domain.people.model import OneTimeCode
from domain.people.ports import Mail, MailRefused, MailUnavailable, SignInStore
from domain.people.sessions import Granted, Sessions
from domain.ports import Clock, Entropy
from varde_contract.ids import ENTROPY_BYTES, AccountId, uuid7
from varde_contract.refusals import RefusalCode, Refused

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
CODE_DIGITS: Final = 8
CODE_TIME: Final = 10 * MINUTE
ATTEMPTS: Final = 5
# Five codes an hour with five attempts each: 25 guesses at 10^8, and no mailbox is flooded in somebody else's name.
CODES_PER_WINDOW: Final = 5
CODE_WINDOW: Final = 1 * HOUR
MAIL_RETRY: Final = 30 * SECOND

_TOO_MANY_CODES: Final = Refused(
    RefusalCode.RATE_LIMITED,
    "Too many codes were asked for this address. Use the last one, or wait.",
    retry_after_ms=CODE_WINDOW,
)
_NO_MAIL: Final = Refused(
    RefusalCode.UNAVAILABLE, "The code could not be mailed. Try again in a moment.", retry_after_ms=MAIL_RETRY
)
_NO_SUCH_ADDRESS: Final = Refused(
    RefusalCode.MALFORMED, "The mail server takes nothing for this address. Check how it is spelled, or use another."
)
_EXPIRED: Final = Refused(RefusalCode.CODE_EXPIRED, "No code is valid for this address any more. Ask for a new one.")
_EXHAUSTED: Final = Refused(RefusalCode.CODE_EXHAUSTED, "This code was tried too often. Ask for a new one.")
_SUSPENDED: Final = Refused(
    RefusalCode.NOT_ALLOWED, "This account is suspended. Whoever runs this server can say why, and end that."
)
_WRONG: Final = Refused(RefusalCode.CODE_WRONG, "That is not the code. Look at the newest e-mail.")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The new session; `new_account` when this was the first sign-in of the address."""

    granted: Granted
    new_account: bool


class SignIn:
    """Codes out, sessions back. One code guessed blindly succeeds with a chance of 5 in 10^8."""

    def __init__(
        self,
        store: SignInStore,
        mail: Mail,
        sessions: Sessions,
        *,
        pepper: bytes,
        other_peppers: Sequence[bytes] = (),
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`other_peppers` are looked under as well, while the pepper changes: whoever signs in comes under `pepper`."""
        self._store = store
        self._mail = mail
        self._sessions = sessions
        self._pepper = pepper
        self._peppers = (pepper, *other_peppers)
        self._clock = clock
        self._entropy = entropy

    async def send_code(self, typed_address: str) -> Refused | None:
        """Mail a code that replaces the one before. Refuses `rate-limited`, `unavailable`, `malformed`."""
        address = normal_address(typed_address)
        now, code = self._clock(), self._make_code()
        # Stored before it is mailed: a mail that fails costs one of the five, and a code that comes can always be
        # redeemed.
        stored = await self._store.put_code(
            address_digest(self._pepper, address),
            OneTimeCode(code_digest(self._pepper, address, code), now + CODE_TIME, ATTEMPTS),
            now_ms=now,
            window_ms=CODE_WINDOW,
            most=CODES_PER_WINDOW,
        )
        if not stored:
            return _TOO_MANY_CODES
        try:
            await self._mail.send_code(address, code, expires_in_s=CODE_TIME // SECOND)
        except MailRefused:
            return _NO_SUCH_ADDRESS
        except MailUnavailable:
            return _NO_MAIL
        return None

    async def redeem(self, typed_address: str, code: str) -> SignedIn | Refused:
        """Trade a code for a session. Refuses `code-expired`, `code-exhausted`, `code-wrong`, `not-allowed`."""
        address = normal_address(typed_address)
        digest, *known_as = [address_digest(pepper, address) for pepper in self._peppers]
        # The code may have been asked for at an API that is a step further in a change of the pepper, or behind.
        tried = [
            await self._try(each, code_digest(pepper, address, code))
            for pepper, each in zip(self._peppers, (digest, *known_as), strict=True)
        ]
        if None not in tried:
            return next((refused for refused in tried if refused and refused is not _EXPIRED), _EXPIRED)
        now = self._clock()
        fresh = AccountId(uuid7(now, self._entropy(ENTROPY_BYTES)))
        account, new_account = await self._store.account_of(digest, fresh, now, known_as=known_as)
        if account.suspended:
            return _SUSPENDED
        return SignedIn(await self._sessions.open(account.id), new_account)

    async def _try(self, digest: bytes, offered: bytes) -> Refused | None:
        # The attempt is used up before the code is looked at, so that no number of attempts at once can exceed five.
        refused = self._judge(await self._store.take_attempt(digest), offered)
        if refused is not None:
            return refused
        # Of two who redeem it at once, one gets the session.
        return None if await self._store.consume_code(digest, offered) else _EXPIRED

    def _judge(self, mailed: OneTimeCode | None, offered: bytes) -> Refused | None:
        if mailed is None or mailed.expires_ms <= self._clock():
            return _EXPIRED
        if mailed.attempts_left <= 0:
            return _EXHAUSTED
        return None if hmac.compare_digest(mailed.code_digest, offered) else _WRONG

    def _make_code(self) -> str:
        # 64 bits modulo 10^8: the first codes are likelier than the last by one in 10^11.
        return f"{int.from_bytes(self._entropy(8)) % 10**CODE_DIGITS:0{CODE_DIGITS}}"
