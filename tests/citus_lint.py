"""Finds what would not work on Citus: keys, foreign keys and statements that know nothing of the distribution column.

There is no Citus server in the tests. This reads the migrations and every statement in `storage/` with PostgreSQL's own
parser. `python -m tests.citus_lint` says what it found. What docs/operations/citus.md says of tables is `TABLES` here.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pglast

ROOT: Final = Path(__file__).parents[1]
LOCAL: Final = "local"
"""A table that stays on the coordinator."""
BY_ACCOUNT: Final = (
    *("account", "profile", "device", "session", "revocation", "one_time_key", "fallback_key", "claim_window", "space"),
    *("device_list", "block", "profile_card", "link", "link_use"),
)
BY_CONVERSATION: Final = (
    *("conversation", "membership", "membership_chain", "membership_statement", "first_words", "message", "cipher"),
    *("delivery", "attachment", "epoch_head", "conversation_card"),
)
ON_COORDINATOR: Final = (
    *("sweeper", "job_lease", "store_epoch", "relay_node", "spending", "audit_entry"),
    *("log_pending", "log_entry", "log_tile", "log_checkpoint"),
)
TABLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(BY_ACCOUNT, "account_id"),
    **dict.fromkeys(BY_CONVERSATION, "conversation_id"),
    # Each is asked for one value: whose address, profile or device it is, and which conversation two profiles have.
    **dict.fromkeys(("address_account", "one_time_code", "code_window"), "address"),
    "profile_account": "profile_id",
    "device_account": "device_id",
    "pair_conversation": "low_profile_id",
    "name_account": "skeleton",
    **dict.fromkeys(ON_COORDINATOR, LOCAL),
}
JOIN: Final = "join"
"""In place of a table: what is joined does not lie together."""
SWEEP: Final = "the worker's, by time: it wants all nodes, and nobody waits for it"
EPOCH: Final = "once after a loss or a promotion, over all there is"
PEOPLE: Final = (
    "people stay on the coordinator at first, which sends what it found of them to the node of the conversation"
)
RARE: Final = "when somebody signs in, changes devices or asks a stranger: all nodes, but a few times a day and person"
BY_DEVICE: Final = (
    "BLOCKS: each sync of a device asks all nodes; first needs a copy of delivery that is distributed by device"
)
BY_PLACE: Final = "BLOCKS: rows are named by ctid; first needs a batch for each shard, and the function on its node"
EXCEPTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("chains._INVITATIONS", JOIN): RARE,
    ("chains._INVITATIONS", "first_words"): RARE,
    ("chains._INVITATIONS", "membership"): RARE,
    ("consent._INVITED_DEVICES", JOIN): PEOPLE,
    ("consent._PUT_WORDS", JOIN): PEOPLE,
    ("consent._REACH", JOIN): RARE,
    ("consent._REACH", "membership"): RARE,
    ("conversations._LIST_FOR", JOIN): BY_DEVICE,
    ("conversations._LIST_MANY", "delivery"): BY_DEVICE,
    ("devices._CONVERSATIONS", "membership"): RARE,
    ("devices._DUE", "device"): SWEEP,
    ("devices._MAY_READ_LISTS", JOIN): RARE,
    ("devices._MAY_READ_LISTS", "delivery"): RARE,
    ("devices._MAY_READ_LISTS", "device_account"): RARE,
    ("devices._REVOCATIONS", "revocation"): "each relay asks all nodes for the newest; they are few",
    ("conversations._RECENT_HEADS", "message"): "each relay of a fleet asks all nodes for the tail, once a second",
    ("epochs._KEEP_HEADS", "conversation"): EPOCH,
    ("epochs._MOVE_ROSTERS", "conversation"): EPOCH,
    ("positions._BEGIN", JOIN): PEOPLE,
    ("positions._END", JOIN): PEOPLE,
    ("positions_confirm", "delivery"): BY_PLACE,
    ("positions_forget", "cipher"): BY_PLACE,
    ("profiles._OWNERS", JOIN): PEOPLE,
    ("retention._CIPHERTEXTS", "cipher"): BY_PLACE,
    ("retention._CIPHERTEXTS", "message"): BY_PLACE,
    ("retention._CLAIM_WINDOWS", "claim_window"): SWEEP,
    ("retention._CODES", "one_time_code"): SWEEP,
    ("retention._CODE_WINDOWS", "code_window"): SWEEP,
    ("retention._MESSAGES", "message"): SWEEP,
    ("retention._ONE_TIME_KEYS", "one_time_key"): SWEEP,
    ("retention._REVOCATIONS", "revocation"): SWEEP,
    ("retention._SESSIONS", "session"): SWEEP,
    ("retention._STEP", "message"): SWEEP,
    ("rosters._ROSTERS", JOIN): PEOPLE,
    ("rosters._VIEW", JOIN): PEOPLE,
    ("sign_in._FIND_ACCOUNT", JOIN): PEOPLE,
    ("retention._LINKS", "link"): SWEEP,
    ("retention._USER_NAMES", "name_account"): SWEEP,
    ("transparency._ENQUEUE_ALL", "device_list"): "once, when an operator begins a new log",
    ("user_names._COUNT", "name_account"): RARE,
    ("user_names._FORGET", "name_account"): RARE,
    ("user_names._FREE", "name_account"): RARE,
}
"""What may be as it is, and why, by place and table. What begins with BLOCKS has to change before there is a Citus."""

Node = dict[str, Any]
QUERIES: Final = frozenset({"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt"})
TABLE: Final = re.compile(r"\b(?:FROM|JOIN|UPDATE|INTO) (?!SET\b)(\w+)")
STATEMENT: Final = re.compile(r"\s*(SELECT|WITH|INSERT INTO|UPDATE|DELETE FROM)\b")


class Finding(NamedTuple):
    """What is wrong, where (a function, or a name in a module), and with which table."""

    where: str
    table: str
    what: str


class Foreign(NamedTuple):
    """A foreign key of a table."""

    columns: Sequence[str]
    table: str


class Table(NamedTuple):
    """What the migrations make of a table: by name, unique keys, the primary one included, and foreign keys."""

    keys: dict[str, Sequence[str]]
    foreign: dict[str, Foreign]


def lint(
    migrations: Sequence[str], statements: Mapping[str, Sequence[str]], tables: Mapping[str, str]
) -> Iterator[Finding]:
    """Judge migrations, in their order, and statements by where they are."""
    schema, functions = _run_migrations(migrations)
    for name, table in schema.items():
        if name not in tables:
            yield Finding("schema", name, "is not in TABLES: what is it distributed by?")
        elif tables[name] != LOCAL:
            yield from _judge_table(name, table, tables)
    for where, texts in (*statements.items(), *functions.items()):
        for text in texts:
            for statement in _parse(text):
                yield from _judge_statement(where, statement, tables)


def _judge_table(name: str, table: Table, tables: Mapping[str, str]) -> Iterator[Finding]:
    column = tables[name]
    for key in table.keys.values():
        if column not in key:
            yield Finding(
                "schema", name, f"the key ({', '.join(key)}) has no {column}, and cannot be unique over all nodes"
            )
    for columns, other in table.foreign.values():
        # Tables that are distributed by columns of one name lie together, row by row.
        if tables.get(other) != column or column not in columns:
            yield Finding("schema", name, f"its foreign key to {other} leads to another node")


def _judge_statement(where: str, statement: Node, tables: Mapping[str, str]) -> Iterator[Finding]:
    named = {node["ctename"] for node in _walk(statement) if node["@"] == "CommonTableExpr"}
    for query in _walk(statement):
        if query["@"] == "InsertStmt":
            table = query["relation"]["relname"]
            if tables.get(table, LOCAL) not in {LOCAL, *(each["name"] for each in query["cols"])}:
                yield Finding(where, table, f"is inserted into without {tables[table]}")
        elif query["@"] in QUERIES:
            yield from _judge_query(where, list(_walk(query, within=True)), named, tables)


def _judge_query(where: str, level: Sequence[Node], named: set[str], tables: Mapping[str, str]) -> Iterator[Finding]:
    """Judge one level of a query: all but the queries inside of it."""
    sources = {
        node.get("alias", {}).get("aliasname", node["relname"]): (node["relname"], tables[node["relname"]])
        for node in level
        if node["@"] == "RangeVar" and node["relname"] not in named and tables.get(node["relname"], LOCAL) != LOCAL
    }
    joined = {each["sval"] for node in level if node["@"] == "JoinExpr" for each in node.get("usingClause") or ()}
    compared = [(_columns(one), _columns(other)) for node in level for one, other in _comparisons(node)]
    known = {column for sides in compared for side in sides for column in side} | {("", name) for name in joined}
    for alias, (table, column) in sources.items():
        if not known & {(alias, column), ("", column)}:
            yield Finding(where, table, f"is asked without {column}: every node is")
    columns = {column for _, column in sources.values()}
    if len(columns) > 1:
        yield Finding(where, JOIN, f"joins what is distributed by {' and by '.join(sorted(columns))}")
    # Tables that are only compared with each other are joined row by row, on every node. A value comes from a
    # parameter, from a query around this one, or from what else is in FROM: arrays, and what another query has found.
    given = any(
        any(name in columns for _, name in one) and not any(alias in sources for alias, _ in other)
        for sides in compared
        for one, other in (sides, sides[::-1])
    )
    others = any(node["@"] in {"RangeFunction", "RangeSubselect"} or node.get("relname") in named for node in level)
    if len(sources) > 1 and len(columns) == 1 and not given and not others:
        yield Finding(where, JOIN, f"is by {min(columns)}, of which no value is given: every node is asked")


def _comparisons(node: Node) -> Iterator[tuple[Any, Any]]:
    """The two sides of a comparison that may lead to one node."""
    if node["@"] == "A_Expr" and node["name"][0]["sval"] in {"=", "BETWEEN"}:
        yield node.get("lexpr"), node.get("rexpr")
    elif node["@"] == "SubLink" and "testexpr" in node:
        yield node["testexpr"], None


def _columns(side: Any) -> set[tuple[str, str]]:
    """The columns in an expression, with their tables if said."""
    fields = [part["fields"] for part in _walk(side, within=True) if part["@"] == "ColumnRef"]
    names = [[each.get("sval", "*") for each in parts] for parts in fields]
    return {("".join(parts[:-1]), parts[-1]) for parts in names}


def _walk(node: Any, *, within: bool = False) -> Iterator[Node]:
    """A node and all below it; `within`: not those of queries inside of it."""
    if isinstance(node, dict):
        if "@" in node:
            yield node
        below: Any = node.values()
    else:
        below = node if isinstance(node, list | tuple) else ()
    for each in below:
        if not (within and isinstance(each, dict) and each.get("@") in QUERIES):
            yield from _walk(each, within=within)


def _parse(text: str) -> list[Node]:
    return [raw(skip_none=True)["stmt"] for raw in pglast.parse_sql(text)]


def _run_migrations(migrations: Sequence[str]) -> tuple[dict[str, Table], dict[str, list[str]]]:
    """Return the tables, and the statements of each function, that there are after all of them."""
    schema: dict[str, Table] = {}
    functions: dict[str, list[str]] = {}
    for text in migrations:
        bodies = iter(pglast.parse_plpgsql(text))
        for node in _parse(text):
            if node["@"] == "CreateFunctionStmt":
                body = [part["query"] for part in _expressions(next(bodies))]
                functions[node["funcname"][-1]["sval"]] = [each for each in body if STATEMENT.match(each)]
            elif node["@"] == "DropStmt":
                for dropped in node["objects"]:
                    names = dropped if isinstance(dropped, list | tuple) else dropped["objname"]
                    name = names[-1]["sval"]
                    schema.pop(name, None)
                    functions.pop(name, None)
                    for table in schema.values():
                        table.keys.pop(name, None)
            else:
                _change_table(schema, node)
    return schema, functions


def _change_table(schema: dict[str, Table], node: Node) -> None:
    name = node.get("relation", {}).get("relname", "")
    match node["@"]:
        case "CreateStmt":
            schema[name] = Table({}, {})
            for element in node["tableElts"]:
                _add(name, schema[name], element)
        case "AlterTableStmt":
            for command in node["cmds"]:
                _alter(name, schema[name], command)
        case "IndexStmt" if node["unique"]:
            schema[name].keys[node["idxname"]] = [each.get("name", "") for each in node["indexParams"]]
        case _:
            pass  # rows and comments


def _alter(name: str, table: Table, command: Node) -> None:
    if "def_" in command:
        _add(name, table, command["def_"])
    elif command["subtype"]["name"] == "AT_DropConstraint":
        table.keys.pop(command["name"], None)
        table.foreign.pop(command["name"], None)
    elif command["subtype"]["name"] == "AT_DropColumn":
        for constraint in [each for each, key in table.keys.items() if command["name"] in key]:
            del table.keys[constraint]


def _add(name: str, table: Table, element: Node) -> None:
    """Add a column or a constraint."""
    column = element.get("colname")
    for each in [element] if element["@"] == "Constraint" else element.get("constraints", ()):
        kind = each["contype"]["name"] if each["@"] == "Constraint" else ""
        named = [part["sval"] for part in each.get("fk_attrs" if kind == "CONSTR_FOREIGN" else "keys") or ()]
        columns = named or [str(column)]
        if kind == "CONSTR_PRIMARY":
            table.keys[each.get("conname", f"{name}_pkey")] = columns
        elif kind == "CONSTR_UNIQUE":
            table.keys[each.get("conname", f"{name}_{'_'.join(columns)}_key")] = columns
        elif kind == "CONSTR_FOREIGN":
            foreign = Foreign(columns, each["pktable"]["relname"])
            table.foreign[each.get("conname", f"{name}_{'_'.join(columns)}_fkey")] = foreign


def _expressions(node: Any) -> Iterator[Node]:
    """Every statement and expression of a function in PL/pgSQL."""
    if isinstance(node, dict):
        if "PLpgSQL_expr" in node:
            yield node["PLpgSQL_expr"]
        node = list(node.values())
    for each in node if isinstance(node, list) else ():
        yield from _expressions(each)


def read_statements(folder: Path) -> dict[str, list[str]]:
    """Every statement in the modules of a folder, by module and the name it is given or the function it is in."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        _search(ast.parse(path.read_text(encoding="utf-8")), path.stem, found)
    return found


def _search(node: ast.AST, where: str, found: dict[str, list[str]]) -> None:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.AsyncFunctionDef() | ast.FunctionDef():
                inner = f"{where.partition('.')[0]}.{child.name}"
            case ast.AnnAssign(target=ast.Name(id=name)):
                inner = f"{where}.{name}" if "." not in where else where
            case ast.JoinedStr(values=parts):
                # It cannot be parsed before it runs. So each table in it is taken for one that is asked without
                # anything, which is right for those on the coordinator only.
                text = "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
                if STATEMENT.match(text):
                    found.setdefault(where, []).extend(f"TABLE {table}" for table in TABLE.findall(text))
                continue
            case ast.Constant(value=str(text)) if STATEMENT.match(text):
                found.setdefault(where, []).append(text)
                continue
            case _:
                inner = where
        _search(child, inner, found)


def main() -> int:
    """Print what is found and not excepted, and exceptions that nothing needs any more."""
    migrations = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "storage/migrations").glob("*.sql"))]
    findings = list(lint(migrations, read_statements(ROOT / "storage"), TABLES))
    wrong = [" ".join(each) for each in findings if (each.where, each.table) not in EXCEPTIONS]
    needed = {(each.where, each.table) for each in findings}
    wrong += [f"{where} {table} has an exception that it does not need" for where, table in EXCEPTIONS.keys() - needed]
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
