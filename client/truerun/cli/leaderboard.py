"""`truerun leaderboard`: runs, evaluations, or recipes by the mean over their seeds."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from truerun.cli.find import project_path, segment
from truerun.cli.output import Output
from truerun.cli.service import PAGE, Service
from truerun.cli.text import change, number, visible


def leaderboard(args: argparse.Namespace, service: Service, out: Output) -> int:
    query: dict[str, Any] = {"stage": args.stage, "limit": min(args.limit, PAGE)}
    query |= {name: value for name in ("metric", "group") if (value := getattr(args, name)) is not None}
    query |= {"tags": args.tag} if args.tag else {}
    query |= {"rows": "evaluations"} if args.rows == "evaluations" else {}
    query |= {"seeds": args.seeds} if args.seeds else {}
    query |= {"ineligible": "true"} if args.ineligible else {}
    path = f"{project_path(args.project, service)}/suites/{segment(args.suite)}/leaderboard"
    if args.format in ("md", "csv", "html"):
        out.file(service.text(path, {**query, "format": args.format}), args.format)
        return 0
    board = _board(path, query, args.limit, service)
    if out.as_json or args.format == "json":
        out.document(board)
        return 0
    _show(board, out, is_of_seeds=bool(args.seeds))
    if board.get("next_cursor"):
        out.note(f"there is more; --limit {args.limit * 2} shows it")
    return 0


def _board(path: str, query: dict[str, Any], limit: int, service: Service) -> dict[str, Any]:
    """The board with up to `limit` items, page after page."""
    board = service.get(path, query)
    while board.get("next_cursor") and len(board.get("items") or []) < limit:
        left = limit - len(board["items"])
        page = service.get(path, {**query, "limit": min(left, PAGE), "cursor": board["next_cursor"]})
        if not page.get("items"):
            break
        board = {**board, "items": board["items"] + page["items"], "next_cursor": page.get("next_cursor")}
    return board


def _show(board: Mapping[str, Any], out: Output, *, is_of_seeds: bool) -> None:
    direction = f" ({board['direction']} is better)" if board.get("direction") in ("lower", "higher") else ""
    about = (
        f"{board.get('metric')} of {board.get('group')} on {board.get('suite')}, stage {board.get('stage')}"
    )
    items = board.get("items") or []
    if not is_of_seeds:
        out.lines([visible(f"{about}{direction}"), ""])
        header = ("", "RANK", "RUN", "NAME", "VALUE", "CHANGE", "WORST GROUP", "GATE", "N", "TAGS")
        rows = [_row(item) for item in items]
        out.table(header, rows, right="lrllrrllrl", empty="nobody is on this leaderboard yet")
        return
    out.lines([visible(f"mean over seeds: {about}{direction}"), *_against(board.get("champion")), ""])
    header = ("", "RANK", "MEAN", "STD", "N", "CHANGE", "CONFIGURATION", "BEST", "RUNS", "NOTE")
    rows = [_recipe(item) for item in items]
    out.table(header, rows, right="lrrrrrllll", empty="nobody is on this leaderboard yet")


def _row(item: Mapping[str, Any]) -> tuple[Any, ...]:
    worst = item.get("worst")
    gate = f"{item.get('gate')}{' (stale)' if item.get('stale') else ''}"
    return (
        "*" if item.get("champion") else "",
        item.get("rank") if item.get("rank") is not None else "-",
        item.get("run"),
        item.get("name") or "-",
        _value(item),
        change(item.get("change")),
        f"{worst.get('group')}: {change(worst.get('worsening'))}" if isinstance(worst, Mapping) else "-",
        gate if item.get("eligible", True) else f"{gate}, {item.get('reason') or 'not eligible'}",
        item.get("n") if item.get("n") is not None else "-",
        ", ".join(str(tag) for tag in item.get("tags") or []) or "-",
    )


def _against(champion: Any) -> list[str]:
    if not isinstance(champion, Mapping):
        return []
    run, value = champion.get("run"), number(champion.get("value"))
    if champion.get("basis") == "mean":
        return [
            visible(
                f"change: against {value}, the mean of the {champion.get('n')} seeds of champion {run}'s recipe"
            )
        ]
    return [
        visible(
            f"change: against {value}, the value of champion {run}; its recipe has too few seeds for a mean"
        )
    ]


def _recipe(item: Mapping[str, Any]) -> tuple[Any, ...]:
    config, best = item.get("config"), item.get("best")
    runs = [str(run.get("run")) for run in item.get("runs") or [] if isinstance(run, Mapping)]
    more = item.get("more_runs")
    return (
        "*" if item.get("champion") else "",
        item.get("rank"),
        number(item.get("mean")),
        number(item.get("std")),
        item.get("n"),
        change(item.get("change")),
        ", ".join(f"{key}={_short(value)}" for key, value in config.items())
        if isinstance(config, Mapping) and config
        else "-",
        f"{best.get('run')}: {_value(best)}" if isinstance(best, Mapping) else "-",
        ", ".join(runs) + (f" and {more} more" if more else ""),
        _left_out(item.get("left_out")) or "-",
    )


def _left_out(left_out: Any) -> str:
    words = {
        "non_finite": "not finite",
        "bounds": "only a bound",
        "repeated_seeds": "of a seed that is there already",
    }
    counts = left_out if isinstance(left_out, Mapping) else {}
    return ", ".join(f"{counts[name]} {text}" for name, text in words.items() if counts.get(name))


def _value(item: Mapping[str, Any]) -> str:
    bound = {"at_least": "≥ ", "at_most": "≤ "}.get(str(item.get("bound")), "")
    return f"{bound}{number(item.get('value'))}"


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
