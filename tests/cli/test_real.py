"""The command line against the real system: sign-up, names, messages, groups, devices, and two people who chat."""

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

import varde
from tests.cli.pseudo_terminal import open_terminal
from tests.supervisor.real_system import TIMEOUT, RealSystem

pytestmark = pytest.mark.xdist_group("real-system")


@pytest.fixture
def system(real_system: RealSystem) -> RealSystem:
    """The shared system."""
    return real_system


class Pair:
    """Alice and Bob, signed up; Alice knows Bob by name, and with `accepted` Bob has accepted to be written to."""

    def __init__(self, system: RealSystem, folder: Path, *, accepted: bool = True) -> None:
        self.alice, self.bob = str(folder / "alice"), str(folder / "bob")
        self.alice_address, self.bob_address = (
            str(system.sign_up(folder / name, f"{name}@{folder.name}.org").profiles[0].id) for name in ("alice", "bob")
        )
        system.run("contacts", "add", "bob", self.bob_address, "--home", self.alice)
        if accepted:
            system.befriend(folder / "alice", folder / "bob", varde.ProfileId(UUID(self.bob_address)))


@pytest.fixture
def pair(system: RealSystem, tmp_path: Path) -> Pair:
    """Two people."""
    return Pair(system, tmp_path)


def test_signup_on_a_terminal_asks_for_the_code_and_shows_the_phrase_once(system: RealSystem, tmp_path: Path) -> None:
    """A person is told where the code is, may mistype it, and gets an address and 24 words."""
    home = str(tmp_path / 'it\'s "my" $home, blåbær')
    with open_terminal(system.environ(), "signup", "--home", home) as terminal:
        terminal.read_until("E-mail address: ")
        terminal.type("typed@example.org\n")
        told = terminal.read_until("Code: ")
        assert "No mail server here" in told
        assert str(system.data / "outbox") in told
        terminal.type("my code\n")
        terminal.read_until("That is not a code: it has eight digits.")
        terminal.read_until("Code: ")
        terminal.type("0000-0000\n")
        terminal.read_until("That is not the code. Try again.")
        terminal.read_until("Code: ")
        terminal.type(f"{system.code_for('typed@example.org')}\n")
        words = words_in(terminal.read_until("press Enter"))
        terminal.type("\x03")
        assert terminal.wait_end() == 130
    who = json.loads(system.run("whoami", "--home", home, "--json"))
    # Nothing is lost: the same again goes on where it was, and needs no other code.
    with open_terminal(system.environ(), "signup", "--home", home, "--email", "typed@example.org") as terminal:
        told = terminal.read_until("press Enter")
        assert words_in(told) == words
        assert who["profiles"][0]["id"] in told
        terminal.type("\n")
        for number in range(3):
            terminal.read_until("Word ")
            asked = int(terminal.read_until(": ").strip(": "))
            if number == 1:
                terminal.type("zoo zoo\n")
                terminal.read_until(f"That is not word {asked}.")
                terminal.read_until(f"Word {asked}: ")
            terminal.type(f" {words[asked - 1].upper()} \n")
        terminal.read_until("Next: ")
        assert terminal.wait_end() == 0
    assert "already holds a device" in system.run("signup", "--home", home, "--email", "typed@example.org", code=1)


def words_in(shown: str) -> list[str]:
    """The numbered words of a phrase, in their order."""
    found = sorted((int(number), word) for number, word in re.findall(r"\b(\d+)\. ([a-z]+)", shown))
    assert [number for number, _ in found] == list(range(1, 25))
    return [word for _, word in found]


def test_ctrl_c_at_the_code_ends_it(system: RealSystem, tmp_path: Path) -> None:
    """With 130, as everywhere, and nothing is left that would hinder the next try."""
    with open_terminal(system.environ(), "signup", "--home", str(tmp_path / "home"), "--email", "c@x.org") as terminal:
        terminal.read_until("Code: ")
        terminal.type("\x03")
        assert terminal.wait_end() == 130


def test_a_passphrase_protects_a_home(system: RealSystem, tmp_path: Path) -> None:
    """With --passphrase there is no key file; it is asked for twice at first, then whenever the home is used."""
    home = str(tmp_path / "home")
    with open_terminal(
        system.environ(), "signup", "--home", home, "--email", "pass@x.org", "--passphrase", "--yes"
    ) as terminal:
        for prompt in ("Passphrase of the local store: ", "Repeat for confirmation: "):
            terminal.read_until(prompt)
            terminal.type("correct horse\n")
        terminal.read_until("Code: ")
        terminal.type(f"{system.code_for('pass@x.org')}\n")
        assert terminal.wait_end() == 0
    assert not (tmp_path / "home" / "key").exists()
    with open_terminal(system.environ(), "whoami", "--home", home) as terminal:
        terminal.read_until("Passphrase of the local store: ")
        terminal.type("wrong\n")
        terminal.read_until("this passphrase or key file does not open the store")
        assert terminal.wait_end() == 1
    with open_terminal(system.environ() | {"VARDE_PASSPHRASE": "correct horse"}, "whoami", "--home", home) as terminal:
        terminal.read_until("account")
        assert terminal.wait_end() == 0


def test_what_is_sent_is_listened_to_once(system: RealSystem, tmp_path: Path) -> None:
    """`send` waits for the ack, not for who has yet to accept; `listen` prints each message once, and ends by count."""
    pair = Pair(system, tmp_path, accepted=False)
    assert system.run("send", "bob", "see you", "at eight", "--home", pair.alice) == "waits until they accept\n"
    (request,) = json.loads(system.run("requests", "--home", pair.bob, "--json"))
    assert request["text"] == "see you at eight"
    system.run("accept", request["conversation"], "--home", pair.bob)
    sent = json.loads(system.run("send", "bob", "--home", pair.alice, "--json", text="two\nlines\n"))
    one = ("--conversation", request["conversation"])
    events = [json.loads(line) for line in system.run("listen", "--home", pair.bob, *one, "--count", "2").splitlines()]
    assert [(each["type"], each["seq"], each["text"]) for each in events] == [
        ("message", 4, "see you at eight"),
        ("message", 5, "two\nlines"),
    ]
    assert {each["conversation"] for each in events} == {sent["conversation"]}
    system.run("send", "bob", "three", "--home", pair.alice)
    (line,) = system.run(
        "listen", "--home", pair.bob, "--conversation", sent["conversation"], "--count", "1"
    ).splitlines()
    assert json.loads(line)["text"] == "three"


def test_listen_prints_at_once_and_ends_on_ctrl_c(system: RealSystem, pair: Pair) -> None:
    """A script that reads the pipe sees each line as it comes; Ctrl-C ends it with 130 and without words."""
    command = (sys.executable, "-m", "varde_cli", "listen", "--home", pair.bob, "--all")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=system.environ()
    ) as listening:
        assert listening.stdout is not None
        assert listening.stderr is not None
        assert json.loads(listening.stdout.readline()) == {"type": "connected", "reconnected": False}
        system.run("send", "bob", "now", "--home", pair.alice)
        while (events := json.loads(listening.stdout.readline()))["type"] != "message":
            pass
        assert events["text"] == "now"
        listening.send_signal(signal.SIGINT)
        assert listening.wait(TIMEOUT) == 130
        assert "Traceback" not in listening.stderr.read()


def test_two_people_chat_side_by_side(system: RealSystem, pair: Pair) -> None:
    """What one types the other sees as it comes; several pasted lines hide nothing; marks say who has read."""
    with open_terminal(system.environ(), "chat", "--home", pair.bob) as bob:
        bob.see("find>", "● online")
        with open_terminal(system.environ(), "chat", "bob", "--home", pair.alice) as alice:
            alice.see("▌bob", "● online")
            alice.type("Hi Bob")
            alice.see("> Hi Bob")
            alice.type("\r")
            alice.see("Hi Bob ✓")
            bob.see("Hi Bob", " 1 ")
            bob.type("\r")
            bob.see("── unread")
            alice.see("Hi Bob ✓✓")
            alice.type("\x1b[200~one\ntwo\nthree\n\x1b[201~")
            alice.see("three")
            bob.see("typing …")
            for text in ("first of bob", "second of bob"):
                bob.type(text)
                bob.see(f"> {text}")
                bob.type("\r")
                bob.see(f"{text} ✓")
            alice.see("Hi Bob", "first of bob", "second of bob", "> one", "three")
            alice.type("\r")
            alice.see("Hi Bob", "first of bob", "second of bob", "one", "three")
            bob.see("Hi Bob", "first of bob", "second of bob", "one", "two", "three")
            alice.type("\x1b[A+1")
            bob.see("👍 ")
            bob.type("\x1b[A")
            bob.see("r reply")
            bob.type("r")
            bob.see("reply>")
            bob.type("indeed\r")
            alice.see("│ you: one two three", "indeed")
            alice.type("\x06")
            alice.see("search>")
            alice.type("second\r")
            alice.see("1 found")
            alice.type("\r")
            alice.see("r reply")
            alice.type("\x1b")
            alice.see("Enter send")
            alice.type("/members\r")
            alice.see(pair.bob_address)
            system.run("send", "bob", "from a script", "--home", pair.alice)
            bob.see("from a script")
            assert "from a script" in system.run("chat", "bob", "--home", pair.alice), "a second chat of the home"
            alice.type("/quit\r")
            assert alice.wait_end() == 0
        bob.type("\x03")
        assert bob.wait_end() == 130


def test_a_chat_shows_what_was_said_before(system: RealSystem, pair: Pair) -> None:
    """History comes first; over pipes every line is sent, and the end of the input ends the chat."""
    shown = system.run("chat", "bob", "--home", pair.alice, text="one\n\n/who\ntwo\n")
    assert [line.split(" ", 1)[1].split() for line in shown.splitlines() if "✓" in line] == [
        ["you", "one", "✓"],
        ["you", "two", "✓"],
    ]
    assert "conversation " in shown
    system.run("listen", "--home", pair.bob, "--count", "2")
    shown = system.run("chat", "--home", pair.bob)
    assert shown.index("one") < shown.index("two") < shown.index("── now")


def test_a_chat_goes_on_when_the_relay_was_killed(system: RealSystem, pair: Pair) -> None:
    """What is written while nothing is there waits, and goes out when the relay is back, without anybody's help."""
    starts = system.ready["starts"]["relay"]
    with open_terminal(system.environ(), "chat", "bob", "--home", pair.alice) as alice:
        alice.see("▌bob", "● online")
        alice.type("before\r")
        alice.see("before ✓")
        subprocess.run(("kill", "-9", str(system.ready["pids"]["relay"])), check=True)
        alice.see("○ offline")
        alice.type("meanwhile\r")
        alice.see("meanwhile ✓")
        alice.type("\x04")
        assert alice.wait_end() == 0
    system.wait_line("relay is back", starts)
    events = system.run("listen", "--home", pair.bob, "--count", "2").splitlines()
    assert [json.loads(line)["text"] for line in events] == ["before", "meanwhile"]


def test_groups_are_made_and_changed(system: RealSystem, pair: Pair, tmp_path: Path) -> None:
    """Create, invite, accept, members, remove, leave: each says what it did, and the others can talk there."""
    carol = str(tmp_path / "carol")
    address = str(system.sign_up(tmp_path / "carol", f"carol@{tmp_path.name}.org").profiles[0].id)
    group = system.run("group", "create", "bob", "--home", pair.alice).strip()
    system.run("group", "invite", group, address, "--role", "admin", "--home", pair.alice)
    (asked,) = json.loads(system.run("requests", "--json", "--home", carol))
    assert asked["conversation"] == group
    for home in (carol, pair.bob):
        system.run("accept", group, "--home", home)
    system.run("send", group, "welcome", "--home", pair.alice)
    (events,) = system.run("listen", "--home", carol, "--conversation", group, "--count", "1").splitlines()
    assert json.loads(events)["text"] == "welcome"
    members = json.loads(system.run("members", group, "--home", carol, "--json"))["members"]
    roles = {pair.alice_address: "owner", pair.bob_address: "member", address: "admin"}
    assert {each["profile"]: each["role"] for each in members} == roles
    system.run("group", "remove", group, pair.bob_address, "--home", carol)
    system.run("leave", group, "--home", carol)
    shown = system.run("members", group, "--home", pair.alice)
    assert pair.bob_address not in shown
    assert address not in shown
    assert "owner" in shown


def test_a_further_device_and_its_end(system: RealSystem, tmp_path: Path) -> None:
    """24 words bring a second device; revoked, it is told so and can do nothing more."""
    email = f"dave@{tmp_path.name}.org"
    enrolled = system.sign_up(tmp_path / "dave", email)
    laptop = str(tmp_path / "laptop")
    system.run("login", "--home", laptop, "--email", email, "--request-only")
    system.run(
        *("login", "--home", laptop, "--email", email, "--phrase-file", "-", "--code", system.code_for(email)),
        text=enrolled.recovery_phrase,
    )
    home = ("--home", str(tmp_path / "dave"))
    found = json.loads(system.run("devices", *home, "--json"))
    (other,) = (each["device"] for each in found if not each["current"])
    assert other[-6:] in system.run("devices", "list", *home)
    assert len(json.loads(system.run("sessions", "--json", *home))) == 2
    system.run("devices", "manager", other, "--off", *home)
    system.run("devices", "until", other, "2099-01-31", *home)
    (line,) = (line for line in system.run("devices", *home).splitlines() if line.startswith(f"…{other[-6:]}"))
    assert "2099-01-3" in line
    assert "yes" not in line
    system.run("send", "self", "x", "--home", laptop)
    system.run("devices", "revoke", other, "--yes", *home)
    assert other[-6:] not in system.run("devices", *home)
    for words in (("send", "self", "x"), ("chat", "self"), ("devices",), ("listen", "--count", "1")):
        told = system.run(*words, "--home", laptop, code=1)
        assert told.startswith("varde: this device was revoked\n")
        assert "as a new device, in a new folder" in told
    system.run("logout", "--yes", *home)
    assert "Enrol again" in system.run("devices", *home, code=1)


def test_a_manager_adds_a_device_and_all_managers_replace_a_lost_phrase(system: RealSystem, tmp_path: Path) -> None:
    """Without the words: one code takes a device in, another one a new phrase, which is cancelled in its seven days."""
    email = f"frank@{tmp_path.name}.org"
    old = system.sign_up(tmp_path / "frank", email).recovery_phrase
    home, phone = ("--home", str(tmp_path / "frank")), ("--home", str(tmp_path / "phone"))
    system.run("login", *phone, "--email", email, "--by-manager", "--request-only")
    words = "login", *phone, "--email", email, "--by-manager", "--code", system.code_for(email), "--json"
    with open_terminal(system.environ(), *words) as terminal:
        code = json.loads(terminal.read_until("}"))["code"]
        assert "waits to be added" in system.run("devices", *home)
        added = system.run("devices", "add", code, "--yes", *home).split()[1].rstrip(".")
        assert json.loads(terminal.read_until("}]") + terminal.read_until("}"))["device"] == added
        assert terminal.wait_end() == 0
    system.run("send", "self", "from the phone", *phone)
    assert "no manager" in system.run("phrase", "lost", "--yes", *phone, code=1)
    system.run("devices", "manager", added, *home)
    shown = system.run("phrase", "lost", "--yes", *home)
    assert added in shown
    assert "announced" not in system.run("devices", *home)
    assert "Announced." in system.run("phrase", "sign", shown.split()[-1], *phone)
    assert "a new recovery phrase is announced" in system.run("devices", *home).lower()
    new = " ".join(line for line in shown.splitlines() if line.startswith("    ") and added not in line)
    assert "works from" in system.run("phrase", "finish", *home, text=new + "\n", code=1)
    system.run("phrase", "cancel", *phone)
    assert "announced" not in system.run("devices", *home)
    assert len(system.run("phrase", "replace", *home, text=f"{old}\n").split()) > 24


def test_a_device_that_was_signed_out_logs_in_again(system: RealSystem, tmp_path: Path) -> None:
    """In a folder with a device, `login` asks for the address and a code only, and the device is the one it was."""
    email = f"erin@{tmp_path.name}.org"
    system.sign_up(tmp_path / "erin", email)
    home = ("--home", str(tmp_path / "erin"))
    before = system.run("whoami", *home)
    (session,) = json.loads(system.run("sessions", "--json", *home))
    system.run("sessions", "revoke", session["session"], *home)
    assert "`varde login`" in system.run("devices", *home, code=1)
    assert "leave out --api" in system.run("login", *home, "--email", email, "--api", "http://127.0.0.1:1", code=2)
    with open_terminal(system.environ(), "login", *home) as terminal:
        terminal.read_until("E-mail address: ")
        terminal.type(f"{email}\n")
        told = terminal.read_until("Code: ")
        assert "holds a device already" in told
        assert "The 24 words" not in told
        terminal.type(f"{system.code_for(email)}\n")
        terminal.read_until("the same device as before")
        assert terminal.wait_end() == 0
    assert system.run("whoami", *home) == before
    (device,) = json.loads(system.run("devices", "--json", *home))
    assert device["current"]
    system.run("login", *home, "--email", email, "--request-only")
    shown = json.loads(system.run("login", *home, "--email", email, "--code", system.code_for(email), "--json"))
    assert shown["device"] == device["device"]
    system.run("logout", "--yes", *home)
    assert "Enrol again" in system.run("login", *home, "--email", email, code=1)


def test_names_stay_on_the_device(system: RealSystem, pair: Pair) -> None:
    """Contacts are added, listed, used and removed; what means something else cannot be a name."""
    assert json.loads(system.run("contacts", "--json", "--home", pair.alice)) == {"bob": pair.bob_address}
    assert pair.bob_address in system.run("contacts", "--home", pair.alice)
    for name in ("self", pair.alice_address):
        told = system.run("contacts", "add", name, pair.bob_address, "--home", pair.alice, code=1)
        assert "choose another name" in told.lower()
    system.run("contacts", "remove", "bob", "--home", pair.alice)
    assert "no contact named 'bob'" in system.run("send", "bob", "x", "--home", pair.alice, code=1)
    assert "No contacts yet" in system.run("contacts", "--home", pair.alice)


def test_both_see_the_same_safety_number(system: RealSystem, pair: Pair) -> None:
    """Two people who compare what `verify` shows see the same digits."""
    system.run("contacts", "add", "alice", pair.alice_address, "--home", pair.bob)
    shown = [
        system.run("verify", who, "--home", home).split("\n", 1)[1]
        for who, home in (("bob", pair.alice), ("alice", pair.bob))
    ]
    assert shown[0] == shown[1]
    assert sum(each.isdigit() for each in shown[0]) == 60


def test_an_unknown_address_is_refused_in_words(system: RealSystem, pair: Pair) -> None:
    """Whoever writes to nobody is told so."""
    nobody = "0192f0c1-7b3e-7c55-9d1a-0e4b7e1d2c3f"
    assert "The profile does not exist" in system.run("send", nobody, "x", "--home", pair.alice, code=1)


def test_notes_to_oneself(system: RealSystem, pair: Pair) -> None:
    """`self` is a conversation like any other."""
    system.run("send", "self", "buy milk", "--home", pair.alice)
    assert "notes to yourself" in system.run("chat", "self", "--home", pair.alice)
    assert "buy milk" in system.run("conversations", "--home", pair.alice)


def test_words_are_found_on_the_device(system: RealSystem, pair: Pair) -> None:
    """Own ones and others', everywhere or in one conversation; what is found is JSON for programs."""
    system.run("send", "bob", "blåbærtur i morgen?", "--home", pair.alice)
    system.run("send", "self", "kjøp blåbær", "--home", pair.alice)
    shown = system.run("search", "BLÅBÆR", "--home", pair.alice)
    assert [line.split("  ")[1:] for line in shown.splitlines()] == [
        ["you", "kjøp blåbær"],
        ["you", "blåbærtur i morgen?"],
    ]
    assert "tur i" in system.run("search", "blåbær", "--in", "bob", "--home", pair.alice)
    assert "kjøp" not in system.run("search", "blåbær", "--in", "bob", "--home", pair.alice)
    (first,) = json.loads(system.run("search", '"kjøp blåbær"', "--json", "--home", pair.alice))
    assert (first["message"]["text"], first["hits"]) == ("kjøp blåbær", [[0, 11]])
    assert system.run("search", "tyttebær", "--home", pair.alice) == ""
    assert "too long" in system.run("search", "x" * 1_001, "--home", pair.alice, code=1)


def test_a_daemon_owns_the_home_and_others_talk_through_it(system: RealSystem, pair: Pair) -> None:
    """Commands and scripts work while it runs; killed, it leaves nothing in the way; it ends in order with SIGTERM."""
    command = (sys.executable, "-m", "varde_cli", "daemon", "--home", pair.alice)
    for kill in (True, False):
        with subprocess.Popen(command, env=system.environ(), stderr=subprocess.PIPE, text=True) as daemon:
            assert daemon.stderr is not None
            assert "ready on" in daemon.stderr.readline()
            said = system.run("send", "bob", "--home", pair.alice, text="through the daemon")
            assert said.startswith("sent as number ")
            assert "bob" in system.run("contacts", "--home", pair.alice)
            assert "nobody" in system.run("send", "nobody", "hei", "--home", pair.alice, code=1)
            assert f"process {daemon.pid}" in system.run("daemon", "--home", pair.alice, code=1)
            with socket.socket(socket.AF_UNIX) as script, script.makefile("rw") as lines:
                script.settimeout(TIMEOUT)
                script.connect(f"{pair.alice}/daemon.sock")
                lines.write('{"jsonrpc": "2.0", "id": 1, "method": "subscribe"}\n')
                lines.flush()
                assert json.loads(lines.readline())["result"] is None
                system.run("send", pair.alice_address, "hei", "--home", pair.bob)
                while (event := json.loads(lines.readline())["params"]).get("text") != "hei":
                    assert event
            daemon.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            assert daemon.wait(TIMEOUT) == (-signal.SIGKILL if kill else 130)
    texts = [json.loads(line)["text"] for line in system.run("listen", "--home", pair.bob, "--count", "2").splitlines()]
    assert texts == ["through the daemon"] * 2
