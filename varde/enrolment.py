"""Enrolment: how a home folder becomes a device, of a new account or of one with a recovery phrase."""

from collections.abc import Sequence
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from varde import rest as calls
from varde.crypto.certificates import Trust
from varde.crypto.root_key import new_phrase, root_key_of
from varde.device import API_URL, DEVICE, IDENTITY, PHRASE, DeviceKeys, open_device, profile_of
from varde.errors import AlreadyEnrolled, Refusal, SignedOut, VardeError, WrongPhrase
from varde.http import Http, check_url
from varde.identity import Enrolled, Identity
from varde.prekeys import fill_prekeys
from varde.rest import SESSION, AccessTokens, Rest
from varde.store import Store, Unlock, open_store
from varde_contract.people import ProfileType
from varde_contract.refusals import RefusalCode
from varde_contract.rest.people import CodeSent, NewProfile, ProfileView, SessionTokens

ENROLLING = "enrolling"
"""The setting that holds API and address of an enrolment until it is finished."""


async def request_code(
    api_url: str, email: str, *, allow_plaintext: bool = False, transport: httpx.AsyncBaseTransport | None = None
) -> CodeSent:
    """Ask for a one-time code by e-mail. The answer is the same whether or not there is an account.

    `allow_plaintext` permits an http:// URL that is not of this machine: codes and tokens then travel in the clear.
    """
    check_url(api_url, allow_plaintext=allow_plaintext)
    async with Http(api_url, transport=transport) as http:
        return await calls.request_code(http, email)


async def sign_up(
    home: Path | str,
    unlock: Unlock,
    *,
    api_url: str,
    email: str,
    code: str,
    profile_types: Sequence[str] = (ProfileType.PRIVAT,),
    allow_plaintext: bool = False,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Enrolled:
    """Make an account with its root key and profiles, and this folder its first device.

    Called again after a crash it goes on; called again before the first connect it returns the same once more.
    Raises CodeRefused, AlreadyEnrolled, Refusal, Unreachable, and what `open_store` raises.
    """
    check_url(api_url, allow_plaintext=allow_plaintext)
    types = tuple(ProfileType(word) for word in profile_types)
    async with open_store(Path(home), unlock, make=True) as store, Http(api_url, transport=transport) as http:
        done = _finished(store)
        if done is not None:
            return done
        enrolment = _Enrolment(store, http)
        await enrolment.sign_in(api_url, email, code)
        root = await enrolment.set_root_key()
        return await enrolment.finish(root, await enrolment.make_profiles(types))


async def log_in(
    home: Path | str,
    unlock: Unlock,
    *,
    api_url: str,
    email: str,
    code: str,
    recovery_phrase: str,
    allow_plaintext: bool = False,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Enrolled:
    """Make this folder a further device of an account. Raises WrongPhrase, and what `sign_up` raises."""
    check_url(api_url, allow_plaintext=allow_plaintext)
    root = root_key_of(recovery_phrase)
    async with open_store(Path(home), unlock, make=True) as store, Http(api_url, transport=transport) as http:
        done = _finished(store)
        if done is not None:
            return done
        enrolment = _Enrolment(store, http)
        await enrolment.sign_in(api_url, email, code)
        await enrolment.check_root_key(root, recovery_phrase)
        return await enrolment.finish(root, await enrolment.make_profiles(()))


def _finished(store: Store) -> Enrolled | None:
    identity, phrase = store.settings.find(IDENTITY, Identity), store.settings.find(PHRASE, str)
    if identity is not None and phrase is None:
        raise AlreadyEnrolled("this home folder already holds a device")
    return None if identity is None else Enrolled(identity.account, identity.device, identity.profiles, phrase)


class _Enrolment:
    """The steps over one store."""

    def __init__(self, store: Store, http: Http) -> None:
        self._store = store
        self._http = http
        self._access = AccessTokens(store, http)
        self._rest = Rest(http, self._access)

    async def sign_in(self, api_url: str, email: str, code: str) -> None:
        """Use the session that an earlier, interrupted run got, or trade the code for one."""
        whose = (api_url, email)
        if self._store.settings.find(ENROLLING, tuple[str, str]) == whose and await self._is_signed_in():
            return
        tokens = await calls.sign_in(self._http, email, code)
        known = self._store.settings.find(SESSION, SessionTokens)
        with self._store.transaction():
            if known is not None and known.account != tokens.account:
                # What an interrupted run made for somebody else is of no use here.
                self._store.settings.remove(DEVICE)
                self._store.settings.remove(PHRASE)
            self._store.settings.put(ENROLLING, whose)
            self._store.settings.put(API_URL, api_url)
            self._store.settings.put(SESSION, tokens)

    async def _is_signed_in(self) -> bool:
        try:
            await self._rest.account()
        except SignedOut:
            return False  # the session is gone; the code opens another
        return True

    async def set_root_key(self) -> Ed25519PrivateKey:
        """Make the phrase and give its public key to the account."""
        phrase = self._store.settings.find(PHRASE, str)
        if phrase is None:
            phrase = new_phrase()
            with self._store.transaction():
                self._store.settings.put(PHRASE, phrase)
        root = root_key_of(phrase)
        try:
            await self._rest.set_root_key(root.public_key().public_bytes_raw())
        except Refusal as refusal:
            if refusal.refusal is not RefusalCode.ROOT_KEY_SET:
                raise
            raise VardeError(
                "this account exists already", code="account-exists", advice="log in with its recovery phrase"
            ) from None
        return root

    async def check_root_key(self, root: Ed25519PrivateKey, phrase: str) -> None:
        """Compare the phrase with the account before anything is signed with it."""
        shown = (await self._rest.account()).root_key
        if shown is None:
            raise VardeError("this account has no root key yet", code="no-root-key", advice="sign up")
        if shown != root.public_key().public_bytes_raw():
            raise WrongPhrase("this recovery phrase belongs to another account")
        with self._store.transaction():
            self._store.settings.put(PHRASE, phrase)

    async def make_profiles(self, types: Sequence[ProfileType]) -> Sequence[ProfileView]:
        """Make the profiles that are missing and return all."""
        there = list((await self._rest.profiles()).profiles)
        for kind in types:
            if kind not in {profile.type for profile in there}:
                there.append(await self._rest.make_profile(NewProfile(kind)))
        return there

    async def finish(self, root: Ed25519PrivateKey, profiles: Sequence[ProfileView]) -> Enrolled:
        """Register the device, upload its prekeys, and call it enrolled."""
        keys = open_device(self._store, self._access.tokens().account, root)
        await self._register(keys, profiles)
        await fill_prekeys(self._store, self._rest, keys.own.device)
        identity = Identity(keys.own.account, keys.own.device, tuple(profile_of(profile) for profile in profiles))
        with self._store.transaction():
            Trust(self._store, identity.account).pin_root_key(identity.account, root.public_key().public_bytes_raw())
            self._store.settings.put(IDENTITY, identity)
            self._store.settings.remove(ENROLLING)
        return Enrolled(identity.account, identity.device, identity.profiles, self._store.settings.find(PHRASE, str))

    async def _register(self, keys: DeviceKeys, profiles: Sequence[ProfileView]) -> None:
        try:
            await self._rest.register_device(keys.registration(profiles))
        except Refusal as refusal:
            if refusal.refusal not in (RefusalCode.DEVICE_EXISTS, RefusalCode.SESSION_HAS_DEVICE):
                raise
            # Perhaps this very device, in a run whose answer never came.
            mine = [view.certificate for view in (await self._rest.devices()).devices if view.current]
            if mine != [keys.certificate]:
                raise
