"""The rows of all runs: kept as JSON lines, shown as tables."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterable
from typing import Any

from .machine import MIB, WORK
from .meter import Row

RESULTS = os.environ.get("BENCH_RESULTS", f"{WORK}/results.jsonl")

# Waiting is most of what these measure, so what strangers do meanwhile is no matter.
UNDISTURBED = ("W6", "W7-idle")


def record(**row: Any) -> None:
    """Keeps the row of a run, and shows it."""
    with open(RESULTS, "a") as file:
        file.write(json.dumps({**row, "date": time.strftime("%Y-%m-%d %H:%M")}) + "\n")
    short = {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}
    print(json.dumps(short), flush=True)


def _load() -> list[Row]:
    if not os.path.exists(RESULTS):
        return []
    with open(RESULTS) as file:
        return [json.loads(line) for line in file]


def _is_quiet(row: Row, foreign: float) -> bool:
    """Whether strangers used no more than this fraction of two cores; failures stay visible."""
    if not row["ok"] or row["tool"] == "limit" or row["w"].startswith(UNDISTURBED):
        return True
    used, wall = float(row["foreign_cpu"]), float(row["wall"])
    return used <= foreign * 2 * max(wall, 1)


def _grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def _median(rows: list[Row], key: str) -> float:
    return statistics.median(row.get(key) or 0.0 for row in rows)


def show_dropped(foreign: float) -> None:
    """The rows that the table leaves out, because strangers disturbed them."""
    for row in _load():
        if not _is_quiet(row, foreign):
            print(
                f"* {row['w']} {row['tool']}: {row['wall']:.2f} s (strangers: {row['foreign_cpu']:.1f} CPU s)"
            )


def show_limits() -> None:
    print("| limit | median | min | max | unit |\n|---|--:|--:|--:|---|")
    for (name,), rows in _grouped((row for row in _load() if row["tool"] == "limit"), "w").items():
        walls = [row["wall"] for row in rows]
        digits = 0 if walls[0] > 100 else 3
        note = f" ({rows[0]['note']})" if rows[0].get("note") else ""
        numbers = " | ".join(
            f"{number:.{digits}f}" for number in (statistics.median(walls), min(walls), max(walls))
        )
        print(f"| {name}{note} | {numbers} | {rows[0]['unit']} |")


def show_table(wanted: list[str], ours: str, foreign: float) -> None:
    """Medians of each workload and tool, with their ratio to the machine's limit and to ours."""
    rows = [row for row in _load() if _is_quiet(row, foreign)]
    limits = {name: _median(of, "wall") for (name,), of in _grouped(_limits(rows), "w").items()}
    groups = _grouped((row for row in rows if row["tool"] != "limit"), "w", "tool")
    good = {key: [row for row in of if row["ok"]] for key, of in groups.items()}
    columns = ["runs", "median s", "min", "max", "index s", "CPU s", "peak RSS MiB", "wire MiB", "x limit"]
    columns.append(f"{ours}/this")
    print("| workload | tool |", " | ".join(columns), "|")
    print("|---|---|" + "--:|" * len(columns))

    def order(key: tuple[str, ...]) -> tuple[str, float]:
        return key[0], _median(good[key], "wall") if good[key] else float("inf")

    for workload, tool in sorted(groups, key=order):
        if wanted and not any(workload.startswith(name) for name in wanted):
            continue
        all_runs, runs = groups[workload, tool], good[workload, tool]
        if not runs:
            why = all_runs[-1].get("error", "")[:60]
            print(f"| {workload} | {tool} | 0 of {len(all_runs)} | failed: {why} |")
            continue
        walls, median = [row["wall"] for row in runs], _median(runs, "wall")
        limit, of_ours = limits.get(workload), good.get((workload, ours))
        cells = [
            str(len(runs)) if len(runs) == len(all_runs) else f"{len(runs)} of {len(all_runs)}",
            *(f"{wall:.3f}" for wall in (median, min(walls), max(walls))),
            *(f"{_median(runs, key):.2f}" for key in ("index", "cpu")),
            f"{_median(runs, 'rss') / MIB:.0f}",
            f"{_median(runs, 'wire') / MIB:.2f}",
            f"{median / limit:.1f}" if limit else "",
            f"{_median(of_ours, 'wall') / median:.2f}" if of_ours and median else "",
        ]
        print(f"| {workload} | {tool} |", " | ".join(cells), "|")


def _limits(rows: Iterable[Row]) -> Iterable[Row]:
    return (row for row in rows if row["tool"] == "limit")
