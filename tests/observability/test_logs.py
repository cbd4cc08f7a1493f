"""Log lines as JSON: the same five fields in each, whatever was handed to the logger."""

import json
import logging
import sys

from observability.logs import JsonFormatter


def test_a_line_has_five_fields_and_no_others() -> None:
    """Extra fields, exceptions and their texts stay out."""
    try:
        int("a secret that a peer sent")
    except ValueError:
        record = logging.LogRecord("varde.relay", logging.WARNING, "x.py", 1, "draining %d", (3,), sys.exc_info())
    record.__dict__["device"] = "an id"
    line = JsonFormatter("relay").format(record)
    found = json.loads(line)
    assert "\n" not in line
    assert list(found) == ["time", "level", "program", "logger", "message"]
    assert (found["level"], found["program"], found["message"]) == ("warning", "relay", "draining 3")
    assert found["time"].endswith("+00:00")
    assert "secret" not in line
    assert "an id" not in line


def test_a_line_cannot_be_broken_in_two() -> None:
    """A message that holds a line ending is still one line."""
    record = logging.LogRecord("varde", logging.INFO, "x.py", 1, "one\ntwo\u2028three", (), None)
    assert len(JsonFormatter("api").format(record).splitlines()) == 1
