"""What a fence does with an error that nobody expected: a log line with its place in the code and, if asked, a report.

The text of an exception may hold what a peer sent, its frames hold keys and plaintext. So neither is ever passed on:
a report is made anew of what is on a short list, whatever the library has gathered.
"""

import logging
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from varde_contract.exception_groups import first_cause, locate

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

_reports_to_sentry = False
FLUSH_SECONDS: Final = 2


def note_surprise(log: logging.Logger, what: str, error: BaseException) -> None:
    """Log `what: KeyError at devices.py:40 in register`, and report it to Sentry when that was set up."""
    log.error("%s: %s", what, locate(error))
    if _reports_to_sentry:
        import sentry_sdk  # noqa: PLC0415 - an extra, which only who reports has installed

        sentry_sdk.capture_event({"level": "error"}, hint={"exc_info": (type(error), error, error.__traceback__)})


def set_up_reports(dsn: str, *, program: str, release: str) -> None:
    """Report surprises to Sentry from now on. Raises ImportError without the extra, ValueError for a bad DSN."""
    import sentry_sdk  # noqa: PLC0415 - an extra
    from sentry_sdk.utils import BadDsn  # noqa: PLC0415

    global _reports_to_sentry  # noqa: PLW0603 - a process has one destination, as it has one log
    try:
        sentry_sdk.init(
            dsn=dsn,
            release=release,
            # With integrations it takes requests, log lines, arguments and local variables: ten planted secrets of ten.
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            max_breadcrumbs=0,
            send_client_reports=False,
            server_name=program,  # the default is the machine's own name
            before_send=_rebuild,
            before_breadcrumb=lambda *_: None,
            shutdown_timeout=FLUSH_SECONDS,
        )
    except BadDsn as error:
        raise ValueError("not a DSN of Sentry") from error
    _reports_to_sentry = True


def _rebuild(event: "Event", hint: "Hint") -> "Event | None":
    """Return a new event with the type of the error and the places in our code, and nothing of the old one."""
    error: Any = hint.get("exc_info", (None, None))[1]
    if error is None:
        return None
    error = first_cause(error)
    frames = [
        {"filename": Path(frame.filename).name, "function": frame.name, "lineno": frame.lineno}
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    exception = {"type": type(error).__qualname__, "module": type(error).__module__, "stacktrace": {"frames": frames}}
    kept = ("event_id", "timestamp", "release", "server_name", "platform", "level")
    rebuilt: Any = {name: event[name] for name in kept if name in event}  # type: ignore[literal-required]
    rebuilt["exception"] = {"values": [exception]}
    rebuilt_event: Event = rebuilt
    return rebuilt_event
