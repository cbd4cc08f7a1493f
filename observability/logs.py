"""Log lines: plain text for a terminal, or one JSON object a line with a closed set of fields for a collector."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonFormatter(logging.Formatter):
    """Every line has the same fields: `time` (RFC 3339, UTC), `level`, `program`, `logger`, `message`, and no others.

    Extra fields of a record and the text of its exception are left out: nobody could say what they hold.
    """

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return json.dumps(
            {
                "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
                "level": record.levelname.lower(),
                "program": self._program,
                "logger": record.name,
                "message": record.getMessage(),
            }
        )


def set_up_logs(program: str, *, as_json: bool) -> None:
    """Write what is logged from now on to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(program) if as_json else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # below, each request with its URL
