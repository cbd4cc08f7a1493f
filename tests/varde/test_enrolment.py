"""Enrolment: a home folder becomes a device, whatever happens in between."""

from itertools import count
from pathlib import Path

import pytest
from trio.testing import MockClock

import varde
from tests.varde.crash_points import crash_at, is_crash
from tests.varde.fake_api import CODE, URL, Call, FakeApi, device_of
from varde import enrolment
from varde.crypto.root_key import new_phrase, root_key_of
from varde.crypto.trust import check_signature
from varde.device import PHRASE
from varde.store.store import open_store
from varde_contract.signed_statements import fallback_key_statement, one_time_key_statement

EMAIL = "alice@example.org"


async def sign_up(api: FakeApi, home: Path, **changes: object) -> varde.Enrolled:
    """Sign alice up."""
    asked = {"api_url": URL, "email": EMAIL, "code": CODE, "transport": api.transport} | changes
    return await varde.sign_up(home, varde.KeyFile(home / "key"), **asked)  # type: ignore[arg-type] # keywords by name


async def log_in(api: FakeApi, home: Path, phrase: str) -> varde.Enrolled:
    """Log a further device of alice in."""
    api.code = CODE
    return await varde.log_in(
        home,
        varde.KeyFile(home / "key"),
        api_url=URL,
        email=EMAIL,
        code=CODE,
        recovery_phrase=phrase,
        transport=api.transport,
    )


def assert_enrolled(api: FakeApi, done: varde.Enrolled) -> None:
    """The account's list holds the device, under the root key of the phrase, with prekeys vouched for by the device."""
    assert done.recovery_phrase is not None
    newest = api.newest
    assert newest is not None
    assert newest.root_key == root_key_of(done.recovery_phrase).public_key().public_bytes_raw()
    listed, session = newest.find(done.device), api.bound[done.device]
    assert listed is not None
    for upload in api.uploads[session]:
        for each in upload.one_time_keys:
            statement = one_time_key_statement(done.device, each.key, each.kem_key)
            check_signature(listed.signing_key, statement, each.signature)
        if upload.fallback_key is not None:
            last = upload.fallback_key
            statement = fallback_key_statement(done.device, last.key, last.kem_key)
            check_signature(listed.signing_key, statement, last.signature)
    assert api.count(session).one_time_keys >= 50
    assert api.count(session).has_fallback


async def test_signing_up_makes_a_device(tmp_path: Path) -> None:
    """Account, root key, profiles, device and prekeys are there, and the phrase is given to the person."""
    api = FakeApi()
    done = await sign_up(api, tmp_path, profile_types=("PRIVAT", "JOBB"))
    assert_enrolled(api, done)
    assert [profile.type for profile in done.profiles] == ["PRIVAT", "JOBB"]
    assert len(api.listed[0].profiles) == 2
    assert str(done.recovery_phrase) not in repr(done)


async def test_a_code_is_asked_for() -> None:
    """`request_code` is one call, without a token."""
    api = FakeApi()
    assert (await varde.request_code(URL, EMAIL, transport=api.transport)).expires_in_s == 600
    assert api.calls == [Call("POST", "/v1/auth/codes", None)]


async def test_the_phrase_is_shown_until_the_first_connect(tmp_path: Path) -> None:
    """Whoever did not see it sees it again; after the first connect the store has forgotten it."""
    api = FakeApi()
    done = await sign_up(api, tmp_path)
    assert await sign_up(api, tmp_path) == done
    async with varde.connect(tmp_path, varde.KeyFile(tmp_path / "key"), transport=api.transport) as client:
        assert (client.identity.account, client.identity.device, client.identity.profiles) == (
            done.account,
            done.device,
            done.profiles,
        )
    with pytest.raises(varde.AlreadyEnrolled):
        await sign_up(api, tmp_path)
    async with open_store(tmp_path, varde.KeyFile(tmp_path / "key")) as store:
        assert store.settings.find(PHRASE, str) is None


async def test_a_further_device_needs_the_phrase(tmp_path: Path) -> None:
    """With the 24 words a second folder becomes a device of the same account, under the same root key."""
    api = FakeApi()
    done = await sign_up(api, tmp_path / "laptop")
    assert done.recovery_phrase is not None
    second = await log_in(api, tmp_path / "phone", done.recovery_phrase)
    assert (second.account, second.profiles) == (done.account, done.profiles)
    assert second.device != done.device
    assert_enrolled(api, second)


async def test_another_phrase_is_refused(tmp_path: Path) -> None:
    """The phrase of another account registers nothing."""
    api = FakeApi()
    await sign_up(api, tmp_path / "laptop")
    with pytest.raises(varde.WrongPhrase):
        await log_in(api, tmp_path / "phone", new_phrase())
    device_of(api)


async def test_an_account_is_not_signed_up_twice(tmp_path: Path) -> None:
    """A second sign-up of an account that has a root key says to log in instead."""
    api = FakeApi()
    await sign_up(api, tmp_path / "laptop")
    api.code = CODE
    with pytest.raises(varde.VardeError) as caught:
        await sign_up(api, tmp_path / "phone")
    assert caught.value.code == "account-exists"
    device_of(api)


async def test_a_wrong_code_is_said_to_be_one(tmp_path: Path) -> None:
    """A refused code is a `CodeRefused` with its word, and the folder can be used again."""
    api = FakeApi()
    with pytest.raises(varde.CodeRefused) as caught:
        await sign_up(api, tmp_path, code="999999")
    assert caught.value.code == "code-wrong"
    assert_enrolled(api, await sign_up(api, tmp_path))


async def test_another_address_starts_over(tmp_path: Path, autojump_clock: MockClock) -> None:
    """An interrupted sign-up of one address is not continued for another."""
    one, other = FakeApi(), FakeApi()
    one.drop = lambda call: call.path == "/v1/prekeys"
    with pytest.raises(varde.Unreachable):
        await sign_up(one, tmp_path)
    done = await sign_up(other, tmp_path, email="bob@example.org")
    assert done.account == other.account
    assert_enrolled(other, done)


@pytest.mark.parametrize("url", ["http://api.example.org", "ftp://127.0.0.1", "api.example.org", "http://127.evil.org"])
async def test_secrets_do_not_travel_in_the_clear(tmp_path: Path, url: str) -> None:
    """An API that is neither https nor on this machine is refused before anything is said to it."""
    api = FakeApi()
    with pytest.raises(varde.VardeError) as caught:
        await sign_up(api, tmp_path, api_url=url)
    assert caught.value.code == "bad-url"
    assert not api.calls


async def test_any_answer_may_be_lost(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Whichever answer does not come, signing up again goes on and ends with one device and one root key."""
    for lost in count():
        api, home = FakeApi(), tmp_path / str(lost)
        seen = count()
        api.drop = lambda _, seen=seen, lost=lost: lost <= next(seen) < lost + 3  # type: ignore[misc] # bound here
        try:
            await sign_up(api, home)
        except varde.Unreachable:
            api.drop = lambda _: False
            api.code = api.code or CODE  # a code whose answer was lost is spent: the person asks for another
        else:
            assert lost > 5
            return
        assert_enrolled(api, await sign_up(api, home))
        device_of(api)


async def test_enrolment_killed_anywhere_goes_on(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any change of the store, signing up again ends with one device, and the phrase that was made first."""
    for point in count():
        api, home = FakeApi(), scratch / str(point)
        monkeypatch.setattr(enrolment, "open_store", _crashing_store(point))
        try:
            await sign_up(api, home)
        except BaseException as fault:
            if not is_crash(fault):
                raise
        else:
            assert point > 10
            return
        monkeypatch.setattr(enrolment, "open_store", open_store)
        api.code = api.code or CODE
        assert_enrolled(api, await sign_up(api, home))
        device_of(api)


def _crashing_store(point: int) -> object:
    return lambda home, unlock, make: open_store(home, unlock, make=make, connect=crash_at(point))
