"""The errors of the SDK: one base class, each kind with a word for programs and advice for people."""

from typing import ClassVar

from varde_contract.close_codes import MEANINGS, CloseCode
from varde_contract.refusals import RefusalCode, StaleDevices


class VardeError(Exception):
    """Everything this SDK raises on purpose. `code` is a word for programs, `advice` a sentence for people."""

    code: str = "error"
    advice: str = ""

    def __init__(self, text: str, *, code: str | None = None, advice: str | None = None) -> None:
        super().__init__(text)
        self.code = code or self.code
        self.advice = advice or self.advice


class WrongKey(VardeError):
    """The passphrase or key file does not open this store."""

    code = "wrong-key"
    advice = "check the passphrase, or name the key file this store was made with"


class StoreInUse(VardeError):
    """Another process holds this store: two would tear its ratchets apart."""

    code = "store-in-use"
    advice = "close the other program that uses this home folder, or give this one a folder of its own"


class StoreDamaged(VardeError):
    """Something in the store was changed without its key, or was written by a newer version."""

    code = "store-damaged"
    advice = "restore the folder from a backup, or enrol a new device in a new folder"


class StoreFailed(VardeError):
    """The local store cannot be read or written now, and is whole: `code` says whether its disk is full (`store-full`),
    forbids it (`store-read-only`), fails (`store-disk`), or another program has the file (`store-busy`).
    """


class NotEnrolled(VardeError):
    """There is no device in this home folder yet."""

    code = "not-enrolled"
    advice = "sign up, or log in with the recovery phrase"


class AlreadyEnrolled(VardeError):
    """This home folder already holds a device."""

    code = "already-enrolled"
    advice = "use it as it is, sign in again if its session ended, or choose an empty folder for a further device"


class UnusableCode(VardeError):
    """A code from another device of the account is not whole, too old, or of another history of devices."""

    code = "unusable-code"
    advice = "make a new one there; if that is refused too, the two devices are shown different lists: do not go on"


class NotListed(VardeError):
    """No manager has added this device yet, and the code that it gave out is void by now."""

    code = "not-listed"
    advice = "ask again, and give the new code to a manager"


class WrongPhrase(VardeError):
    """The recovery phrase is misspelt, or belongs to another account."""

    code = "wrong-phrase"
    advice = "check the 24 words and their order"


class WrongWord(WrongPhrase):
    """Word `number` of a recovery phrase, counted from 1, is in no phrase; `near` are some that are. `words`: all."""

    code = "wrong-word"

    def __init__(self, number: int, words: tuple[str, ...], near: tuple[str, ...]) -> None:
        may_be = f"it may be {' or '.join(near)}" if near else "compare it with the paper"
        super().__init__(f"word {number}, '{words[number - 1][:20]}', is in no recovery phrase", advice=may_be)
        self.number = number
        self.words = words
        self.near = near


class CodeNeeded(VardeError):
    """There is no session of an earlier run to go on with: a one-time code opens one."""

    code = "code-needed"
    advice = "ask for a one-time code with `request_code`, and give it"


class WrongAccount(VardeError):
    """Somebody signed in, but not to the account that the device of this home folder belongs to."""

    code = "wrong-account"
    advice = "use the e-mail address of this device's account, or an empty folder for another account"


class RootKeyChanged(VardeError):
    """An account shows a root key that the one before does not vouch for: nothing is sent to it, nothing believed."""

    code = "root-key-changed"
    advice = "ask the person over another way; until you know why, treat the server as hostile"


class UntrustedDevice(VardeError):
    """The server names a device, a key or a member that the accounts' own device lists do not prove."""

    code = "untrusted-device"
    advice = "nothing was sent; if it goes on, treat the server as hostile"


class ListRollback(VardeError):
    """The server shows an account's device list that is older than one seen before, or another of the same number."""

    code = "list-rollback"
    advice = "nothing was sent; if it goes on, treat the server as hostile"


class UnprovenList(VardeError):
    """A device list is not in the transparency log, or the log does not prove it: nothing is encrypted for it."""

    code = "unproven-list"
    advice = "try again in a minute; if it goes on, treat the server as hostile"


class LogForked(VardeError):
    """The server has signed two histories of its transparency log. Both are kept, as proof."""

    code = "log-forked"
    advice = "treat the server as hostile until its operator has said why; see docs/transparency.md"


class NotAccepted(VardeError):
    """The other one of a dm has declined or left it: nobody is there to write to."""

    code = "not-accepted"
    advice = "open it again, which asks once more"


class UpdateNeeded(VardeError):
    """A member changed who is in the conversation in a way that this version does not know: it may mean to keep out."""

    code = "update-needed"
    advice = "install a newer version"


class TooLarge(VardeError):
    """The text does not fit one message."""

    code = RefusalCode.TOO_LARGE.value
    advice = "split it, or send it as media"


class Unreachable(VardeError):
    """The server did not answer in time, or not in a way that can be understood."""

    code = "unreachable"
    advice = "check the connection and try again"


class Ended(VardeError):
    """This client came to its end, or was closed while somebody still waited on it."""

    code = "ended"
    advice = "connect again"


class DeviceRevoked(Ended):
    """This device was revoked by its account."""

    code = "revoked"
    advice = "enrol again as a new device, in a new folder"


class Replaced(Ended):
    """The same device connected from somewhere else."""

    code = "replaced"
    advice = "use one program per home folder, and never a copy of one"


class ConnectionRefused(Ended):
    """The relay closed the connection with a code that says not to come back unchanged."""

    def __init__(self, closing: CloseCode) -> None:
        super().__init__(f"the relay closed: {closing.label}", code=closing.label)
        self.advice = MEANINGS[closing].reader_should
        self.closing = closing


class Refusal(VardeError):
    """The server said no. `retry_after_ms` says when it may say yes, `stale` which devices were wrong."""

    def __init__(
        self,
        code: RefusalCode,
        detail: str,
        *,
        retry_after_ms: int | None = None,
        stale: StaleDevices | None = None,
    ) -> None:
        super().__init__(f"{code.value}: {detail}", code=code.value, advice=detail)
        self.refusal = code
        self.retry_after_ms = retry_after_ms
        self.stale = stale

    _KINDS: ClassVar[dict[RefusalCode, "type[Refusal]"]] = {}

    @classmethod
    def of(
        cls, code: RefusalCode, detail: str, *, retry_after_ms: int | None = None, stale: StaleDevices | None = None
    ) -> "Refusal":
        """Return the refusal as the subclass its code belongs to."""
        kind = cls._KINDS.get(code, Refusal)
        return kind(code, detail, retry_after_ms=retry_after_ms, stale=stale)


class SignedOut(Refusal):
    """The session of this device is over; the device is not. `code` is `unauthenticated` or `token-expired`."""

    def __init__(
        self,
        code: RefusalCode,
        detail: str,
        *,
        retry_after_ms: int | None = None,
        stale: StaleDevices | None = None,
        advice: str = "come back as this device with `varde.sign_in_again`, on the command line with `varde login`",
    ) -> None:
        super().__init__(code, detail, retry_after_ms=retry_after_ms, stale=stale)
        self.advice = advice


class CodeRefused(Refusal):
    """The one-time code is wrong, too old or used up."""


class NotAllowed(Refusal):
    """This account, profile or device may not do that."""


class NotFound(Refusal):
    """There is no such thing, or none that this account may know of."""


class Busy(Refusal):
    """Too much at once, or the server cannot now: try again after `retry_after_ms`."""


Refusal._KINDS.update(  # noqa: SLF001 - the table needs the classes, which need the class
    {
        RefusalCode.UNAUTHENTICATED: SignedOut,
        RefusalCode.TOKEN_EXPIRED: SignedOut,
        RefusalCode.CODE_WRONG: CodeRefused,
        RefusalCode.CODE_EXPIRED: CodeRefused,
        RefusalCode.CODE_EXHAUSTED: CodeRefused,
        RefusalCode.NOT_ALLOWED: NotAllowed,
        RefusalCode.PROFILE_NOT_ALLOWED: NotAllowed,
        RefusalCode.NO_DEVICE: NotAllowed,
        RefusalCode.NOT_FOUND: NotFound,
        RefusalCode.CLAIM_LIMIT: Busy,
        RefusalCode.RATE_LIMITED: Busy,
        RefusalCode.UNAVAILABLE: Busy,
        RefusalCode.OVERLOADED: Busy,
    }
)
