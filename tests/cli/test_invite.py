"""`varde invite`, `varde join`, user names: links as text, QR codes and pictures, and two people who meet by them."""

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import segno

from tests.cli.pseudo_terminal import open_terminal
from tests.contract.test_links import GROUP, PERSON
from tests.ids import id_of
from tests.supervisor.real_system import RealSystem
from varde.events import ContactShared, LinkUsed
from varde_cli.chat.notices import notice
from varde_cli.entry import main
from varde_cli.qr import QUIET, draw_qr, write_png
from varde_cli.run import Failure
from varde_contract.ids import AccountId, ClientId, ConversationId, DeviceId, ProfileId

LINK = PERSON.url
WIDE = 200


def modules(drawn: str, *, dark: str) -> list[list[int]]:
    """The modules that somebody sees, 1 for dark, without the row that may be added at the end."""
    rows: list[list[int]] = []
    for line in drawn.splitlines():
        plain = line.removeprefix("\x1b[30;107m").removesuffix("\x1b[0m")
        for halves in ("▀█", "▄█"):
            rows += [[int((each in halves) == (dark == "drawn")) for each in plain]]
    return rows[: len(rows[0])]


@pytest.mark.parametrize(
    ("environ", "dark"), [({}, "drawn"), ({"NO_COLOR": "1"}, "background"), ({"NO_COLOR": ""}, "drawn")]
)
def test_a_qr_code_is_drawn_as_it_is(environ: dict[str, str], dark: str) -> None:
    """Black on white where there are colours, else in those of a dark terminal: each module is where it belongs."""
    drawn = draw_qr(LINK, environ, WIDE, "utf-8")
    assert drawn is not None
    wanted = [list(row) for row in segno.make_qr(LINK, error="l").matrix_iter(border=QUIET)]
    assert modules(drawn, dark=dark) == wanted
    assert ("\x1b" in drawn) == (dark == "drawn")


def test_every_link_fits_eighty_columns() -> None:
    """Of either kind, from a host with a long name."""
    for link in (PERSON, GROUP):
        drawn = draw_qr(link.url.replace("varde.example", "chat." + "a" * 40 + ".example.org"), {}, 80, "utf-8")
        assert drawn is not None


@pytest.mark.parametrize(
    ("environ", "columns", "encoding"),
    [
        ({"TERM": "dumb"}, WIDE, "utf-8"),
        ({}, 40, "utf-8"),
        ({}, WIDE, "ascii"),
        ({}, WIDE, "iso-8859-1"),
        ({}, WIDE, "no-such"),
    ],
)
def test_what_would_look_like_no_qr_code_is_not_drawn(environ: dict[str, str], columns: int, encoding: str) -> None:
    """A dumb terminal, a narrow one, one that has no half blocks."""
    assert draw_qr(LINK, environ, columns, encoding) is None


def test_a_picture_is_for_its_owner_alone_and_replaces_nothing(tmp_path: Path) -> None:
    """It holds the secret of the link."""
    path = tmp_path / "me.png"
    write_png(LINK, path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(Failure, match="already"):
        write_png(GROUP.url, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello", "no invite link"),
        (LINK[:-20], "cut off"),
        (LINK[:-1] + ("A" if LINK[-1] != "A" else "Q"), "wrong"),
        ("https://varde.example/i#" + "A" * 1_000_000, "far too long"),
        ("https://varde.example/i#\x1b[31mred", "cut off"),
        ("0192f0c1-7b3e-7c55-9d1a-0e4b7e1d2c3f", "no invite link"),
    ],
)
def test_join_says_what_is_wrong_with_a_link(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, told: str
) -> None:
    """In words, with nothing of it, before anybody is asked or connected to."""
    monkeypatch.setenv("VARDE_HOME", str(tmp_path / "none"))
    assert main(["join", text, "--yes"]) == 1
    said = capsys.readouterr().err
    assert told in said
    assert "\x1b[31m" not in said
    assert len(said) < 300


def test_who_has_no_device_is_told_where_to_sign_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At the server of the link."""
    monkeypatch.setenv("VARDE_HOME", str(tmp_path / "none"))
    assert main(["join", LINK]) == 1
    assert "varde signup --api https://varde.example" in capsys.readouterr().err


def test_a_chat_says_who_passed_whom_on_and_who_came() -> None:
    """Each in one sentence."""
    who = ProfileId(id_of(1))
    said: dict[str, Any] = {
        "conversation": ConversationId(id_of(2)),
        "seq": 3,
        "client_id": ClientId(id_of(4)),
        "profile": who,
    }
    said |= {"device": DeviceId(id_of(5)), "account": AccountId(id_of(6)), "mine": False}
    said |= {"written": datetime.now(UTC), "received": datetime.now(UTC)}
    card = ContactShared(
        **said, contact=ProfileId(id_of(7)), name="kari", contact_account=AccountId(id_of(8)), root_hash=bytes(32)
    )
    told = notice(card, lambda _: "alice")
    assert told is not None
    assert "alice passed on a contact, kari" in told[0]
    came = notice(LinkUsed(said["conversation"], who, said["account"]), lambda _: "bob")
    assert came == ("bob came by a link of yours", False)


@pytest.mark.parametrize("time", ["0d", "7", "d", "-1d", "1y", "99999d", "\u0661d", "7d\n", "1.5h"])
def test_a_time_is_a_number_and_a_letter(capsys: pytest.CaptureFixture[str], time: str) -> None:
    """Whatever else is typed is told as that."""
    assert main(["invite", "create", "--expires", time]) == 2
    assert "30m, 12h, 7d" in capsys.readouterr().err


@pytest.mark.xdist_group("real-system")
def test_two_people_meet_by_a_link(real_system: RealSystem, tmp_path: Path) -> None:
    """Made, photographed, used from standard input, accepted when the other comes back; listed, shown and revoked."""
    alice, bob = str(tmp_path / "alice"), str(tmp_path / "bob")
    for name in ("alice", "bob"):
        real_system.sign_up(tmp_path / name, f"{name}@{tmp_path.name}.org")
    picture = tmp_path / "me.png"
    made = real_system.run("invite", "create", "--home", alice, "--png", str(picture), "--uses", "2")
    url = made.strip()
    assert url.startswith(f"{real_system.ready['api']}/i#")
    assert picture.exists()
    (listed,) = json.loads(real_system.run("invite", "--json", "--home", alice))
    assert (listed["uses"], listed["url"]) == (2, url)
    assert real_system.run("invite", "show", listed["code"], "--home", alice).strip() == url
    asked = real_system.run("join", "-", "--yes", "--name", "alice", "--home", bob, text=url + "\n")
    assert "asked" in asked
    real_system.run("invite", "--home", alice)  # while any command of hers runs
    real_system.run("send", "alice", "hei", "--home", bob)
    heard = [json.loads(each) for each in real_system.run("listen", "--count", "1", "--home", alice).splitlines()]
    assert [each["text"] for each in heard if each["type"] == "message"] == ["hei"]
    assert "revoked" in real_system.run("invite", "revoke", listed["code"], "--home", alice)
    refused = real_system.run("join", url, "--yes", "--home", bob, code=1)
    assert "not good any more" in refused
    elsewhere = url.replace(real_system.ready["api"], "https://chat.example.org")
    assert "https://chat.example.org" in real_system.run("join", elsewhere, "--yes", "--home", bob, code=1)


@pytest.mark.xdist_group("real-system")
def test_join_asks_on_a_terminal_and_invite_draws(real_system: RealSystem, tmp_path: Path) -> None:
    """Where a link leads is shown first; who says no has used nothing. On a terminal the QR code is there."""
    for name in ("carol", "dave"):
        real_system.sign_up(tmp_path / name, f"{name}@{tmp_path.name}.org")
    carol, dave = str(tmp_path / "carol"), str(tmp_path / "dave")
    with open_terminal(real_system.environ(), "invite", "create", "--home", carol) as terminal:
        shown = terminal.read_until("Whoever has it can use it.")
        assert terminal.wait_end() == 0
    assert "cannot show it as a QR code" in shown or "█" in shown
    (listed,) = json.loads(real_system.run("invite", "--json", "--home", carol))
    with open_terminal(real_system.environ(), "join", listed["url"], "--home", dave) as terminal:
        terminal.read_until("to a person at")
        terminal.type("n\n")
        assert terminal.wait_end() == 130
    (still,) = json.loads(real_system.run("invite", "--json", "--home", carol))
    assert still == listed


@pytest.mark.xdist_group("real-system")
def test_a_user_name_is_set_and_found(real_system: RealSystem, tmp_path: Path) -> None:
    """And kept as a contact."""
    erin, frank = str(tmp_path / "erin"), str(tmp_path / "frank")
    who = real_system.sign_up(tmp_path / "erin", f"erin@{tmp_path.name}.org")
    real_system.sign_up(tmp_path / "frank", f"frank@{tmp_path.name}.org")
    name = f"erin.{os.urandom(6).hex()}"
    assert name in real_system.run("username", "set", name.upper(), "--home", erin).lower()
    assert real_system.run("username", "show", "--home", erin) == f"{name}\n"
    found = json.loads(real_system.run("find", f"@{name}", "--save", "erin", "--json", "--home", frank))
    assert found["profile"] == str(who.profiles[0].id)
    assert json.loads(real_system.run("contacts", "--json", "--home", frank)) == {"erin": found["profile"]}
    real_system.run("username", "remove", "--home", erin)
    assert "No user name" in real_system.run("username", "show", "--home", erin)
    assert "Nobody can be found" in real_system.run("find", name, "--home", frank, code=1)


@pytest.mark.xdist_group("real-system")
def test_a_group_of_three_without_an_id(real_system: RealSystem, tmp_path: Path) -> None:
    """By a link and by user names alone: joined, listed, accepted, written to, left."""
    homes = {name: str(tmp_path / name) for name in ("gina", "hans", "ida")}
    for name in homes:
        real_system.sign_up(tmp_path / name, f"{name}@{tmp_path.name}.org")
    user = f"ida.{os.urandom(6).hex()}"
    real_system.run("username", "set", user, "--home", homes["ida"])
    group = real_system.run("group", "create", f"@{user}", "--home", homes["gina"]).strip()[-6:]
    link = real_system.run("invite", "create", "--group", group, "--home", homes["gina"]).strip()
    assert "you are in" in real_system.run("join", link, "--yes", "--home", homes["hans"])
    shown = real_system.run("requests", "--home", homes["ida"]).splitlines()[1].split()[0]
    real_system.run("accept", shown, "--home", homes["ida"])
    real_system.run("send", group, "hei alle", "--home", homes["hans"])
    heard = real_system.run("listen", "--conversation", group, "--count", "1", "--home", homes["ida"])
    assert "hei alle" in heard
    real_system.run("group", "invite", group, f"@{user}", "--home", homes["gina"], code=1)  # she is in it
    assert len(json.loads(real_system.run("members", group, "--json", "--home", homes["ida"]))["members"]) == 3
    real_system.run("leave", group, "--home", homes["ida"])
    real_system.run("block", f"@{user}", "--home", homes["hans"])
    (device,) = json.loads(real_system.run("devices", "--json", "--home", homes["gina"]))
    assert "manager" in real_system.run("devices", "manager", device["device"][-6:], "--home", homes["gina"])
    real_system.run("devices", "profiles", device["device"][-6:], "PRIVAT", "--home", homes["gina"])


@pytest.mark.xdist_group("real-system")
def test_a_contact_is_passed_on_by_name(real_system: RealSystem, tmp_path: Path) -> None:
    """Jo knows Kim and Liv, and introduces Liv to Kim: shown with who vouches, kept under a name of Kim's own."""
    homes = {name: str(tmp_path / name) for name in ("jo", "kim", "liv")}
    for name in homes:
        address = real_system.sign_up(tmp_path / name, f"{name}@{tmp_path.name}.org").profiles[0].id
        if name != "jo":
            real_system.befriend(tmp_path / "jo", tmp_path / name, address)
            real_system.run("contacts", "add", name, str(address), "--home", homes["jo"])
    real_system.run("send", "kim", "--contact", "nobody", "--home", homes["jo"], code=1)
    real_system.run("send", "kim", "words", "--contact", "liv", "--home", homes["jo"], code=2)
    assert "sent" in real_system.run("send", "kim", "--contact", "liv", "--home", homes["jo"])
    heard = [
        json.loads(each) for each in real_system.run("listen", "--count", "1", "--home", homes["kim"]).splitlines()
    ]
    assert [(each["type"], each["name"]) for each in heard] == [("contact-shared", "liv")]
    jo = heard[0]["profile"][-6:]
    assert jo in real_system.run("contacts", "cards", "--home", homes["kim"])
    real_system.run("contacts", "add", "liv", jo, "--home", homes["kim"])
    assert "somebody else" in real_system.run("contacts", "accept", "liv", "--home", homes["kim"], code=1)
    assert "vouched" in real_system.run("contacts", "accept", "liv", "--as", "Liv L", "--home", homes["kim"])
    (line,) = (each for each in real_system.run("contacts", "--home", homes["kim"]).splitlines() if "Liv L" in each)
    assert line.split()[-1] == "liv"  # which is what Kim calls Jo


@pytest.mark.xdist_group("real-system")
def test_links_work_through_a_daemon_which_lets_people_in(real_system: RealSystem, tmp_path: Path) -> None:
    """It makes the link and the picture, accepts at once, and who was asked here is not asked there."""
    homes = {name: str(tmp_path / name) for name in ("mona", "nils", "olga")}
    for name in homes:
        real_system.sign_up(tmp_path / name, f"{name}@{tmp_path.name}.org")
    other = real_system.run("invite", "create", "--home", homes["olga"]).strip()
    command = (sys.executable, "-m", "varde_cli", "daemon", "--home", homes["mona"])
    with subprocess.Popen(command, env=real_system.environ(), stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        assert "ready on" in daemon.stderr.readline()
        picture = tmp_path / "me.png"
        url = real_system.run("invite", "create", "--png", str(picture), "--home", homes["mona"]).strip()
        assert picture.exists()
        assert "you are in" in real_system.run("join", "-", "--yes", "--home", homes["nils"], text=url)
        with open_terminal(real_system.environ(), "join", "--home", homes["mona"]) as terminal:
            terminal.read_until("The link: ")
            terminal.type(other + "\n")
            terminal.read_until("Use it?")
            terminal.type("y\n")
            terminal.read_until("asked. They accept")
            assert terminal.wait_end() == 0
        daemon.terminate()
        daemon.wait(30)
