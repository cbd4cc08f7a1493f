"""`varde log`, `varde audit` and `varde witness`: the transparency log for its people, auditors and witnesses."""

import signal
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import click
import msgspec
import trio

import varde
from varde.http import Http, check_url
from varde.log_audit import Audited, audit
from varde.store.store import hold_lock
from varde.witness import REQUEST_BYTES, Answer, Witness
from varde_cli.options import Home, home_options
from varde_cli.output import json_option, print_json
from varde_cli.run import Failure, run_client, run_connected
from varde_cli.streams import here
from varde_contract.errors import PeerFault
from varde_contract.transparency.policy import Policy, parse_policy

LOG_PATH: Final = "/v1/log/"
CLIENT_SECONDS: Final = 10
"""For a client of the witness to send its request."""

policy_option = click.option(
    "--policy", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A tlog-policy file."
)


@click.group()
def log() -> None:
    """The transparency log of your server: every list of your devices is in it, for everybody the same.

    Examples:
      varde log watch
      varde log watch --once --json
      varde log prove 3 > list-3.tlog-proof
    """


@log.command()
@click.option("--once", is_flag=True, help="Show what is there, and end.")
@click.option("--every", default=60, show_default=True, type=click.IntRange(1), help="Seconds between two looks.")
@json_option
@home_options()
def watch(home: Home, *, once: bool, every: int, as_json: bool) -> None:
    """Tell every change of your own devices, as the log has it: also one that the server does not show this device."""

    async def run(client: varde.Client) -> None:
        number = 1
        while True:
            for each in await client.logged_lists(number):
                number = each.number + 1
                if as_json:
                    print_json(each)
                else:
                    known = "known to this device" if each.known else "THIS DEVICE HAS NOT SEEN IT"
                    click.echo(f"list {each.number}: entry {each.index}, digest {each.digest.hex()[:16]}..., {known}")
            if once:
                return
            await trio.sleep(every)

    run_connected(home, run)


@log.command()
@click.argument("number", type=click.IntRange(1))
@home_options()
def prove(home: Home, number: int) -> None:
    """Print the proof that list NUMBER of your devices is in the log, as a file that stands alone (C2SP tlog-proof)."""

    async def run(client: varde.Client) -> None:
        click.echo((await client.prove_list(number)).decode(), nl=False)

    run_connected(home, run)


@log.command("policy")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--none", "remove", is_flag=True, help="Demand nothing any more.")
@home_options()
def policy_command(home: Home, file: Path | None, *, remove: bool) -> None:
    """Show what this device demands of the log, or demand what FILE says, a tlog-policy.

    It names the log's keys, and witnesses of whom so many must have cosigned the log within an hour. Otherwise nothing
    is sent.
    """
    text = None if file is None else file.read_text(encoding="utf-8")

    async def run(client: varde.Client) -> str:
        await trio.lowlevel.checkpoint()
        if text is not None or remove:
            client.set_log_policy(text)
        return client.log_policy or "No policy: the log's own keys are demanded, and no witnesses.\n"

    click.echo(run_connected(home, run), nl=False)


@log.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_options()
def forget(home: Home, *, yes: bool) -> None:
    """Believe the log that the server shows next, whatever was seen before. Ask its operator for the reason first."""
    if not yes:
        click.confirm("Forget what was seen of the log, and believe the one that is shown next?", abort=True)

    async def run(client: varde.Client) -> None:
        client.forget_log()
        await trio.lowlevel.checkpoint()

    run_connected(home, run)
    click.echo("Forgotten.")


@click.command("audit")
@click.option(
    "--api", "api_url", metavar="URL", envvar="VARDE_API_URL", required=True, help="The server's API.  [$VARDE_API_URL]"
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to keep what was found: the log must continue it the next time, with the same keys.",
)
@policy_option
@json_option
def audit_command(api_url: str, state: Path | None, policy: Path | None, *, as_json: bool) -> None:
    """Read the whole transparency log of a server and check it. Anybody may; no account is needed.

    Examples:
      varde audit --api https://chat.example.org --state audit.json
      varde audit --api https://chat.example.org --policy chat.policy
    """
    api_url = check_url(api_url)
    last = _read_state(state)
    trusted = None if policy is None else _read_policy(policy)

    async def run() -> Audited:
        async with Http(api_url) as http:
            return await audit(lambda path: http.read(LOG_PATH + path), last, trusted)

    found = run_client(run)
    if state is not None:
        state.write_bytes(msgspec.json.encode(found) + b"\n")
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.size} entries of {found.accounts} accounts are whole; root {found.root.hex()}")
    if last is None and policy is None:
        click.echo("The log's keys were believed as the server shows them (--json has them whole, for a policy):")
        for vkey in found.vkeys:
            name, key_id, _ = vkey.split("+", 2)  # the rest is the key itself: of ML-DSA, 2,600 characters
            click.echo(f"  log {name}+{key_id}")


@click.command()
@click.option("--home", required=True, type=click.Path(path_type=Path, file_okay=False), help="Key and memory.")
@click.option("--policy", required=True, type=click.Path(path_type=Path, exists=True), help="Names the logs to cosign.")
@click.option("--name", help="The witness's name, when it is made: like a URL without its scheme.")
@click.option("--bind", default="127.0.0.1:8410", show_default=True, help="Where it listens. TLS ends in front of it.")
def witness(home: Path, policy: Path, name: str | None, bind: str) -> None:
    """Cosign the logs of others: each checkpoint that continues the one before (C2SP tlog-witness).

    It prints its keys as lines for a policy file, and where it listens.

    Examples:
      varde witness --home witness --policy logs.policy --name witness.example.org/varde
    """
    host, _, port = bind.rpartition(":")
    if not (port.isascii() and port.isdigit()):
        raise click.BadParameter("must be host:port", param_hint="--bind")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with hold_lock(home):
        cosigner = Witness(home, _read_policy(policy), name)
        with ThreadingHTTPServer((host, int(port)), _handler(cosigner)) as server:
            for number, signer in enumerate(cosigner.signers, start=1):
                click.echo(f"witness {signer.key.name.replace('/', '-')}-{number} {signer.key}")
            click.echo("listening on http://{}:{}".format(*server.server_address[:2]))
            server.serve_forever()


def _handler(cosigner: Witness) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_SECONDS
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._reply(self._answer())

        def do_GET(self) -> None:
            self._reply(Answer(HTTPStatus.NOT_FOUND))

        def log_message(self, *_: object) -> None:
            """Say nothing: requests are nobody's business, and there may be many."""

        def _answer(self) -> Answer:
            self.close_connection = True
            length = self.headers.get("Content-Length", "")
            if self.path.rpartition("/")[2] != "add-checkpoint":
                return Answer(HTTPStatus.NOT_FOUND)
            if not (length.isascii() and length.isdigit()):
                return Answer(HTTPStatus.LENGTH_REQUIRED)
            if int(length) > REQUEST_BYTES:
                return Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return cosigner.add_checkpoint(self.rfile.read(int(length)), int(time.time()))

        def _reply(self, answer: Answer) -> None:
            body = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _read_policy(path: Path) -> Policy:
    try:
        return parse_policy(here(path).read_text(encoding="utf-8"))
    except (PeerFault, UnicodeDecodeError) as fault:
        raise Failure(f"{path}: {fault}", "docs/transparency.md shows a policy file") from None


def _read_state(path: Path | None) -> Audited | None:
    try:
        return None if path is None or not path.exists() else msgspec.json.decode(path.read_bytes(), type=Audited)
    except msgspec.MsgspecError:
        raise Failure(f"{path} is not what an audit has written") from None
