"""What may be typed after `truerun`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from truerun.cli import (
    alerts,
    baselines,
    check,
    compare,
    exchange,
    execute,
    imports,
    leaderboard,
    policies,
    runs,
    sinks,
    spooled,
    tokens,
)
from truerun.cli.exits import UsageError

_Add = Callable[..., argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """Leaves exit code 2 to undecided gates: argparse would take it for a wrong argument."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().strip()}")


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, with the command's function in `call`.

    Raises:
        UsageError: They cannot be meant.
    """
    # Not set_defaults: that would reach into the sub-commands and undo `truerun --json runs`.
    return _parser().parse_args(argv, argparse.Namespace(project=None, url=None, token=None, json=False))


def _parser() -> Parser:
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--project", metavar="KEY", help="default: TRUERUN_PROJECT, else the token's project")
    common.add_argument("--url", help="default: TRUERUN_URL, else the server running on this machine")
    common.add_argument("--token", help="default: TRUERUN_TOKEN, which other users of the machine cannot see")
    common.add_argument("--json", action="store_true", help="print the service's answer for machines")
    top = Parser(
        prog="truerun",
        description="Ask the truerun service about runs, verdicts and champions.",
        epilog="Exit codes: check 0 open, 1 closed, 2 undecided; all others 0 done, 1 refused; any 3 the "
        "service could not be asked, 64 usage, 70 crash.",
        parents=[common],
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    def add(name: str, call: Any, about: str, within: Any = None) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = (within or commands).add_parser(
            name, help=about, description=about, parents=[common]
        )
        parser.set_defaults(call=call)
        return parser

    def family(name: str, about: str, **alone: Any) -> Any:
        # What the bare family name does, where it does something, is said in `alone`.
        parser = commands.add_parser(name, help=about, description=about, parents=[common] if alone else [])
        parser.set_defaults(**alone)
        return parser.add_subparsers(metavar="COMMAND", required=not alone, parser_class=Parser)

    _add_runs(add)
    _add_check(add)
    _add_boards(add)
    _add_baselines(add)
    _add_alerts(add, family)
    _add_policies(add, family)
    _add_sinks(add, family)
    _add_rest(add, family)
    return top


def _add_runs(add: _Add) -> None:
    listed = add("runs", runs.list_runs, "list a project's runs")
    for name in ("status", "validity", "sort"):
        listed.add_argument(f"--{name}")
    listed.add_argument("--tag", action="append")
    listed.add_argument("--run-group")
    listed.add_argument("--config", action="append", metavar="KEY=VALUE")
    listed.add_argument("--archived", action="store_true", help="the archived ones instead")
    _limit(listed)
    shown = add("show", check.show, "show a run, or an evaluation with all its checks")
    shown.add_argument("thing", metavar="RUN|EVALUATION")
    for name, call, about in (
        ("invalidate", runs.invalidate, "mark a run or an evaluation as wrong; a champion loses its seat"),
        ("restore", runs.restore, "take that back; the seat stays lost"),
    ):
        parser = add(name, call, about)
        parser.add_argument("thing", metavar="RUN|EVALUATION")
        parser.add_argument("--reason", required=True)
        if name == "invalidate":
            parser.add_argument(
                "--suspect", action="store_true", help="mark as suspect: shown, closes nothing"
            )


def _add_check(add: _Add) -> None:
    parser = add("check", check.check, "exit 0 if the gate is open, 1 if closed, 2 if undecided")
    parser.add_argument(
        "thing", metavar="RUN|EVALUATION|FILE.json", help="a file is posted first ('-' is stdin)"
    )
    parser.add_argument("--suite")
    parser.add_argument("--stage")
    parser.add_argument("--md", action="store_true", help="Markdown for a build's summary")
    parser.add_argument("--all", action="store_true", help="list the checks that passed, too")
    parser.add_argument(
        "--wait", type=_seconds, default=10.0, metavar="SECONDS", help="for a stale verdict (10)"
    )
    parser.add_argument("--run", metavar="KEY", help="of a posted file: the run's key (a fresh one)")
    parser.add_argument("--name", help="of a posted file: the run's name")


def _add_boards(add: _Add) -> None:
    board = add("leaderboard", leaderboard.leaderboard, "rank a suite's runs")
    board.add_argument("suite")
    board.add_argument("--metric", help="default: the suite's lead metric")
    board.add_argument("--group", help="a group, overall, macro or tier:NAME")
    board.add_argument("--stage", default="final")
    board.add_argument("--tag", action="append", help="only runs that have it; several: all of them")
    rows = board.add_mutually_exclusive_group()
    rows.add_argument("--rows", choices=("runs", "evaluations"), default="runs", help="what a row is (runs)")
    rows.add_argument(
        "--evaluations", action="store_const", const="evaluations", dest="rows", help="--rows evaluations"
    )
    board.add_argument(
        "--seeds", choices=("mean",), help="a row per recipe: mean and deviation over its seeds"
    )
    board.add_argument("--ineligible", action="store_true", help="also invalid and archived ones")
    _format(board)
    _limit(board)
    beside = add("compare", compare.compare, "set runs beside each other: configuration, metrics by group")
    beside.add_argument("runs", metavar="RUN", nargs="+", help="2 to 20 runs, by key or id")
    beside.add_argument("--suite", help="default: every suite that at least two of them share")
    beside.add_argument("--stage", help="default: every stage")
    beside.add_argument("--metric", help="default: every metric")
    beside.add_argument("--base", metavar="RUN", help="measure against it (the champion, else the first)")
    beside.add_argument("--all", action="store_true", help="list the keys that are the same, too")
    _format(beside)


def _add_baselines(add: _Add) -> None:
    for name in ("promote", "bootstrap"):
        parser = add(
            name,
            baselines.promote,
            "make an evaluation the champion" + " (the first one)" * (name != "promote"),
        )
        parser.add_argument("thing", metavar="RUN|EVALUATION")
        parser.add_argument("--suite", help="where the run has evaluations on several")
        parser.add_argument("--stage")
        parser.add_argument("--reason")
        parser.set_defaults(bootstrap=name == "bootstrap", override=False)
        if name == "promote":
            kind = parser.add_mutually_exclusive_group()
            kind.add_argument(
                "--bootstrap", action="store_true", help="the first champion of a suite and stage"
            )
            kind.add_argument("--override", action="store_true", help="against the gate; needs --reason")
    back = add("rollback", baselines.rollback, "give the seat back to an earlier champion")
    back.add_argument("suite")
    back.add_argument("--stage", default="final")
    back.add_argument(
        "--to", type=int, metavar="VERSION", help="the event whose champion returns (the one before)"
    )
    back.add_argument("--reason", required=True)
    past = add("champions", baselines.history, "who was champion of a suite, since when and why")
    past.add_argument("suite")
    past.add_argument("--stage", default="final")
    _limit(past)


def _add_alerts(add: _Add, family: Callable[..., Any]) -> None:
    alone = {"call": alerts.list_alerts, "state": None, "limit": 50}
    verbs = family("alerts", "list, acknowledge, mute and resolve alerts", **alone)
    listed = add("list", alerts.list_alerts, "list alerts", within=verbs)
    listed.add_argument("--state", choices=("open", "acknowledged", "muted", "resolved", "all"))
    _limit(listed)
    for verb, about in (
        ("ack", "say that somebody is on it"),
        ("mute", "silence it until a moment"),
        ("resolve", "say that it is over"),
    ):
        parser = add(verb, alerts.change_alert, about, within=verbs)
        parser.add_argument("alert", metavar="ALERT")
        parser.add_argument("--reason", required=verb == "mute")
        parser.set_defaults(verb=verb)
        if verb == "mute":
            parser.add_argument(
                "--until", required=True, metavar="WHEN", help="2h, 3d, 1w, or 2026-01-31T18:00"
            )


def _add_policies(add: _Add, family: Callable[..., Any]) -> None:
    verbs = family("policy", "show and change a project's rules")
    shown = add("show", policies.show_policy, "print the rules as TOML", within=verbs)
    shown.add_argument("--version", type=int)
    for name, call, about in (
        ("put", policies.put_policy, "make a file the project's rules"),
        ("preview", policies.preview_policy, "which recent verdicts would a file change?"),
    ):
        parser = add(name, call, about, within=verbs)
        parser.add_argument("file", metavar="FILE.toml")
    template = add("template", policies.show_template, "print a template", within=verbs)
    template.add_argument("name", nargs="?", default="default")
    begun = add("init", policies.init_policy, "write a template to a file", within=verbs)
    begun.add_argument("--template", default="default")
    begun.add_argument("--output", "-o", default="truerun-policy.toml", metavar="FILE")
    begun.add_argument("--force", action="store_true")


def _add_sinks(add: _Add, family: Callable[..., Any]) -> None:
    verbs = family("sinks", "where verdicts go, and how each receiver is doing", call=sinks.list_sinks)
    add("list", sinks.list_sinks, "list them", within=verbs)
    put = add("put", sinks.put_sinks, "set all of them from a file, as --json prints them", within=verbs)
    put.add_argument("file", metavar="FILE.json", help="'-' is stdin")
    tested = add("test", sinks.test_sink, "send it a test, and say what became of it", within=verbs)
    tested.add_argument("name", metavar="NAME")
    tested.add_argument(
        "--wait", type=_seconds, default=100.0, metavar="SECONDS", help="for its receiver (100)"
    )
    alone = {"call": sinks.list_deliveries, "state": None, "sink": None, "topic": None, "limit": 50}
    owed = family("deliveries", "what is owed to sinks, has arrived or was given up", **alone)
    listed = add("list", sinks.list_deliveries, "list them, newest first", within=owed)
    listed.add_argument("--state", choices=("owed", "failing", "buried", "delivered"))
    listed.add_argument("--sink", metavar="NAME")
    listed.add_argument("--topic", metavar="TOPIC", help="evaluation.judged, leaderboard.changed, …")
    _limit(listed)
    for verb, about in (
        ("retry", "try one again at once (admin)"),
        ("discard", "never try it again (admin)"),
    ):
        parser = add(verb, sinks.change_delivery, about, within=owed)
        parser.add_argument("delivery", type=_count, metavar="DELIVERY")
        parser.set_defaults(verb=verb)
        if verb == "discard":
            parser.add_argument("--reason", required=True)


def _add_rest(add: _Add, family: Callable[..., Any]) -> None:
    imports.add_commands(add, family("import", "bring in past runs, or old results"))
    exported = add(
        "csv", exchange.export_csv, "export runs as CSV", within=family("export", "take results out")
    )
    exported.add_argument("--suite")
    exported.add_argument("--stage")
    exported.add_argument("--output", "-o", metavar="FILE")
    verbs = family("token", "make, list and revoke tokens")
    made = add("create", tokens.create_token, "make a token; it is printed once", within=verbs)
    made.add_argument("--role", required=True, choices=("viewer", "reporter", "maintainer", "admin", "run"))
    made.add_argument("--label", required=True)
    made.add_argument("--expires", metavar="WHEN", help="30d, or a date")
    made.add_argument("--run", metavar="RUN", help="for role run: the only run it opens")
    add("list", tokens.list_tokens, "list tokens", within=verbs)
    add("revoke", tokens.revoke_token, "make a token worthless", within=verbs).add_argument(
        "token_id", metavar="TOKEN"
    )
    synced = add("sync", spooled.sync, "send what could not be sent, or was recorded offline")
    synced.add_argument("directory", nargs="?", metavar="DIR")
    wrapped = add("exec", execute.execute, "run a command that knows nothing of truerun as a run")
    wrapped.add_argument("--name")
    wrapped.add_argument("--run-key", metavar="KEY")
    wrapped.add_argument("--run-group", metavar="NAME")
    wrapped.add_argument("--tag", action="append", default=[])
    wrapped.add_argument(
        "--tail", type=int, default=0, metavar="N", help="keep the last N lines of output with a failure"
    )
    wrapped.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    add("whoami", tokens.whoami, "say whom the token belongs to")
    add("config", tokens.show_config, "say which address and token would be used")


def _format(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--format", choices=("text", "json", "md", "csv", "html"), default="text")
    for name in ("md", "csv"):
        form.add_argument(
            f"--{name}", action="store_const", const=name, dest="format", help=f"--format {name}"
        )


def _limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=_count, default=50)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 3600")
    return seconds
