"""Enrolment: how a home folder becomes a device, of a new account or of one with a recovery phrase."""

import os
from collections.abc import Sequence
from pathlib import Path

import httpx
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from varde import rest as calls
from varde.backoff import Backoff
from varde.clock import now_ms
from varde.crypto.pairwise import load_account
from varde.crypto.root_key import new_phrase, root_key_of
from varde.crypto.trust import Trust
from varde.device import (
    API_URL,
    DEVICE,
    IDENTITY,
    PHRASE,
    PHRASE_KEPT,
    DeviceKeys,
    load_api_url,
    open_device,
    profile_of,
)
from varde.errors import (
    AlreadyEnrolled,
    Busy,
    CodeNeeded,
    NotEnrolled,
    NotListed,
    SignedOut,
    Unreachable,
    VardeError,
    WrongPhrase,
)
from varde.http import Http, check_url
from varde.identity import Enrolled, Identity
from varde.list_codes import DeviceCode, encode_code
from varde.lost_records import LostRecords
from varde.own_list import OwnList
from varde.prekeys import fill_prekeys
from varde.rest import SESSION, AccessTokens, Rest
from varde.store import Store, Unlock, open_store
from varde.store.people import PinnedProfile
from varde_contract.device_list import CLOCK_SKEW_MS, SALT_BYTES, DeviceList
from varde_contract.people import ProfileType
from varde_contract.rest.people import CodeSent, NewProfile, ProfileView, SessionTokens
from varde_contract.signed_statements import session_statement

ENROLLING = "enrolling"
"""The setting that holds API and address of an enrolment until it is finished."""
REQUEST = "device-request"
"""The setting that holds what a manager was asked for."""
POLL_SECONDS = 2.0


async def request_code(
    api_url: str, email: str, *, allow_plaintext: bool = False, transport: httpx.AsyncBaseTransport | None = None
) -> CodeSent:
    """Ask for a one-time code by e-mail. The answer is the same whether or not there is an account.

    `allow_plaintext` permits an http:// URL that is not of this machine: codes and tokens then travel in the clear.
    """
    api_url = check_url(api_url, allow_plaintext=allow_plaintext)
    async with Http(api_url, transport=transport) as http:
        return await calls.request_code(http, email)


async def sign_up(  # noqa: PLR0913 - all that a person decides at once
    home: Path | str,
    unlock: Unlock,
    *,
    api_url: str,
    email: str,
    code: str | None,
    profile_types: Sequence[str] = (ProfileType.PRIVAT,),
    keep_phrase: bool = False,
    allow_plaintext: bool = False,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Enrolled:
    """Make an account with its root key and profiles, and this folder its first device.

    Called again after a crash it goes on; called again before the first connect it returns the same once more, and with
    `keep_phrase` until `forget_phrase` says that the person has the phrase on paper. Without a code it goes on with
    what an earlier run has. Raises CodeNeeded where that is nothing, CodeRefused, AlreadyEnrolled, Refusal,
    Unreachable, and what `open_store` raises.
    """
    api_url = check_url(api_url, allow_plaintext=allow_plaintext)
    types = tuple(ProfileType(word) for word in profile_types)
    async with open_store(Path(home), unlock, make=True) as store, Http(api_url, transport=transport) as http:
        done = _finished(store)
        if done is not None:
            return done
        enrolment = Enrolment(store, http)
        await enrolment.sign_in(api_url, email, code)
        if keep_phrase:
            with store.transaction():
                store.settings.put(PHRASE_KEPT, True)
        root = await enrolment.make_root_key()
        profiles = await enrolment.make_profiles(types)
        await enrolment.list_device(root, profiles)
        return await enrolment.finish(profiles)


async def log_in(
    home: Path | str,
    unlock: Unlock,
    *,
    api_url: str,
    email: str,
    code: str | None,
    recovery_phrase: str,
    allow_plaintext: bool = False,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Enrolled:
    """Make this folder a further device of an account. Raises WrongPhrase, and what `sign_up` raises.

    Without a code it goes on with what an earlier run has.
    """
    api_url = check_url(api_url, allow_plaintext=allow_plaintext)
    root = root_key_of(recovery_phrase)
    async with open_store(Path(home), unlock, make=True) as store, Http(api_url, transport=transport) as http:
        done = _finished(store)
        if done is not None:
            return done
        enrolment = Enrolment(store, http)
        await enrolment.sign_in(api_url, email, code)
        await enrolment.check_root_key(root, recovery_phrase)
        profiles = await enrolment.make_profiles(())
        await enrolment.list_device(root, profiles)
        return await enrolment.finish(profiles)


async def forget_phrase(home: Path | str, unlock: Unlock) -> None:
    """Forget the recovery phrase that `sign_up` has kept: from here on it exists on paper only."""
    async with open_store(Path(home), unlock) as store:
        with store.transaction():
            store.settings.remove(PHRASE)
            store.settings.remove(PHRASE_KEPT)


async def request_device(
    home: Path | str,
    unlock: Unlock,
    *,
    api_url: str,
    email: str,
    code: str,
    allow_plaintext: bool = False,
    transport: httpx.AsyncBaseTransport | None = None,
) -> str:
    """Let this folder ask to be a further device of an account, without its recovery phrase; return a code.

    A manager of the account takes the code (`OwnList.add`) within the hour, and `complete_device` waits for that.
    Called again it gives another code, and needs no one-time code as long as its session lives. Raises what
    `sign_up` raises.
    """
    api_url = check_url(api_url, allow_plaintext=allow_plaintext)
    async with open_store(Path(home), unlock, make=True) as store, Http(api_url, transport=transport) as http:
        if store.settings.find(IDENTITY, Identity) is not None:
            raise AlreadyEnrolled("this home folder already holds a device")
        enrolment = Enrolment(store, http)
        await enrolment.sign_in(api_url, email, code)
        return await enrolment.request(await enrolment.make_profiles(()))


async def complete_device(
    home: Path | str, unlock: Unlock, *, transport: httpx.AsyncBaseTransport | None = None
) -> Enrolled:
    """Wait until a manager has added the device that asked, and make it one. The caller sets a deadline.

    Raises NotListed once the code is void, NotEnrolled where nothing was asked, SignedOut, Refusal, UntrustedDevice.
    """
    async with open_store(Path(home), unlock) as store:
        identity = store.settings.find(IDENTITY, Identity)
        if identity is not None:
            return Enrolled(identity.account, identity.device, identity.profiles, None)
        asked = store.settings.find(REQUEST, DeviceCode)
        if asked is None:
            raise NotEnrolled("this folder has not asked to be a device")
        async with Http(load_api_url(store), transport=transport) as http:
            enrolment = Enrolment(store, http)
            await enrolment.wait_listed(asked)
            return await enrolment.finish(await enrolment.make_profiles(()))


def _finished(store: Store) -> Enrolled | None:
    identity, phrase = store.settings.find(IDENTITY, Identity), store.settings.find(PHRASE, str)
    if identity is not None and phrase is None:
        raise AlreadyEnrolled("this home folder already holds a device")
    return None if identity is None else Enrolled(identity.account, identity.device, identity.profiles, phrase)


class Enrolment:
    """The steps over one store. Called again after a crash, each goes on where it was."""

    def __init__(self, store: Store, http: Http) -> None:
        self._store = store
        self._http = http
        self._access = AccessTokens(store, http)
        self._rest = Rest(http, self._access)

    async def sign_in(self, api_url: str, email: str, code: str | None) -> None:
        """Use the session that an earlier, interrupted run got, or trade the code for one. Raises CodeNeeded."""
        whose = (api_url, email)
        if self._store.settings.find(ENROLLING, tuple[str, str]) == whose and await self._is_signed_in():
            return
        if code is None:
            raise CodeNeeded("there is no session to go on with")
        tokens = await calls.sign_in(self._http, email, code)
        known = self._store.settings.find(SESSION, SessionTokens)
        with self._store.transaction():
            if known is not None and known.account != tokens.account:
                # What an interrupted run made for somebody else is of no use here.
                self._store.settings.remove(DEVICE)
                self._store.settings.remove(PHRASE)
                self._store.settings.remove(REQUEST)
            self._store.settings.put(ENROLLING, whose)
            self._store.settings.put(API_URL, api_url)
            self._store.settings.put(SESSION, tokens)

    async def _is_signed_in(self) -> bool:
        try:
            await self._rest.account()
        except SignedOut:
            return False  # the session is gone; the code opens another
        return True

    async def make_root_key(self) -> Ed25519PrivateKey:
        """Make the phrase, unless an interrupted run did; what stands in the account's list already must be its own."""
        phrase = self._store.settings.find(PHRASE, str)
        if phrase is None:
            phrase = new_phrase()
            with self._store.transaction():
                self._store.settings.put(PHRASE, phrase)
        root = root_key_of(phrase)
        newest = await self._newest()
        if newest is not None and newest.root_key != root.public_key().public_bytes_raw():
            raise VardeError(
                "this account exists already", code="account-exists", advice="log in with its recovery phrase"
            )
        return root

    async def check_root_key(self, root: Ed25519PrivateKey, phrase: str) -> None:
        """Compare the phrase with the account before anything is signed with it."""
        newest = await self._newest()
        if newest is None:
            raise _no_root_key()
        # One that was announced signs after its time, and is the account's then.
        announced = None if newest.pending_root is None else newest.pending_root.root_key
        if root.public_key().public_bytes_raw() not in {newest.root_key, announced}:
            raise WrongPhrase("this recovery phrase belongs to another account")
        with self._store.transaction():
            self._store.settings.put(PHRASE, phrase)

    async def _newest(self) -> DeviceList | None:
        own = self._own_list()
        await own.refresh()
        return own.newest()

    def _own_list(self) -> OwnList:
        own = self._keys().own
        # Nothing of this device is numbered in any conversation yet.
        lost = LostRecords(self._store, self._rest, own.account, lambda _: None)
        return OwnList(self._store, self._rest, own, lost)

    def _keys(self) -> DeviceKeys:
        return open_device(self._store, self._access.tokens().account)

    async def make_profiles(self, types: Sequence[ProfileType]) -> Sequence[ProfileView]:
        """Make the profiles that are missing and return all."""
        there = list((await self._rest.profiles()).profiles)
        for kind in types:
            if kind not in {profile.type for profile in there}:
                there.append(await self._rest.make_profile(NewProfile(kind, os.urandom(SALT_BYTES))))
        return there

    async def list_device(self, root: Ed25519PrivateKey, profiles: Sequence[ProfileView]) -> None:
        """Put the device into the account's list, as a manager."""
        keys = self._keys()
        listed = keys.listed(load_account(self._store), profiles, manager=True)
        # An earlier run may have put it, and its answer never came: then this changes nothing.
        await self._own_list().change(
            lambda others: [*(each for each in others if each.device != keys.device), listed], root
        )

    async def request(self, profiles: Sequence[ProfileView]) -> str:
        """Sign a list with the device in it, for a manager to sign as well. It is no manager: that is a second step."""
        before = await self._newest()
        if before is None:
            raise _no_root_key()
        keys = self._keys()  # before the Olm account is loaded: it makes both where there are none
        olm = load_account(self._store)
        listed = keys.listed(olm, profiles, manager=False)
        code = DeviceCode.ask(before, listed, olm.sign, now_ms())
        with self._store.transaction():
            self._store.settings.put(REQUEST, code)
        return encode_code(code)

    async def wait_listed(self, asked: DeviceCode) -> None:
        """Return once the device that asked is in the account's list. Raises NotListed where it cannot come there."""
        backoff = Backoff()
        while True:
            pause = POLL_SECONDS  # a device that is in no list has no connection over which it could be told
            try:
                if await self._is_listed(asked):
                    return
            except (Unreachable, Busy):
                pause = backoff.next()
            await trio.sleep(pause)

    async def _is_listed(self, asked: DeviceCode) -> bool:
        newest = await self._newest()
        if newest is not None and newest.find(asked.device.device) is not None:
            return True
        if newest is None or newest.number >= asked.number or now_ms() > asked.issued_ms + CLOCK_SKEW_MS:
            raise NotListed("another change of the account's devices came first, or an hour is over")
        return False

    async def finish(self, profiles: Sequence[ProfileView]) -> Enrolled:
        """Bind the session to the device, which is in the account's list, upload prekeys, and call it enrolled."""
        keys = self._keys()
        olm = load_account(self._store)
        proof = olm.sign(session_statement(self._access.tokens().session, keys.device))
        await self._access.use(lambda token: calls.adopt_device(self._http, token, keys.device, proof))
        await fill_prekeys(self._store, self._rest, keys.device)
        identity = Identity(keys.account, keys.device, tuple(profile_of(profile) for profile in profiles))
        with self._store.transaction():
            trust = Trust(self._store, identity.account)
            for profile in profiles:
                trust.pin_profile(profile.profile, PinnedProfile(identity.account, profile.salt))
            # Only here, with the rest: without an identity, a further run goes on where this one was.
            self._store.settings.put(IDENTITY, identity)
            self._store.settings.remove(ENROLLING)
            self._store.settings.remove(REQUEST)
        return Enrolled(identity.account, identity.device, identity.profiles, self._store.settings.find(PHRASE, str))


def _no_root_key() -> VardeError:
    return VardeError("this account has no root key yet", code="no-root-key", advice="sign up")
