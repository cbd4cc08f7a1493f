"""The database's errors in the domain's words. asyncpg's exceptions end here, and nowhere else."""

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from domain.ports import StoreFault, StoreUnavailable
from storage.island import IslandClosed
from varde_contract.exception_groups import locate

RETRYABLE: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_UNAVAILABLE: Final = (
    *RETRYABLE,
    IslandClosed,
    OSError,  # TimeoutError is one: the deadline for a connection or for a statement has passed
    asyncpg.InterfaceError,  # the connection or the pool was closed under the call
    asyncpg.InternalClientError,
    asyncpg.InternalServerError,
    asyncpg.PostgresSystemError,  # its disk fails
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, crashed, starting up, or a statement cancelled over there
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby by now
)


_log: Final = logging.getLogger(__name__)


@contextmanager
def domain_errors() -> Iterator[None]:
    """Turn what asyncpg and the island raise into StoreUnavailable or StoreFault."""
    try:
        yield
    except asyncpg.DataError as error:  # an argument of the wrong type, and the text would show it
        raise _fault(type(error).__name__) from None
    except _UNAVAILABLE as error:
        # What is wrong with a certificate names the server at most; other texts of asyncpg may hold more.
        why = f": {_reason(error)}" if isinstance(error, ssl.SSLError) else ""
        told = f"the database does not answer ({type(error).__name__}{why})"
        raise StoreUnavailable(told) from (None if isinstance(error, asyncpg.PostgresError) else error)
    except asyncpg.PostgresError as error:
        raise _fault(f"{type(error).__name__} {error.constraint_name or ''}".rstrip()) from None


@contextmanager
def store_errors() -> Iterator[None]:
    """The same for a call of a store, which nothing leaves but StoreUnavailable and StoreFault.

    The relay calls stores from tasks that serve all its connections: whatever else left a call ended the program, and
    again after each restart, as soon as the client had sent the same once more.
    """
    try:
        with domain_errors():
            yield
    except StoreUnavailable:
        raise
    except Exception as surprise:
        raise _fault(locate(surprise)) from surprise


def _reason(error: ssl.SSLError) -> str:
    return str(getattr(error, "verify_message", None) or error.reason)


def _fault(what: str) -> StoreFault:
    # Here, because most callers only know StoreUnavailable, and would never say that this is another matter.
    _log.error("a statement failed for good: %s", what)
    return StoreFault(what)
