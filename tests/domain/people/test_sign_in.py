"""Sign-in by one-time code: a code goes to one mailbox, works once, and cannot be guessed."""

import trio
from msgspec.structs import replace

from domain.people.sign_in import (
    ATTEMPTS,
    CODE_DIGITS,
    CODE_TIME,
    CODE_WINDOW,
    CODES_PER_WINDOW,
    SECOND,
    SignedIn,
    SignIn,
)
from simulation.stores.clock import MINUTE
from tests.domain.registry import Registry, code_of
from varde_contract.refusals import RefusalCode, Refused

ADDRESS = "alice@example.org"
NO_CODE = "x" * CODE_DIGITS


async def mailed(registry: Registry, address: str = ADDRESS) -> str:
    """Ask for a code and take it from the mailbox."""
    assert await registry.sign_in.send_code(address) is None
    return registry.mail.code_for(address)


async def signed_in(registry: Registry, address: str = ADDRESS) -> SignedIn:
    """Sign in with a fresh code."""
    outcome = await registry.sign_in.redeem(address, await mailed(registry, address))
    assert isinstance(outcome, SignedIn)
    return outcome


async def test_a_mailed_code_opens_a_session() -> None:
    """Whoever can read the mailbox signs in."""
    registry = Registry()
    outcome = await signed_in(registry)
    actor = await registry.sessions.authenticate(outcome.granted.access.spell())
    assert not isinstance(actor, Refused)
    assert actor.account == outcome.granted.session.account


async def test_a_suspended_account_is_not_let_in() -> None:
    """Its code is good, and used up; nobody else is told of it, and no session is opened."""
    registry = Registry()
    account = (await signed_in(registry)).granted.session.account
    registry.memory.accounts[account] = replace(registry.memory.accounts[account], suspended=True)
    sessions = dict(registry.memory.sessions)
    outcome = await registry.sign_in.redeem(ADDRESS, await mailed(registry))
    assert isinstance(outcome, Refused)
    assert outcome.code is RefusalCode.NOT_ALLOWED
    assert registry.memory.sessions == sessions


async def test_a_code_is_eight_digits_from_the_given_entropy() -> None:
    """Codes come from the injected entropy, keep their zeros in front, and say how long they are good."""
    registry = Registry()
    code = await mailed(registry)
    assert len(code) == CODE_DIGITS
    assert code.isdigit()
    assert registry.mail.letters[0].expires_in_s == CODE_TIME // SECOND
    again = Registry()
    assert await mailed(again) == code


async def test_the_first_sign_in_makes_the_account_and_the_next_finds_it() -> None:
    """There is no separate registration, and no second account for one mailbox."""
    registry = Registry()
    first, second = await signed_in(registry), await signed_in(registry)
    assert (first.new_account, second.new_account) == (True, False)
    assert first.granted.session.account == second.granted.session.account
    assert first.granted.session.id != second.granted.session.id


async def test_other_spellings_reach_the_same_account() -> None:
    """A code asked for in one spelling can be used in another."""
    registry = Registry()
    code = await mailed(registry)
    assert isinstance(await registry.sign_in.redeem("  ALICE@example.ORG ", code), SignedIn)


async def test_a_code_goes_to_the_spelling_that_the_account_is_kept_under() -> None:
    """Somebody whose address only folds to the same letters cannot have another's code mailed to themselves."""
    registry = Registry()
    await registry.sign_in.send_code("Straße@example.org")
    assert [letter.address for letter in registry.mail.letters] == ["strasse@example.org"]


async def test_the_address_is_stored_nowhere() -> None:
    """What the stores keep of an address is a digest."""
    registry = Registry()
    await signed_in(registry)
    kept = repr(registry.memory)
    assert ADDRESS not in kept
    assert "alice" not in kept


async def test_the_code_is_stored_nowhere() -> None:
    """Whoever reads the database cannot sign in with what is in it."""
    registry = Registry()
    assert await mailed(registry) not in repr(registry.memory)


async def test_refusal_code_wrong() -> None:
    """Another code than the mailed one is refused, and the mailed one still works."""
    registry = Registry()
    code = await mailed(registry)
    assert code_of(await registry.sign_in.redeem(ADDRESS, NO_CODE)) is RefusalCode.CODE_WRONG
    assert isinstance(await registry.sign_in.redeem(ADDRESS, code), SignedIn)


async def test_a_code_is_only_for_its_own_address() -> None:
    """Alice's code does not open Bob's account, although both have one waiting."""
    registry = Registry()
    code = await mailed(registry)
    await mailed(registry, "bob@example.org")
    assert code_of(await registry.sign_in.redeem("bob@example.org", code)) is RefusalCode.CODE_WRONG


async def test_refusal_code_expired() -> None:
    """A code is good for ten minutes and not a millisecond more."""
    registry = Registry()
    code = await mailed(registry)
    registry.clock.advance(CODE_TIME)
    assert code_of(await registry.sign_in.redeem(ADDRESS, code)) is RefusalCode.CODE_EXPIRED


async def test_a_code_works_until_its_last_millisecond() -> None:
    """Ten minutes are ten minutes."""
    registry = Registry()
    code = await mailed(registry)
    registry.clock.advance(CODE_TIME - 1)
    assert isinstance(await registry.sign_in.redeem(ADDRESS, code), SignedIn)


async def test_a_code_works_once() -> None:
    """A code that was read over somebody's shoulder after its use is worth nothing."""
    registry = Registry()
    code = await mailed(registry)
    await registry.sign_in.redeem(ADDRESS, code)
    assert code_of(await registry.sign_in.redeem(ADDRESS, code)) is RefusalCode.CODE_EXPIRED


async def test_an_address_that_never_asked_looks_like_one_whose_code_expired() -> None:
    """Nobody learns from the sign-in whether an address has been here."""
    registry = Registry()
    never = await registry.sign_in.redeem("nobody@example.org", "12345678")
    code = await mailed(registry)
    registry.clock.advance(CODE_TIME)
    assert never == await registry.sign_in.redeem(ADDRESS, code)


async def test_refusal_code_exhausted() -> None:
    """After five attempts even the right code is refused: guessing goes nowhere."""
    registry = Registry()
    code = await mailed(registry)
    for _ in range(ATTEMPTS):
        assert code_of(await registry.sign_in.redeem(ADDRESS, NO_CODE)) is RefusalCode.CODE_WRONG
    assert code_of(await registry.sign_in.redeem(ADDRESS, code)) is RefusalCode.CODE_EXHAUSTED


async def test_attempts_at_once_do_not_exceed_five() -> None:
    """Twenty guesses in parallel are five guesses."""
    registry = Registry()
    await mailed(registry)
    words: list[RefusalCode] = []

    async def guess() -> None:
        words.append(code_of(await registry.sign_in.redeem(ADDRESS, NO_CODE)))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(guess)
    assert words.count(RefusalCode.CODE_WRONG) == ATTEMPTS
    assert words.count(RefusalCode.CODE_EXHAUSTED) == 20 - ATTEMPTS


async def test_one_code_at_once_opens_one_session() -> None:
    """Two clients that show the same code in the same moment do not both get in."""
    registry = Registry()
    code = await mailed(registry)
    outcomes: list[object] = []

    async def redeem() -> None:
        outcomes.append(await registry.sign_in.redeem(ADDRESS, code))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(redeem)
        nursery.start_soon(redeem)
    assert sum(isinstance(outcome, SignedIn) for outcome in outcomes) == 1
    assert len(registry.memory.sessions) == 1


async def test_a_new_code_replaces_the_old_one_and_its_attempts() -> None:
    """Only the newest e-mail counts."""
    registry = Registry()
    old = await mailed(registry)
    for _ in range(ATTEMPTS):
        await registry.sign_in.redeem(ADDRESS, NO_CODE)
    new = await mailed(registry)
    assert code_of(await registry.sign_in.redeem(ADDRESS, old)) is RefusalCode.CODE_WRONG
    assert isinstance(await registry.sign_in.redeem(ADDRESS, new), SignedIn)


async def test_refusal_rate_limited() -> None:
    """An address gets five codes an hour: nobody's mailbox is flooded, nobody gets more guesses."""
    registry = Registry()
    for _ in range(CODES_PER_WINDOW):
        assert await registry.sign_in.send_code(ADDRESS) is None
    refused = await registry.sign_in.send_code(ADDRESS)
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.RATE_LIMITED
    assert refused.retry_after_ms == CODE_WINDOW
    assert len(registry.mail.letters) == CODES_PER_WINDOW


async def test_another_address_and_a_later_hour_are_not_rate_limited() -> None:
    """The limit is of one address and one hour."""
    registry = Registry()
    for _ in range(CODES_PER_WINDOW):
        await registry.sign_in.send_code(ADDRESS)
    assert await registry.sign_in.send_code("bob@example.org") is None
    registry.clock.advance(CODE_WINDOW + MINUTE)
    assert await registry.sign_in.send_code(ADDRESS) is None


async def test_refusal_unavailable_when_the_mail_server_is_down() -> None:
    """A code that was not mailed is not said to be on its way."""
    registry = Registry()
    registry.mail.down = True
    refused = await registry.sign_in.send_code(ADDRESS)
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.UNAVAILABLE
    assert refused.retry_after_ms is not None


async def test_no_refusal_repeats_what_was_sent() -> None:
    """Neither the address nor the code comes back in an answer."""
    registry = Registry()
    code = await mailed(registry)
    refusals = [await registry.sign_in.redeem(ADDRESS, NO_CODE) for _ in range(ATTEMPTS + 1)]
    registry.clock.advance(CODE_TIME)
    refusals.append(await registry.sign_in.redeem(ADDRESS, code))
    said = " ".join(map(repr, refusals))
    assert ADDRESS not in said
    assert code not in said
    assert NO_CODE not in said


def with_peppers(registry: Registry, pepper: bytes, *others: bytes) -> Registry:
    """The same server with other peppers: another API, or the same one restarted."""
    registry.sign_in = SignIn(
        *(registry.stores.sign_in, registry.mail, registry.sessions),
        pepper=pepper,
        other_peppers=others,
        clock=registry.clock,
        entropy=registry.entropy,
    )
    return registry


async def test_an_account_is_found_while_the_pepper_changes() -> None:
    """At each step, also at an API that is a step behind; and then under the new pepper alone."""
    registry, old, new = Registry(), b"o" * 32, b"n" * 32
    account = (await signed_in(with_peppers(registry, old))).granted.session.account
    for peppers in ((old, new), (new, old), (old, new), (new, old), (new,)):
        found = await signed_in(with_peppers(registry, *peppers))
        assert (found.new_account, found.granted.session.account) == (False, account)
        registry.clock.advance(CODE_WINDOW)
    assert len(registry.memory.addresses) == 1


async def test_a_code_holds_at_an_api_that_is_a_step_further() -> None:
    """Also when an earlier code waits there, and either way."""
    registry, old, new = Registry(), b"o" * 32, b"n" * 32
    for here, there in (((old, new), (new, old)), ((new, old), (old, new))):
        await mailed(with_peppers(registry, *there))
        code = await mailed(with_peppers(registry, *here))
        with_peppers(registry, *there)
        assert code_of(await registry.sign_in.redeem(ADDRESS, NO_CODE)) is RefusalCode.CODE_WRONG
        assert isinstance(await registry.sign_in.redeem(ADDRESS, code), SignedIn)
        assert code_of(await registry.sign_in.redeem(ADDRESS, code)) is RefusalCode.CODE_WRONG
        registry.clock.advance(CODE_WINDOW)
