"""What there is one of in a store: this device, its keys and session, the relay."""

from typing import TypeVar

from varde.store.sealing import Place
from varde.store.shelf import Shelf

T = TypeVar("T")


class Settings(Shelf):
    """Named values, sealed. The names are constants of those who use them."""

    def find(self, name: str, kind: type[T]) -> T | None:
        """Return the value, or None."""
        row = self._database.row("SELECT sealed FROM setting WHERE name = ?", name)
        return None if row is None else self._open(_place(name), row[0], kind)

    def put(self, name: str, value: object) -> None:
        """Write the value, new or again."""
        self._database.run(
            "INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed",
            name,
            self._close(_place(name), value),
        )

    def remove(self, name: str) -> None:
        """Forget the value."""
        self._database.run("DELETE FROM setting WHERE name = ?", name)


def _place(name: str) -> Place:
    return Place("setting", "sealed", name)
