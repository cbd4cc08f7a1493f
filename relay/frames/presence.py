"""`typing` and `presence`: sent to others as their policies allow, never stored."""

from functools import partial

from domain.talk.events import PresenceMoved, TypingMoved
from domain.talk.model import Roster
from relay.connection.peer import Peer
from relay.frames.receipts import NOT_AS_THAT, refuse_outsider, with_roster
from relay.frames.refusals import Outcome
from relay.services import Services
from varde_contract.frames import Presence, Typing
from varde_contract.ids import ProfileId
from varde_contract.refusals import Refused
from varde_contract.talk import PresenceState


def typing(services: Services, peer: Peer, frame: Typing) -> Outcome:
    """Send that a profile is typing. Refuses `not-found`, `not-joined` and `profile-not-allowed`."""
    if frame.conversation not in peer.listeners:
        return partial(refuse_outsider, services, peer, frame.conversation)
    return with_roster(services, peer, frame.conversation, partial(_type, services, peer, frame))


def _type(services: Services, peer: Peer, frame: Typing, roster: Roster) -> Refused | None:
    if frame.profile not in roster.devices[peer.device]:
        return NOT_AS_THAT
    moved = TypingMoved(services.node, frame.conversation, frame.profile, frame.active)
    services.publisher.publish(moved)
    services.notifier.notify_from(roster, moved)
    return None


def presence(services: Services, peer: Peer, frame: Presence) -> Outcome:
    """Send the presence of a profile in the conversations with cached rosters. Refuses `profile-not-allowed`.

    A state that the peer already shows is not sent again.
    """
    if frame.profile not in peer.ticket.profiles:
        return NOT_AS_THAT
    if frame.state is peer.shown.get(frame.profile, PresenceState.OFFLINE):
        return None
    return partial(_show_peer, services, peer, frame)


async def _show_peer(services: Services, peer: Peer, frame: Presence) -> None:
    # In the connection's own task, which is cancelled with it: who has gone is not shown after `go_offline`.
    await services.rosters.remember(peer.listeners)
    if frame.state is PresenceState.OFFLINE:
        services.hub.hide_profile(peer, frame.profile)
    else:
        services.hub.show_profile(peer, frame.profile, frame.state)
    _show(services, frame.profile, frame.state)


def go_offline(services: Services, peer: Peer) -> None:
    """Send `offline` for the profiles that only this peer of the node showed. For when its connection ends."""
    for profile in tuple(peer.shown):
        if services.hub.hide_profile(peer, profile):
            _show(services, profile, PresenceState.OFFLINE)


def _show(services: Services, profile: ProfileId, state: PresenceState) -> None:
    services.presence_notifier.notify_soon(PresenceMoved(services.node, profile, state))
