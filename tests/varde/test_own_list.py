"""What managers do alone: they add a device, and replace a root key whose recovery phrase is lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

import varde
from tests.varde.fake_api import CODE, URL, FakeApi
from tests.varde.test_enrolment import EMAIL, log_in, sign_up
from varde.clock import now_ms
from varde.crypto.root_key import new_phrase, root_key_of
from varde.device import load_device
from varde.http import Http
from varde.list_codes import DeviceCode, decode_code, encode_code
from varde.lost_records import LostRecords
from varde.own_list import OwnList
from varde.rest import AccessTokens, Rest
from varde.store.store import open_store
from varde_contract.device_list import ROOT_KEY_DELAY_MS, DeviceList


class Wall:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ms = now_ms()

    def __call__(self) -> int:
        """The time now."""
        return self.ms


@asynccontextmanager
async def own_list(api: FakeApi, home: Path, clock: Wall | None = None) -> AsyncIterator[OwnList]:
    """The account's list, as the device of a home folder has it."""
    async with (
        open_store(home, varde.KeyFile(home / "key")) as store,
        Http(URL, transport=api.transport) as http,
    ):
        keys, _ = load_device(store)
        rest = Rest(http, AccessTokens(store, http))
        lost = LostRecords(store, rest, keys.own.account, lambda _: None)
        yield OwnList(store, rest, keys.own, lost, clock or Wall())


async def request_device(api: FakeApi, home: Path) -> str:
    """A folder asks to be a device."""
    api.code = CODE
    unlock = varde.KeyFile(home / "key")
    return await varde.request_device(home, unlock, api_url=URL, email=EMAIL, code=CODE, transport=api.transport)


async def complete_device(api: FakeApi, home: Path) -> varde.Enrolled:
    """It waits, and becomes one."""
    return await varde.complete_device(home, varde.KeyFile(home / "key"), transport=api.transport)


async def test_a_manager_alone_adds_a_device(tmp_path: Path, autojump_clock: MockClock) -> None:
    """One code, pasted once: the new device waits for it, and has prekeys and a session. It is no manager."""
    api, done = FakeApi(), []
    await sign_up(api, tmp_path / "laptop")
    code = await request_device(api, tmp_path / "phone")
    assert len(code) < 500

    async def wait() -> None:
        done.append(await complete_device(api, tmp_path / "phone"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        async with own_list(api, tmp_path / "laptop") as manager:
            added = await manager.add(f"  {code[:70]}\n{code[70:]}\n")
            assert await manager.add(code) == added, "the first answer may have been lost"
    (enrolled,) = done
    assert enrolled.recovery_phrase is None
    assert added.device == enrolled.device
    assert [each.manager for each in api.listed if each.device == enrolled.device] == [False]
    session = api.bound[enrolled.device]
    assert api.count(session).has_fallback
    assert await complete_device(api, tmp_path / "phone") == enrolled
    with pytest.raises(varde.AlreadyEnrolled):
        await request_device(api, tmp_path / "phone")


async def test_an_account_without_devices_is_signed_up(tmp_path: Path) -> None:
    """Nobody could add a device to it."""
    with pytest.raises(varde.VardeError) as caught:
        await request_device(FakeApi(), tmp_path)
    assert caught.value.code == "no-root-key"


async def test_only_a_manager_adds_a_device(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A device that was added so does not add the next one."""
    api = FakeApi()
    await sign_up(api, tmp_path / "laptop")
    code = await request_device(api, tmp_path / "phone")
    async with own_list(api, tmp_path / "laptop") as manager:
        await manager.add(code)
    await complete_device(api, tmp_path / "phone")
    code = await request_device(api, tmp_path / "tablet")
    async with own_list(api, tmp_path / "phone") as other:
        with pytest.raises(varde.NotAllowed):
            await other.add(code)
    assert len(api.listed) == 2


async def test_a_code_is_good_after_one_list_only(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Another change came first: the manager refuses the code, and the device says that it must ask again."""
    api = FakeApi()
    phrase = await phrase_of(api, tmp_path / "laptop")
    old = await request_device(api, tmp_path / "phone")
    await log_in(api, tmp_path / "desktop", phrase)
    with pytest.raises(varde.NotListed):
        await complete_device(api, tmp_path / "phone")
    async with own_list(api, tmp_path / "laptop") as manager:
        with pytest.raises(varde.UnusableCode):
            await manager.add(old)
        await manager.add(await request_device(api, tmp_path / "phone"))
    await complete_device(api, tmp_path / "phone")


async def test_a_device_that_was_shown_another_history_is_not_added(tmp_path: Path) -> None:
    """The server shows the new device an account of its own making: its signature is over a list that nobody has."""
    api, made_up = FakeApi(), FakeApi()
    await sign_up(api, tmp_path / "laptop")
    await sign_up(made_up, tmp_path / "ghost")
    code = await request_device(made_up, tmp_path / "phone")
    async with own_list(api, tmp_path / "laptop") as manager:
        with pytest.raises(varde.UnusableCode, match="does not continue"):
            await manager.add(code)
    assert len(api.listed) == 1


@pytest.mark.parametrize("text", ["", "no code", "AAAA", "é"])
async def test_what_is_no_code_is_refused(tmp_path: Path, text: str) -> None:
    """Half of one, or anything else that was pasted."""
    api = FakeApi()
    await sign_up(api, tmp_path / "laptop")
    async with own_list(api, tmp_path / "laptop") as manager:
        for take in (manager.add, manager.sign_root_key):
            with pytest.raises(varde.UnusableCode):
                await take(text)


async def test_a_code_adds_no_manager(tmp_path: Path) -> None:
    """Who is tricked into pasting a code gives away no more than what is received from then on."""
    api = FakeApi()
    await sign_up(api, tmp_path / "laptop")
    asked = decode_code(await request_device(api, tmp_path / "phone"), DeviceCode)
    bent = replace(asked, device=replace(asked.device, manager=True))
    async with own_list(api, tmp_path / "laptop") as manager:
        with pytest.raises(varde.UnusableCode, match="more than"):
            await manager.add(encode_code(bent))


async def test_a_lost_phrase_is_replaced_by_the_only_manager(tmp_path: Path) -> None:
    """Announced at once, in force after seven days, and then the old phrase is nobody's."""
    api = FakeApi()
    old = await phrase_of(api, tmp_path / "laptop")
    clock = Wall()
    async with own_list(api, tmp_path / "laptop", clock) as manager:
        announced = await manager.announce_root_key()
        assert (announced.missing, announced.code) == ((), None)
        phrase = announced.recovery_phrase
        assert phrase is not None
        assert phrase not in repr(announced)
        assert newest(api).pending_root is not None
        clock.ms += ROOT_KEY_DELAY_MS - 1
        with pytest.raises(varde.NotAllowed, match="works from"):
            await manager.finish_root_key(phrase)
        clock.ms += 1
        with pytest.raises(varde.WrongPhrase):
            await manager.finish_root_key(new_phrase())
        await manager.finish_root_key(phrase)
        assert newest(api).root_key == public(phrase)
        assert newest(api).pending_root is None
        number = newest(api).number
        await manager.finish_root_key(phrase)
        assert newest(api).number == number, "it is the account's already"
        with pytest.raises(varde.WrongPhrase):
            await manager.finish_root_key(old)


async def test_all_managers_sign_a_new_root_key(tmp_path: Path) -> None:
    """Each adds its signature to the code of the one before; the last one announces it."""
    api = FakeApi()
    phrase = await phrase_of(api, tmp_path / "0")
    others = [tmp_path / "1", tmp_path / "2"]
    devices = [(await log_in(api, folder, phrase)).device for folder in others]
    async with own_list(api, tmp_path / "0") as first:
        announced = await first.announce_root_key()
    assert announced.recovery_phrase is not None
    assert set(announced.missing) == set(devices)
    for left, folder in ((1, others[0]), (1, others[0]), (0, others[1])):
        assert newest(api).pending_root is None
        assert announced.code is not None
        async with own_list(api, folder) as manager:
            announced = await manager.sign_root_key(announced.code)
        assert (len(announced.missing), announced.recovery_phrase) == (left, None)
    assert newest(api).pending_root is not None


async def test_an_announcement_is_cancelled_by_one_manager_or_the_old_phrase(tmp_path: Path) -> None:
    """Whoever still has either keeps the account: what else is changed meanwhile leaves the announcement alone."""
    api = FakeApi()
    phrase = await phrase_of(api, tmp_path / "laptop")
    clock = Wall()
    async with own_list(api, tmp_path / "laptop", clock) as manager:
        for cancel in (None, phrase):
            clock.ms += 1
            made = (await manager.announce_root_key()).recovery_phrase
            assert made is not None
            (listed,) = api.listed
            await manager.set_manager(listed.device, True, phrase)
            assert newest(api).pending_root is not None
            await manager.cancel_root_key(cancel)
            assert newest(api).pending_root is None
            number = newest(api).number
            await manager.cancel_root_key(cancel)
            assert newest(api).number == number, "there is nothing to cancel"
            clock.ms += ROOT_KEY_DELAY_MS
            with pytest.raises(varde.WrongPhrase):
                await manager.finish_root_key(made)


async def test_an_announced_phrase_logs_in_once_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to finish anything first: the list with the new device brings the root key."""
    api = FakeApi()
    await sign_up(api, tmp_path / "laptop")
    clock = Wall()
    async with own_list(api, tmp_path / "laptop", clock) as manager:
        phrase = (await manager.announce_root_key()).recovery_phrase
    assert phrase is not None
    with pytest.raises(varde.NotAllowed, match="works from"):
        await log_in(api, tmp_path / "early", phrase)
    clock.ms += ROOT_KEY_DELAY_MS
    monkeypatch.setattr(OwnList.__init__, "__defaults__", (clock,))
    await log_in(api, tmp_path / "phone", phrase)
    assert newest(api).root_key == public(phrase)
    assert len(api.listed) == 2


async def phrase_of(api: FakeApi, home: Path) -> str:
    """Sign up, and write the words down."""
    done = await sign_up(api, home)
    assert done.recovery_phrase is not None
    return done.recovery_phrase


def public(phrase: str) -> bytes:
    """The root key of a phrase."""
    return root_key_of(phrase).public_key().public_bytes_raw()


def newest(api: FakeApi) -> DeviceList:
    """The account's list."""
    assert api.newest is not None
    return api.newest
