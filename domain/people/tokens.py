"""Access and refresh tokens: a client shows one to prove its session. The database has only a digest of it."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from varde_contract.ids import AccountId, SessionId

SECRET_BYTES: Final = 32
ID_BYTES: Final = 16
TOKEN_CHARACTERS: Final = 86  # base64url of two ids and the secret, without padding


@dataclass(frozen=True, slots=True)
class Token:
    """One token. The ids say where to look, the secret proves."""

    account: AccountId
    session: SessionId
    secret: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Token | None":
        """Read a token as `text` spells it; None when it is none. There is one spelling of each."""
        if len(text) != TOKEN_CHARACTERS or not text.isascii():
            return None
        try:
            raw = base64.b64decode(text + "==", altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        account, session = AccountId(UUID(bytes=raw[:ID_BYTES])), SessionId(UUID(bytes=raw[ID_BYTES : 2 * ID_BYTES]))
        token = cls(account, session, raw[2 * ID_BYTES :])
        # base64 has several spellings of the last byte, of which one is ours: else one token would have many.
        return token if token.spell() == text else None

    def spell(self) -> str:
        """Return the token as the client keeps it: a secret."""
        raw = self.account.bytes + self.session.bytes + self.secret
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def digest(self) -> bytes:
        """Return what the database keeps. The secret is 32 random bytes, so a plain SHA-256 cannot be guessed back."""
        return hashlib.sha256(self.secret).digest()

    def matches(self, digest: bytes) -> bool:
        """Whether this is the token with that digest, in constant time."""
        return hmac.compare_digest(self.digest(), digest)
