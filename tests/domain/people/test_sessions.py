"""Sessions: who holds the newest token is the session, and nobody else."""

import pytest
import trio

from domain.people.events import TicketsRevoked
from domain.people.model import Actor, Revocation
from domain.people.sessions import ACCESS_TIME, REFRESH_TIME, RETRY_TIME, Granted
from domain.people.tokens import Token
from simulation.stores.clock import HOUR
from tests.cast import alice, alice_phone, bob
from tests.domain.registry import Registry, code_of
from tests.ids import id_of
from varde_contract.ids import SessionId
from varde_contract.refusals import RefusalCode, Refused


@pytest.fixture
async def registry() -> Registry:
    """A server where Alice and Bob have accounts."""
    made = Registry()
    await made.settle(alice, bob)
    return made


async def refreshed(registry: Registry, granted: Granted) -> Granted:
    """Refresh, successfully."""
    outcome = await registry.sessions.refresh(granted.refresh.spell())
    assert isinstance(outcome, Granted)
    return outcome


async def test_an_access_token_says_whose_session_it_is(registry: Registry) -> None:
    """The token is all a client needs to show."""
    granted = await registry.sessions.open(alice.account)
    actor = await registry.sessions.authenticate(granted.access.spell())
    assert actor == Actor(alice.account, granted.session.id, None)


async def test_a_session_knows_its_device(registry: Registry) -> None:
    """Device-only calls act as the device that the session registered."""
    actor = await registry.sessions.authenticate(alice_phone.access_token)
    assert actor == alice_phone.actor


@pytest.mark.parametrize("text", ["", "nonsense", "A" * 86])
async def test_refusal_unauthenticated_for_what_is_no_token(registry: Registry, text: str) -> None:
    """What is no token of ours opens nothing."""
    assert code_of(await registry.sessions.authenticate(text)) is RefusalCode.UNAUTHENTICATED
    assert code_of(await registry.sessions.refresh(text)) is RefusalCode.UNAUTHENTICATED


async def test_the_right_ids_with_another_secret_are_nobody(registry: Registry) -> None:
    """Account and session ids are no secrets; the secret is."""
    granted = await registry.sessions.open(alice.account)
    forged = Token(granted.access.account, granted.access.session, bytes(32))
    assert code_of(await registry.sessions.authenticate(forged.spell())) is RefusalCode.UNAUTHENTICATED


async def test_a_refresh_token_is_no_access_token(registry: Registry) -> None:
    """A token kept for later cannot be used in place of the short-lived one."""
    granted = await registry.sessions.open(alice.account)
    assert code_of(await registry.sessions.authenticate(granted.refresh.spell())) is RefusalCode.UNAUTHENTICATED


async def test_an_access_token_does_not_refresh_and_does_no_harm(registry: Registry) -> None:
    """Who mixes the two up is told so and keeps the session."""
    granted = await registry.sessions.open(alice.account)
    assert code_of(await registry.sessions.refresh(granted.access.spell())) is RefusalCode.UNAUTHENTICATED
    assert isinstance(await registry.sessions.authenticate(granted.access.spell()), Actor)


async def test_refusal_token_expired_for_access(registry: Registry) -> None:
    """An access token is good for an hour."""
    granted = await registry.sessions.open(alice.account)
    registry.clock.advance(ACCESS_TIME - 1)
    assert isinstance(await registry.sessions.authenticate(granted.access.spell()), Actor)
    registry.clock.advance(1)
    assert code_of(await registry.sessions.authenticate(granted.access.spell())) is RefusalCode.TOKEN_EXPIRED


async def test_refusal_token_expired_for_refresh(registry: Registry) -> None:
    """A session that nobody used for ninety days is over."""
    granted = await registry.sessions.open(alice.account)
    registry.clock.advance(REFRESH_TIME)
    assert code_of(await registry.sessions.refresh(granted.refresh.spell())) is RefusalCode.TOKEN_EXPIRED


async def test_refreshing_carries_a_session_on(registry: Registry) -> None:
    """New tokens for the same session; the old access token ends with the exchange."""
    old = await registry.sessions.open(alice.account)
    registry.clock.advance(2 * HOUR)
    new = await refreshed(registry, old)
    assert new.session.id == old.session.id
    assert new.session.created_ms == old.session.created_ms
    assert isinstance(await registry.sessions.authenticate(new.access.spell()), Actor)
    assert code_of(await registry.sessions.authenticate(old.access.spell())) is RefusalCode.UNAUTHENTICATED


async def test_refreshing_again_and_again_outlives_ninety_days(registry: Registry) -> None:
    """Who comes back in time never has to sign in again."""
    granted = await registry.sessions.open(alice.account)
    for _ in range(3):
        registry.clock.advance(REFRESH_TIME - 1)
        granted = await refreshed(registry, granted)
    assert isinstance(await registry.sessions.authenticate(granted.access.spell()), Actor)


async def test_refreshing_keeps_the_device(registry: Registry) -> None:
    """A session that is carried on still acts as its device."""
    outcome = await registry.sessions.refresh(alice_phone.refresh_token)
    assert isinstance(outcome, Granted)
    actor = await registry.sessions.authenticate(outcome.access.spell())
    assert isinstance(actor, Actor)
    assert actor.device == alice_phone.id


async def test_a_refresh_token_shown_twice_ends_the_session(registry: Registry) -> None:
    """A stolen refresh token is noticed as soon as both have used it: neither thief nor owner goes on."""
    stolen = await registry.sessions.open(alice.account)
    new = await refreshed(registry, stolen)
    assert isinstance(await registry.sessions.authenticate(new.access.spell()), Actor)
    registry.clock.advance(RETRY_TIME)
    assert code_of(await registry.sessions.refresh(stolen.refresh.spell())) is RefusalCode.UNAUTHENTICATED
    assert code_of(await registry.sessions.authenticate(new.access.spell())) is RefusalCode.UNAUTHENTICATED
    assert code_of(await registry.sessions.refresh(new.refresh.spell())) is RefusalCode.UNAUTHENTICATED


async def test_a_made_up_refresh_token_ends_nothing(registry: Registry) -> None:
    """Account and session ids are no secrets: whoever has them cannot log the person out."""
    granted = await refreshed(registry, await registry.sessions.open(alice.account))
    forged = Token(granted.refresh.account, granted.refresh.session, bytes(32))
    assert code_of(await registry.sessions.refresh(forged.spell())) is RefusalCode.UNAUTHENTICATED
    await refreshed(registry, granted)


async def test_a_refresh_whose_answer_was_lost_may_be_asked_for_again(registry: Registry) -> None:
    """The same token works until somebody uses what it brought; the session goes on with what the last answer said."""
    old = await registry.sessions.open(alice.account)
    lost = await refreshed(registry, old)
    registry.clock.advance(REFRESH_TIME - 1)
    again = await refreshed(registry, old)
    assert isinstance(await registry.sessions.authenticate(again.access.spell()), Actor)
    assert code_of(await registry.sessions.authenticate(lost.access.spell())) is RefusalCode.UNAUTHENTICATED
    await refreshed(registry, again)


async def test_an_answer_that_arrived_is_told_from_one_that_was_lost(registry: Registry) -> None:
    """A thief who was first, and uses what they got, is seen when the owner shows the token before it."""
    stolen = await registry.sessions.open(alice.account)
    thiefs = await refreshed(registry, stolen)
    assert isinstance(await registry.sessions.authenticate(thiefs.access.spell()), Actor)
    registry.clock.advance(RETRY_TIME)
    assert code_of(await registry.sessions.refresh(stolen.refresh.spell())) is RefusalCode.UNAUTHENTICATED
    assert code_of(await registry.sessions.authenticate(thiefs.access.spell())) is RefusalCode.UNAUTHENTICATED


async def test_a_thief_within_the_minute_is_seen_with_the_owners_next_refresh(registry: Registry) -> None:
    """The tokens of the owner's answer are spent by the thief's, and showing them ends the session."""
    stolen = await registry.sessions.open(alice.account)
    owners = await refreshed(registry, stolen)
    thiefs = await refreshed(registry, stolen)
    assert code_of(await registry.sessions.refresh(owners.refresh.spell())) is RefusalCode.UNAUTHENTICATED
    assert code_of(await registry.sessions.refresh(thiefs.refresh.spell())) is RefusalCode.UNAUTHENTICATED


async def test_two_refreshes_at_once_end_the_session(registry: Registry) -> None:
    """The same token in two hands at the same moment is theft as well."""
    granted = await registry.sessions.open(alice.account)
    outcomes: list[Granted | Refused] = []

    async def refresh() -> None:
        outcomes.append(await registry.sessions.refresh(granted.refresh.spell()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refresh)
        nursery.start_soon(refresh)
    assert sum(isinstance(outcome, Granted) for outcome in outcomes) == 1
    assert [session.id for session in await registry.sessions.list_live(alice_phone.actor)].count(
        granted.session.id
    ) == 0


async def test_a_theft_in_one_session_leaves_the_others(registry: Registry) -> None:
    """Only the session whose token was copied ends."""
    stolen, other = await registry.sessions.open(alice.account), await registry.sessions.open(alice.account)
    await registry.sessions.authenticate((await refreshed(registry, stolen)).access.spell())
    registry.clock.advance(RETRY_TIME)
    await registry.sessions.refresh(stolen.refresh.spell())
    assert isinstance(await registry.sessions.authenticate(other.access.spell()), Actor)


async def test_logging_out_ends_the_session_at_once(registry: Registry) -> None:
    """After logging out, neither token works."""
    granted = await registry.sessions.open(alice.account)
    actor = Actor(alice.account, granted.session.id, None)
    assert await registry.sessions.end(actor, actor.session) is None
    assert code_of(await registry.sessions.authenticate(granted.access.spell())) is RefusalCode.UNAUTHENTICATED
    assert code_of(await registry.sessions.refresh(granted.refresh.spell())) is RefusalCode.UNAUTHENTICATED


async def test_logging_out_voids_the_tickets_of_the_device(registry: Registry) -> None:
    """A ticket is good for a day without a database: it must not outlive the session that asked for it."""
    assert await registry.sessions.end(alice_phone.actor, alice_phone.actor.session) is None
    now = registry.clock()
    assert TicketsRevoked(alice_phone.id, now, final=False) in registry.bus.published
    assert Revocation(alice_phone.id, now, final=False) in await registry.stores.devices.revocations(0)


async def test_the_list_has_the_live_sessions_of_the_account_only(registry: Registry) -> None:
    """An owner sees their own sessions, without those that are over."""
    expired = await registry.sessions.open(alice.account)
    registry.clock.advance(REFRESH_TIME)
    live = await registry.sessions.open(alice.account)
    theirs = await registry.sessions.open(bob.account)
    listed = {session.id for session in await registry.sessions.list_live(alice_phone.actor)}
    assert live.session.id in listed
    assert not listed & {expired.session.id, theirs.session.id}


async def test_refusal_not_found_for_the_session_of_another(registry: Registry) -> None:
    """Nobody ends somebody else's session, or learns that there is one."""
    theirs = await registry.sessions.open(bob.account)
    refused = await registry.sessions.end(alice_phone.actor, theirs.session.id)
    assert refused == await registry.sessions.end(alice_phone.actor, SessionId(id_of(7)))
    assert code_of(refused) is RefusalCode.NOT_FOUND
    assert isinstance(await registry.sessions.authenticate(theirs.access.spell()), Actor)


async def test_no_secret_is_stored_or_shown(registry: Registry) -> None:
    """The stores have digests, and a granted session shows no secret in its repr."""
    granted = await registry.sessions.open(alice.account)
    shown = repr(granted) + repr(registry.memory)
    assert granted.access.spell() not in shown
    assert repr(granted.access.secret) not in shown
    assert repr(granted.refresh.secret) not in shown
