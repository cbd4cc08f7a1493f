"""Coming back: a device whose session ended is the same device again, whatever happens in between."""

from itertools import count
from pathlib import Path

import pytest
from trio.testing import MockClock

import varde
from tests.varde.crash_points import crash_at, is_crash
from tests.varde.fake_api import CODE, URL, Call, FakeApi, device_of
from varde import reauthentication
from varde.clock import fresh_id
from varde.rest import SESSION
from varde.store.store import open_store
from varde_contract.ids import AccountId, DeviceId

EMAIL = "alice@example.org"


def key(home: Path) -> varde.KeyFile:
    """What opens a home."""
    return varde.KeyFile(home / "key")


async def signed_out(api: FakeApi, home: Path) -> varde.Enrolled:
    """Alice's device, whose session was ended at the server."""
    done = await varde.sign_up(home, key(home), api_url=URL, email=EMAIL, code=CODE, transport=api.transport)
    api.sessions.clear()
    api.calls.clear()
    api.code = CODE
    return done


async def come_back(api: FakeApi, home: Path, code: str = CODE) -> varde.Identity:
    """Sign alice's device in again."""
    return await varde.sign_in_again(home, key(home), email=EMAIL, code=code, transport=api.transport)


async def assert_back(api: FakeApi, home: Path, device: DeviceId) -> None:
    """It is one device with one session, and calls the API as such."""
    assert device_of(api) == device
    bound = api.bound[device]
    assert [tokens.session for tokens in api.sessions.values()] == [bound]
    async with varde.connect(home, key(home), transport=api.transport) as client:
        (mine,) = await client.devices()
    assert (mine.device, mine.current) == (device, True)


async def test_a_signed_out_device_comes_back(tmp_path: Path) -> None:
    """It is told how, and a code makes it the device it was: same keys, same prekeys, and nothing else is asked for."""
    api = FakeApi()
    done = await signed_out(api, tmp_path)
    prekeys = [*api.uploads.values()]
    async with varde.connect(tmp_path, key(tmp_path), transport=api.transport) as client:
        with pytest.raises(varde.SignedOut) as caught:
            await client.devices()
    assert "varde.sign_in_again" in caught.value.advice
    assert "varde login" in caught.value.advice
    api.calls.clear()
    assert await come_back(api, tmp_path) == varde.Identity(done.account, done.device, done.profiles)
    assert [call[:2] for call in api.calls] == [
        ("POST", "/v1/auth/session"),
        ("PUT", f"/v1/devices/{done.device}/session"),
    ]
    assert [*api.uploads.values()] == prekeys
    await assert_back(api, tmp_path, done.device)


async def test_a_session_that_is_alive_is_replaced(tmp_path: Path) -> None:
    """Signing in again without need harms nothing: the device has one session, the new one."""
    api = FakeApi()
    done = await varde.sign_up(tmp_path, key(tmp_path), api_url=URL, email=EMAIL, code=CODE, transport=api.transport)
    before = api.bound[done.device]
    api.code = CODE
    await come_back(api, tmp_path)
    await assert_back(api, tmp_path, done.device)
    assert api.bound[done.device] != before


async def test_another_account_is_refused(tmp_path: Path) -> None:
    """Another account is said to be one, no session of it is left, and the device can still come back."""
    api = FakeApi()
    done = await signed_out(api, tmp_path)
    mine, api.account = api.account, AccountId(fresh_id())
    with pytest.raises(varde.WrongAccount) as caught:
        await come_back(api, tmp_path)
    assert caught.value.advice
    assert not api.sessions
    assert [call.method for call in api.calls] == ["POST", "DELETE"]
    api.account, api.code = mine, CODE
    await come_back(api, tmp_path)
    await assert_back(api, tmp_path, done.device)


async def test_a_revoked_device_does_not_come_back(tmp_path: Path) -> None:
    """It is told that it was revoked and what to do, and leaves no session behind."""
    api = FakeApi()
    await signed_out(api, tmp_path)
    api.lists.clear()
    with pytest.raises(varde.DeviceRevoked) as caught:
        await come_back(api, tmp_path)
    assert "new folder" in caught.value.advice
    assert not api.sessions


async def test_a_device_that_logged_out_needs_no_code_to_learn_that(tmp_path: Path) -> None:
    """A log-out was for ever: its folder says so without asking anybody."""
    api = FakeApi()
    await signed_out(api, tmp_path)
    async with open_store(tmp_path, key(tmp_path)) as store:
        with store.transaction():
            store.settings.remove(SESSION)
    for attempt in (come_back(api, tmp_path), varde.find_device(tmp_path, key(tmp_path))):
        with pytest.raises(varde.DeviceRevoked):
            await attempt
    assert not api.calls


async def test_a_wrong_code_changes_nothing(tmp_path: Path) -> None:
    """A refused code is a `CodeRefused`, and the right one works after it."""
    api = FakeApi()
    done = await signed_out(api, tmp_path)
    with pytest.raises(varde.CodeRefused):
        await come_back(api, tmp_path, "999999")
    await come_back(api, tmp_path)
    await assert_back(api, tmp_path, done.device)


async def test_a_folder_says_what_it_holds(tmp_path: Path, autojump_clock: MockClock) -> None:
    """An empty folder and an unfinished enrolment hold no device; a finished one holds it and knows its API."""
    api = FakeApi()
    api.drop = lambda call: call.path == "/v1/prekeys"
    assert await varde.find_device(tmp_path, key(tmp_path)) is None
    with pytest.raises(varde.Unreachable):
        await signed_out(api, tmp_path)
    assert await varde.find_device(tmp_path, key(tmp_path)) is None
    with pytest.raises(varde.NotEnrolled):
        await come_back(api, tmp_path)
    api.drop = lambda _: False
    done = await signed_out(api, tmp_path)
    found = await varde.find_device(tmp_path, key(tmp_path))
    assert found == varde.StoredDevice(varde.Identity(done.account, done.device, done.profiles), URL)


async def test_an_answer_that_was_lost_once_is_asked_for_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The binding of the session is repeated within one call: nobody has to do anything."""
    api = FakeApi()
    done = await signed_out(api, tmp_path)
    lost: list[Call] = []

    def lose(call: Call) -> bool:
        if call.method == "PUT" and not lost:
            lost.append(call)
            return True
        return False

    api.drop = lose
    await come_back(api, tmp_path)
    assert len(lost) == 1
    await assert_back(api, tmp_path, done.device)


@pytest.mark.parametrize("still_good", [True, False])
async def test_an_interrupted_return_goes_on(tmp_path: Path, autojump_clock: MockClock, *, still_good: bool) -> None:
    """The session that was made is used without another code; where it has ended meanwhile, the code opens another."""
    api = FakeApi()
    done = await signed_out(api, tmp_path)
    api.drop = lambda call: call.method == "PUT"
    with pytest.raises(varde.Unreachable):
        await come_back(api, tmp_path)
    api.drop = lambda _: False
    if not still_good:
        api.sessions.clear()
        api.code = CODE
    api.calls.clear()
    await come_back(api, tmp_path)
    assert (("POST", "/v1/auth/session") in [call[:2] for call in api.calls]) is not still_good
    await assert_back(api, tmp_path, done.device)


async def test_a_return_killed_anywhere_goes_on(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any change of the store, signing in again ends with the one device in its one session."""
    for point in count():
        api, home = FakeApi(), scratch / str(point)
        done = await signed_out(api, home)
        monkeypatch.setattr(reauthentication, "open_store", _crashing_store(point))
        try:
            await come_back(api, home)
        except BaseException as fault:
            if not is_crash(fault):
                raise
        else:
            assert point > 3
            return
        monkeypatch.setattr(reauthentication, "open_store", open_store)
        api.code = api.code or CODE
        await come_back(api, home)
        assert device_of(api) == done.device
        async with varde.connect(home, key(home), transport=api.transport) as client:
            assert len(await client.devices()) == 1


def _crashing_store(point: int) -> object:
    return lambda home, unlock: open_store(home, unlock, connect=crash_at(point))
