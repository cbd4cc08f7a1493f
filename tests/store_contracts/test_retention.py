"""The contract of the retention store: what has passed its time goes, and nothing else does."""

import trio
from msgspec.structs import replace

from domain.people import model as people
from domain.people.ports import NameFault, UserName
from domain.people.user_names import HELD
from domain.ports import Stores
from domain.retention.model import Swept
from domain.talk import model as talk_model
from tests.cast import (
    BIRTH_MS,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    open_conversation,
    revoke,
    set_profiles,
    settle,
)
from tests.ids import id_of
from tests.store_contracts.messages import confirm, draft, held, page_of, send
from varde_contract.ids import LinkId, SessionId

DAY_MS = 24 * 60 * 60 * 1000
RETENTION_MS = 30 * DAY_MS
NOTHING = Swept(ciphertexts=0, messages=0, codes=0, sessions=0, revocations=0)


async def sweep(stores: Stores, now_ms: int, limit: int = 1_000) -> Swept:
    """Sweep with the usual retention."""
    return await stores.retention.sweep(now_ms, retention_ms=RETENTION_MS, limit=limit)


async def test_an_empty_house_is_clean(stores: Stores) -> None:
    """With nothing stored, nothing is swept."""
    assert await sweep(stores, BIRTH_MS) == NOTHING


async def test_ciphertext_goes_when_its_retention_has_passed(stores: Stores) -> None:
    """Unread ciphertext, for devices and for the group, goes when it is old enough and not before; its entry stays."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    old = draft(alice_phone, talk, bob_phone, bob_laptop, sent_ms=BIRTH_MS)
    await send(
        stores, old, draft(alice_phone, talk, sent_ms=BIRTH_MS + 1), draft(alice_phone, talk, sent_ms=BIRTH_MS + 9)
    )
    assert await sweep(stores, BIRTH_MS + RETENTION_MS - 1) == NOTHING
    assert await sweep(stores, BIRTH_MS + RETENTION_MS + 1) == replace(NOTHING, ciphertexts=3)
    page = await page_of(stores, bob_phone, talk)
    assert [(entry.seq, entry.ciphertext) for entry in page.entries] == [(1, None), (2, None), (3, b"sealed")]
    assert page.entries[0].client_id == old.client_id


async def test_of_a_part_the_mark_of_the_others_goes_first(stores: Stores) -> None:
    """However short a sweep is cut, nobody whose ciphertext expired is told that it was not for them."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk, bob_phone, part=True))
    seen = []
    for _ in range(2):
        assert await sweep(stores, BIRTH_MS + RETENTION_MS, limit=1) == replace(NOTHING, ciphertexts=1)
        pages = [await page_of(stores, device, talk) for device in (bob_phone, bob_laptop)]
        seen.append([page.entries[0].ciphertext for page in pages])
    assert seen == [[b"sealed", None], [None, None]]


async def test_a_message_goes_after_twice_the_retention(stores: Stores) -> None:
    """Then its number has no entry any more, the next page starts where the log does, and the head stays."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, *(draft(alice_phone, talk, sent_ms=BIRTH_MS + at) for at in (0, 0, 9, 9)))
    assert await sweep(stores, BIRTH_MS + 2 * RETENTION_MS - 1) == replace(NOTHING, ciphertexts=4)
    assert await sweep(stores, BIRTH_MS + 2 * RETENTION_MS) == replace(NOTHING, messages=2)
    page = await page_of(stores, bob_phone, talk, limit=1)
    assert (page.from_seq, [entry.seq for entry in page.entries], page.next_seq, page.head) == (1, [3], 4, 4)
    await sweep(stores, BIRTH_MS + 2 * RETENTION_MS + 9)
    page = await page_of(stores, bob_phone, talk)
    assert (page.entries, page.next_seq, page.head) == ((), 5, 4)
    (later,) = await send(stores, draft(alice_phone, talk, sent_ms=BIRTH_MS + 3 * RETENTION_MS))
    assert later.seq == 5


async def test_a_client_id_is_known_as_long_as_its_message(stores: Stores) -> None:
    """A message sent again is a duplicate until the message is swept, and a new one after that."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk, client=7))
    await sweep(stores, BIRTH_MS + 2 * RETENTION_MS - 1)
    (again,) = await send(stores, draft(alice_phone, talk, client=7))
    assert (again.seq, again.duplicate) == (1, True)
    await sweep(stores, BIRTH_MS + 2 * RETENTION_MS)
    (fresh,) = await send(stores, draft(alice_phone, talk, client=7, sent_ms=BIRTH_MS + 2 * RETENTION_MS))
    assert (fresh.seq, fresh.duplicate) == (2, False)


async def test_a_message_that_everybody_has_goes_as_well(stores: Stores) -> None:
    """Messages whose ciphertext went with the last confirmation are swept after twice the retention, too."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    await confirm(stores, talk, 1, alice_laptop, bob_phone, bob_laptop)
    assert await sweep(stores, BIRTH_MS + 2 * RETENTION_MS) == replace(NOTHING, messages=1)


async def test_sweeping_goes_on_where_it_stopped(stores: Stores) -> None:
    """A limit cuts a sweep short, oldest first; sweeping on removes the rest, also of one and the same moment."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, *(draft(alice_phone, talk, sent_ms=BIRTH_MS + at) for at in (0, 0, 0, 0, 5, 7)))
    now_ms = BIRTH_MS + RETENTION_MS + 5
    assert [(await sweep(stores, now_ms, limit=3)).ciphertexts for _ in range(3)] == [3, 2, 0]
    assert await held(stores, bob_phone, talk) == [6]
    assert (await sweep(stores, now_ms + 2, limit=3)).ciphertexts == 1
    swept = [(await sweep(stores, now_ms + RETENTION_MS, limit=2)).messages for _ in range(4)]
    assert swept == [2, 2, 1, 0]


async def test_what_is_sent_after_a_sweep_is_swept_in_its_time(stores: Stores) -> None:
    """A sweep that ran ahead of the clock does not make a later one miss anything."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk, sent_ms=BIRTH_MS))
    far = BIRTH_MS + 10 * RETENTION_MS
    assert (await sweep(stores, far - RETENTION_MS)).ciphertexts == 1
    await send(stores, draft(alice_phone, talk, sent_ms=BIRTH_MS + 1))
    assert (await sweep(stores, far)).ciphertexts == 1
    await sweep(stores, far)
    assert (await page_of(stores, bob_phone, talk)).entries == ()


async def test_expired_codes_go(stores: Stores) -> None:
    """A code goes when it has expired, others stay."""
    for number in range(3):
        code = people.OneTimeCode(b"c" * 32, BIRTH_MS + number, 5)
        await stores.sign_in.put_code(bytes([number]) * 32, code, now_ms=BIRTH_MS, window_ms=1, most=9)
    assert await sweep(stores, BIRTH_MS + 1) == replace(NOTHING, codes=2)
    assert await stores.sign_in.take_attempt(bytes([1]) * 32) is None
    assert await stores.sign_in.take_attempt(bytes([2]) * 32) is not None


async def test_dead_sessions_go(stores: Stores) -> None:
    """A session goes when its refresh token has expired, others stay."""
    await stores.sign_in.account_of(alice.address, alice.account, BIRTH_MS)
    for number in range(3):
        session = replace(alice_phone.session, id=SessionId(id_of(number)), refresh_expires_ms=BIRTH_MS + number)
        await stores.sessions.add(session)
    assert await sweep(stores, BIRTH_MS + 1) == replace(NOTHING, sessions=2)
    assert await stores.sessions.find(alice.account, SessionId(id_of(1))) is None
    assert await stores.sessions.find(alice.account, SessionId(id_of(2))) is not None


async def test_revocations_go_when_the_tickets_have_expired(stores: Stores) -> None:
    """After a day no ticket is left that a changed whitelist voids; what revoking a device wrote stays for ever."""
    await settle(stores, alice)
    await set_profiles(stores, alice.account, alice_phone.id, [alice.profile], BIRTH_MS)
    await revoke(stores, alice.account, alice_laptop.id, BIRTH_MS)
    assert await sweep(stores, BIRTH_MS + DAY_MS - 1) == NOTHING
    assert await sweep(stores, BIRTH_MS + DAY_MS) == replace(NOTHING, revocations=1)
    assert await stores.devices.revocations(0) == [people.Revocation(alice_laptop.id, BIRTH_MS, final=True)]


async def test_many_sweepers_sweep_once(nodes: tuple[Stores, Stores]) -> None:
    """However many sweep at once, over two nodes, everything is swept by one of them."""
    await settle(nodes[0], alice, bob)
    talk = await open_conversation(nodes[0], alice, bob)
    await send(nodes[0], *(draft(alice_phone, talk, bob_phone, alice_laptop) for _ in range(50)))
    swept = []

    async def sweep_too(stores: Stores) -> None:
        swept.append(await sweep(stores, BIRTH_MS + RETENTION_MS))

    async with trio.open_nursery() as nursery:
        for stores in nodes * 4:
            nursery.start_soon(sweep_too, stores)
    assert sorted(each.ciphertexts for each in swept) == [0] * 7 + [100]


async def test_links_go_when_they_end_and_names_when_they_are_free(stores: Stores) -> None:
    """With who used a link; a name that somebody has stays, and so does a link that is good."""
    await settle(stores, alice, bob)
    ends = BIRTH_MS + DAY_MS
    for number, end in ((1, ends), (2, ends + 1)):
        made = talk_model.Link(bob.account, LinkId(id_of(number)), bob.profile, bytes(32), 9, end, BIRTH_MS)
        await stores.links.add(made, BIRTH_MS, 10)
        assert await stores.links.use(bob.account, made.id, alice.account, BIRTH_MS)
    for skeleton, owner in ((b"a" * 32, alice), (b"b" * 32, bob)):
        name = UserName(owner.account, owner.profile, bytes(32), skeleton)
        assert await stores.user_names.put(name, BIRTH_MS, held_ms=HELD, most=10) is None
    await stores.user_names.remove(bob.account, bob.profile, BIRTH_MS)
    await sweep(stores, ends)
    assert [each.id for each in await stores.links.list_of(bob.account, bob.profile)] == [LinkId(id_of(2))]
    taken = UserName(alice.account, alice.jobb.id, bytes(32), b"b" * 32)
    assert await stores.user_names.put(taken, BIRTH_MS, held_ms=HELD, most=10) is NameFault.TAKEN
    await sweep(stores, BIRTH_MS + HELD)
    assert await stores.links.list_of(bob.account, bob.profile) == []
    # By a clock at which it would still be held: only the sweep has let it go.
    assert await stores.user_names.put(taken, BIRTH_MS, held_ms=HELD, most=10) is None
    assert await stores.user_names.find(b"a" * 32) is not None
