"""Lines on a terminal."""

import io

import pytest

from supervisor.events import Exited, Killed, LogLine, Ready, Stopping
from supervisor.log_output import LogOutput


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (LogLine("api", "hello"), "api      │ hello"),
        (LogLine("postgres", "bell \x07 and \x1b[2J"), "postgres │ bell � and �[2J"),
        (Ready("relay", 7, "h:1", 1, 0.25), "varde    │ relay is ready at h:1 after 0.2 s (process 7)"),
        (Ready("relay", 7, "h:1", 3, 0.25), "varde    │ relay is back at h:1 after 0.2 s (process 7)"),
        (
            Exited("api", 7, "ended with exit code 1", 0.5),
            "varde    │ api (process 7) ended with exit code 1; starting it again in 0.5 s",
        ),
        (Stopping("api", 7), "varde    │ stopping api (process 7)"),
        (Killed("api", 7), "varde    │ api (process 7) was killed"),
    ],
)
def test_every_event_is_one_plain_line(event: LogLine, line: str) -> None:
    """One line each, with its program in front, and nothing in it that a terminal would obey."""
    out = io.StringIO()
    LogOutput(out, colour=False).report(event)
    assert out.getvalue() == f"{line}\n"


def test_quiet_leaves_only_the_supervisors_own_lines() -> None:
    """With --quiet the programs are silent, what happens to them is still told."""
    out = io.StringIO()
    log = LogOutput(out, colour=False, quiet=True)
    log.report(LogLine("api", "chatter"))
    log.report(Killed("api", 7))
    assert out.getvalue() == "varde    │ api (process 7) was killed\n"


def test_quiet_shows_the_last_words_of_a_program_that_ended() -> None:
    """Without them nobody would know why; those of its next life are its own, and those of others stay unsaid."""
    out = io.StringIO()
    log = LogOutput(out, colour=False, quiet=True)
    for number in range(30):
        log.report(LogLine("relay", f"line {number}"))
        log.report(LogLine("api", "chatter"))
    log.report(Exited("relay", 7, "ended with exit code 1", 0.5))
    log.report(LogLine("relay", "again"))
    log.report(Exited("relay", 8, "ended with exit code 1", 0.5))
    first, second = (
        f"varde    │ relay (process {pid}) ended with exit code 1; starting it again in 0.5 s" for pid in (7, 8)
    )
    words = [f"relay    │ line {number}" for number in range(10, 30)]
    assert out.getvalue().splitlines() == [*words, first, "relay    │ again", second]


def test_a_terminal_that_went_away_ends_nothing() -> None:
    """`varde up | head` keeps running when head has seen enough."""

    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    log = LogOutput(Gone(), colour=True)
    log.say("one")
    log.say("two")
