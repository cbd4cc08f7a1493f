"""The database's errors in the domain's words. asyncpg's exceptions end here, and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from domain.ports import StoreUnavailable
from storage.island import IslandClosed

RETRYABLE: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_UNAVAILABLE: Final = (
    *RETRYABLE,
    IslandClosed,
    OSError,  # TimeoutError is one: the deadline for a connection or for a statement has passed
    asyncpg.InterfaceError,  # the connection or the pool was closed under the call
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, crashed, starting up, or a statement cancelled over there
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby by now
)


class StoreFault(Exception):
    """A bug of ours that the database found. The text is Postgres's code and constraint, never a statement or value."""


@contextmanager
def domain_errors() -> Iterator[None]:
    """Turn what asyncpg and the island raise into StoreUnavailable or StoreFault."""
    try:
        yield
    except asyncpg.DataError as error:  # an argument of the wrong type, and the text would show it
        raise StoreFault(type(error).__name__) from None
    except _UNAVAILABLE as error:
        told = f"the database does not answer ({type(error).__name__})"
        raise StoreUnavailable(told) from (None if isinstance(error, asyncpg.PostgresError) else error)
    except asyncpg.PostgresError as error:
        raise StoreFault(f"{type(error).__name__} {error.constraint_name or ''}".rstrip()) from None
