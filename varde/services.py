"""What a connected client is made of: one frozen bag, handed to everything that lives in it."""

from dataclasses import dataclass

from varde.crypto.keychain import Keychain
from varde.me import Me
from varde.post import Post
from varde.rest import Rest
from varde.rosters import Rosters
from varde.store import Store
from varde.stream import Stream


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one client."""

    me: Me
    store: Store
    keychain: Keychain
    rest: Rest
    rosters: Rosters
    stream: Stream
    post: Post
