"""Local nicknames: the names a person gives to profiles."""

from collections.abc import Mapping

from msgspec import Struct

from varde.store.sealing import Place
from varde.store.shelf import Shelf
from varde_contract.ids import ProfileId


class Contact(Struct, frozen=True):
    """A name and the profile it stands for."""

    name: str
    profile: ProfileId


class Contacts(Shelf):
    """A few names, all opened to find one: a name in the clear would be an index of friends."""

    def add(self, name: str, profile: ProfileId) -> None:
        """Let `name` stand for `profile` from now on."""
        contact = Contact(name, profile)
        with self._database.transaction():
            self.remove(name)
            (last,) = self._database.row("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'contact'") or (
                0,
            )
            number = int(last) + 1
            self._database.run("INSERT INTO contact VALUES (?, ?)", number, self._close(_place(number), contact))

    def remove(self, name: str) -> bool:
        """Forget a name; False when it was not there."""
        with self._database.transaction():
            gone = [number for number, contact in self._rows() if contact.name == name]
            for number in gone:
                self._database.run("DELETE FROM contact WHERE contact = ?", number)
        return bool(gone)

    def all(self) -> Mapping[str, ProfileId]:
        """Return every name and its profile."""
        return {contact.name: contact.profile for _, contact in self._rows()}

    def profile_of(self, name: str) -> ProfileId | None:
        """Return the profile a name stands for."""
        return self.all().get(name)

    def name_of(self, profile: ProfileId) -> str | None:
        """Return the name given to a profile, the newest when there are several."""
        return {known: name for name, known in self.all().items()}.get(profile)

    def _rows(self) -> list[tuple[int, Contact]]:
        rows = self._database.rows("SELECT contact, sealed FROM contact ORDER BY contact")
        return [(number, self._open(_place(number), sealed, Contact)) for number, sealed in rows]


def _place(number: int) -> Place:
    return Place("contact", "sealed", number)
