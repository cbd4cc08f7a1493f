"""ejabberd: XMPP over WebSocket, stream management, offline storage in Mnesia.

It is started as plain Erlang, without `ejabberdctl` and without a name in a cluster: in a folder of its own, as whoever
runs the benchmark. What its acks promise beside Varde's is in the decision page on the durable peers.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.durable.dialect import Tally
from bench.durable.pipe import WebSocketPipe
from bench.durable.served import (
    HOST,
    Missing,
    Served,
    find_program,
    free_port,
    listens,
    run_process,
    wait_until,
)
from bench.durable.xmpp import HOST as DOMAIN
from bench.durable.xmpp import PASSWORD, XmppDialect
from loadtest.client import websocket

NAME: Final = "ejabberd"
_PATH: Final = "/ws"
_SUBPROTOCOL: Final = "xmpp"

CONFIG: Final = """\
loglevel: error
hosts: [{domain}]
listen:
  - port: {port}
    ip: "{host}"
    module: ejabberd_http
    backlog: 1024
    request_handlers: {{{path}: ejabberd_http_ws}}
websocket_timeout: 3600
auth_method: internal
auth_password_format: plain
default_db: mnesia
shaper_rules:
  max_user_sessions: 10
  max_user_offline_messages: 1000000
access_rules:
  c2s: {{allow: all}}
modules:
  mod_offline: {{db_type: mnesia, access_max_user_messages: max_user_offline_messages}}
  mod_stream_mgmt: {{max_ack_queue: infinity, ack_timeout: infinity, resend_on_timeout: true}}
"""
_BEGIN: Final = """\
{{ok, _}} = application:ensure_all_started(ejabberd),
[ejabberd_auth:try_register(<<"u", (integer_to_binary(N))/binary>>, <<"{domain}">>, <<"{password}">>)
 || N <- lists:seq(0, {last})],
ok = file:write_file("{ready}", <<>>).
"""


@contextmanager
def open_ejabberd(folder: Path, connections: int) -> Iterator[Served]:
    """Run a server in `folder` with an account for each connection. Raises Missing and ServerFault."""
    erlang = find_program("erl", "ejabberd")
    libraries = _find_libraries(Path(find_program("ejabberdctl", "ejabberd")))
    port, ready, log = free_port(), folder / "ready", folder / "erlang.log"
    config = folder / "ejabberd.yml"
    ready.unlink(missing_ok=True)  # of an earlier run in the same folder
    config.write_text(CONFIG.format(domain=DOMAIN, port=port, host=HOST, path=_PATH))
    begin = _BEGIN.format(domain=DOMAIN, password=PASSWORD, last=connections - 1, ready=ready)
    command = (erlang, "+K", "true", "+P", "250000", "+Q", "65536", "-noinput", *_mnesia(folder), "-eval", begin)
    with run_process(command, environ=_environ(folder, config, libraries), log=log) as process:
        wait_until(ready.exists, process, log)
        wait_until(lambda: listens((HOST, port)), process, log)
        yield _served(port, process.pid, connections)


def _find_libraries(control: Path) -> str:
    """The folder with ejabberd's code, which differs by the kind of machine: the control script names it."""
    for line in control.read_text(errors="replace").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "ERL_LIBS":
            return value.strip("'\"")
    raise Missing(f"{control} does not say where ejabberd's code is: apt-get install ejabberd")


def _mnesia(folder: Path) -> tuple[str, ...]:
    return ("-mnesia", "dir", f'"{folder / "mnesia"}"')


def _environ(folder: Path, config: Path, libraries: str) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "HOME": str(folder),
        "ERL_LIBS": libraries,
        "ERL_CRASH_DUMP": str(folder / "crash.dump"),
        "EJABBERD_CONFIG_PATH": str(config),
        "EJABBERD_LOG_PATH": str(folder / "ejabberd.log"),
    }


def _served(port: int, pid: int, connections: int) -> Served:
    authority = f"{HOST}:{port}"

    def dial(number: int, tally: Tally) -> XmppDialect:
        return XmppDialect(number, WebSocketPipe(authority, _PATH, _SUBPROTOCOL, opcode=websocket.TEXT), tally)

    settings = {
        "transport": "WebSocket",
        "durability": "the ack means handled, in memory; on disk (Mnesia, not forced) only for who is offline",
        "connections": str(connections),
    }
    return Served(NAME, (HOST, port), dial, pid, {}, settings)
