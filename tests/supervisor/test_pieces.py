"""The small pieces of the supervisor: back-off, announcements, addresses, the lock, lines on a terminal, advice.

No process is started here.
"""

import io
import os
import socket
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from settings.environment import Address, BadAddress
from supervisor.data_lock import FolderInUse, open_lock
from supervisor.events import Exited, Killed, LogLine, Ready, Stopping, describe_exit
from supervisor.log_output import LogOutput
from supervisor.ports import later_port, reserve, reserve_shared
from supervisor.programs import Program, Programs, never, ready_message
from supervisor.settings import SystemSettings
from supervisor.supervised import Backoff, StartFailed, explain
from tests.supervisor.fake_system import EventRecorder


@given(st.lists(st.floats(0, 0.999), min_size=1, max_size=2_000))
def test_delays_stay_between_half_and_whole_of_a_bounded_doubling(chances: list[float]) -> None:
    """Chance spreads restarts, and no number of failures makes a delay longer than the bound or overflow."""
    drawn = iter(chances)
    backoff = Backoff(lambda: next(drawn), first=1, most=10)
    for failures in range(len(chances)):
        delay = backoff.next_delay(lived=0)
        whole = min(10, 2 ** min(failures, 32))
        assert whole / 2 <= delay <= whole


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ('{"ready": "api", "address": "127.0.0.1:8400"}', "127.0.0.1:8400"),
        ('{"ready": "api"}', ""),
        ('{"ready": "relay", "address": "127.0.0.1:8400"}', None),
        ('{"ready": ', None),
        ("ready", None),
        ("[1]", None),
    ],
)
def test_only_its_own_announcement_makes_a_program_ready(line: str, address: str | None) -> None:
    """Other lines, other programs' announcements and broken JSON do not."""
    assert ready_message("api")(line) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8400", Address("127.0.0.1", 8400)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_addresses_are_read_and_written_alike(text: str, address: Address) -> None:
    """What is read is what is written again."""
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "8400", ":8400", "host:", "host:x", "host:65536", "host:-1", "host:²"])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    """The refusal shows how an address is written."""
    with pytest.raises(BadAddress, match=r"for example 127\.0\.0\.1:8400"):
        Address.parse(text)


def test_a_program_that_listens_everywhere_is_reached_at_the_loopback() -> None:
    """Nobody can connect to 0.0.0.0, so nobody is told to."""
    assert str(Address("0.0.0.0", 80).reachable) == "127.0.0.1:80"  # noqa: S104 - nothing is bound
    assert str(Address("::", 80).reachable) == "[::1]:80"
    assert str(Address("10.0.0.1", 80).reachable) == "10.0.0.1:80"


def test_a_reserved_port_can_be_listened_on_by_a_program() -> None:
    """The reservation keeps strangers off and lets the program in."""
    with reserve(Address("127.0.0.1", 0)) as chosen:
        assert chosen.port > 0
        with socket.create_server((chosen.host, chosen.port)), socket.create_connection((chosen.host, chosen.port)):
            pass
    with reserve(Address("127.0.0.1", 8400)) as fixed:
        assert fixed.port == 8400


def test_a_shared_port_is_for_several_programs_that_ask_for_it() -> None:
    """Those that say SO_REUSEPORT listen there together; one that does not is in nobody's way before they do."""
    with reserve_shared(Address("127.0.0.1", 0)) as chosen:
        place = (chosen.host, chosen.port)
        with (
            socket.create_server(place, reuse_port=True),
            socket.create_server(place, reuse_port=True),
            pytest.raises(BadAddress, match="another program listens"),
            reserve_shared(chosen),
        ):
            raise AssertionError("somebody listens there")
        with reserve_shared(chosen) as again:
            assert again == chosen


def test_each_worker_has_its_own_port_for_metrics() -> None:
    """From a fixed port one counts up, any port stays any, and none is invented beyond the last."""
    metrics = Address("127.0.0.1", 9400)
    assert [later_port(metrics, steps).port for steps in range(3)] == [9400, 9401, 9402]
    assert later_port(Address("127.0.0.1", 0), 2).port == 0
    with pytest.raises(BadAddress, match="no port for each worker"):
        later_port(Address("127.0.0.1", 65535), 1)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_told_as_such(host: str) -> None:
    """Who binds to what is not here is told what would work."""
    with pytest.raises(BadAddress, match=f"{host} is no address of this machine"), reserve(Address(host, 0)):
        raise AssertionError("there is nothing to reserve")


async def test_the_lock_of_a_dead_supervisor_is_waited_for(tmp_path: Path, recorder: EventRecorder) -> None:
    """While its reaper holds the lock, the next supervisor waits and says so."""
    async with trio.open_nursery() as nursery:
        entered = trio.Event()
        async with open_lock(tmp_path, recorder.report) as held:
            inherited = os.dup(held)
        os.pwrite(inherited, b"4194304\n", 0)  # one more than the largest number a process can have

        async def enter() -> None:
            async with open_lock(tmp_path, recorder.report):
                entered.set()

        nursery.start_soon(enter)
        await recorder.wait_count(LogLine, 1)
        assert not entered.is_set()
        os.close(inherited)
        await entered.wait()


async def test_the_lock_names_its_living_holder(tmp_path: Path, recorder: EventRecorder) -> None:
    """Who is refused learns which process to stop, and what else to do."""
    async with open_lock(tmp_path, recorder.report):
        with pytest.raises(FolderInUse, match=rf"kill -INT {os.getpid()}.*--data"):
            async with open_lock(tmp_path, recorder.report):
                raise AssertionError("two must not hold it")


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


def test_a_terminal_that_went_away_ends_nothing() -> None:
    """`varde up | head` keeps running when head has seen enough."""

    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    log = LogOutput(Gone(), colour=True)
    log.say("one")
    log.say("two")


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("OSError: [Errno 98] Address already in use", "takes free ports"),
        ("ERROR: permission denied", "who owns the data folder"),
        ("no such luck", "run it alone"),
    ],
)
def test_a_failed_start_shows_its_words_and_what_to_do(said: str, advice: str) -> None:
    """A person reads what failed, what it said itself, and the next step."""
    program = Program(name="api", command=(), environ={}, parse_ready=never)
    text = explain(StartFailed(program, "ended with exit code 1", ("", said)))
    assert text.startswith("api did not start: it ended with exit code 1.\nIt said:\n    " + said)
    assert advice in text


def test_exit_codes_are_told_in_words() -> None:
    """A signal has a name, also one that this system does not know."""
    assert describe_exit(0) == "ended with exit code 0"
    assert describe_exit(-15) == "was killed by SIGTERM"
    assert describe_exit(-200) == "was killed by signal 200"


def test_settings_come_from_the_environment_and_options_are_stronger() -> None:
    """One reader of the environment, with the documented names and defaults; secrets are not shown."""
    assert SystemSettings.from_environ({}).data == Path.cwd() / ".varde"
    environ = {"VARDE_DATA": "/d", "VARDE_API_BIND": "h:1", "VARDE_DATABASE_URL": "postgresql://u:secret@h/d"}
    settings = SystemSettings.from_environ(environ, api_bind="h:2", relay_bind="h:3")
    assert (settings.data, settings.api_bind.port, settings.relay_bind.port) == (Path("/d"), 2, 3)
    assert "secret" not in repr(settings)


def test_a_program_is_told_only_the_secrets_it_needs() -> None:
    """Only the API sees the mail server's password, Postgres sees none, and a client's passphrase stays."""
    secrets = {
        "VARDE_PASSPHRASE": "mine",
        "VARDE_SMTP_URL": "smtps://u:p@mail.example",
        "VARDE_DATABASE_URL": "postgresql://u:p@db.example/varde",
    }
    settings = SystemSettings.from_environ({**secrets, "PATH": "/bin"})
    programs = Programs(settings, settings.api_bind, settings.relay_bind)
    told = {
        program.name: secrets.keys() & program.environ.keys()
        for program in (programs.postgres(), programs.migrate(), programs.relay(), programs.api(), programs.worker())
    }
    assert told == {
        "postgres": set(),
        "migrate": {"VARDE_DATABASE_URL"},
        "relay": {"VARDE_DATABASE_URL"},
        "api": {"VARDE_DATABASE_URL", "VARDE_SMTP_URL"},
        "worker": {"VARDE_DATABASE_URL"},
    }
    assert programs.postgres().environ["PATH"] == "/bin"


def test_a_worker_is_told_what_makes_it_one() -> None:
    """It may listen where others do, has metrics of its own, and more time to stop than its clients have to go."""
    environ = {"VARDE_RELAY_METRICS_BIND": "127.0.0.1:9400", "VARDE_RELAY_DRAIN_SECONDS": "60"}
    settings = SystemSettings.from_environ(environ, relay_workers=2)
    programs = Programs(settings, settings.api_bind, settings.relay_bind)
    workers = [programs.relay_node(index) for index in range(2)]
    assert [each.name for each in workers] == ["relay-1", "relay-2"]
    assert {each.environ["VARDE_RELAY_REUSE_PORT"] for each in workers} == {"1"}
    metrics = [each.environ["VARDE_RELAY_METRICS_BIND"] for each in workers]
    assert metrics == ["127.0.0.1:9400", "127.0.0.1:9401"]
    assert workers[0].stop_timeout > 60
    assert programs.relay().stop_timeout > workers[0].stop_timeout
    assert programs.relay().command[-3:] == ("relay", "--workers", "2")
