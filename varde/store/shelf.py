"""What every shelf of the store stands on: the database, the seal, and one way to write a Struct down."""

from typing import TypeVar

import msgspec

from varde.errors import StoreDamaged
from varde.store.database import Database
from varde.store.sealing import Place, Seal

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


class Shelf:
    """One noun's tables. Changes happen inside `Store.transaction`."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self._seal = seal

    def _close(self, place: Place, value: object) -> bytes:
        return self._seal.close(place, _encoder.encode(value))

    def _open(self, place: Place, sealed: bytes, kind: type[T]) -> T:
        try:
            return msgspec.msgpack.decode(self._seal.open(place, sealed), type=kind)
        except msgspec.MsgspecError:
            raise StoreDamaged("a value in the store is not of the kind it should be") from None
