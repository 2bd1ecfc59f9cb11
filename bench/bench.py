#!/usr/bin/env python3
"""Shoal beside other synchronizers; README.md says how it is used and what is measured."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import traceback

from harness import limits, report
from harness.data import describe
from harness.machine import build_native
from harness.workloads import TOOLS, WORKLOADS


def names_among(known: dict[str, object]) -> argparse._ActionType:
    """Reads names with commas between them."""

    def read(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return names

    return read


def run(workloads: list[str], tools: list[str], repeats: int, scale: float) -> int:
    """Runs each workload with each tool, in turns, so that a drift of the machine hits all.

    Returns how many runs failed.
    """
    failed = 0
    for workload in workloads:
        for rep in range(repeats):
            for tool in tools:
                try:
                    WORKLOADS[workload](TOOLS[tool], rep, scale)
                except Exception as error:  # one that fails is a row, and the others go on
                    failed += 1
                    print("".join(traceback.format_exception(error))[-600:], file=sys.stderr)
                    why = f"{type(error).__name__}: {error}"[:300]
                    report.record(w=workload, tool=tool, rep=rep, ok=False, error=why)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="measure")
    runs.add_argument(
        "-w", "--workloads", type=names_among({**WORKLOADS}), default=[*WORKLOADS], metavar="W1,W2,..."
    )
    runs.add_argument(
        "-t",
        "--tools",
        type=names_among({**TOOLS}),
        default=["shoal", "rsync", "syncthing"],
        metavar="NAME,...",
    )
    runs.add_argument("-r", "--repeats", type=int, default=3, metavar="N")
    runs.add_argument("--scale", type=float, default=1.0, help="0.1 makes every data set a tenth as large")
    table = commands.add_parser("table", help="show medians of all good runs")
    table.add_argument(
        "-w", "--workloads", type=lambda text: text.split(","), default=[], metavar="W1,W2,..."
    )
    table.add_argument("--ours", default="shoal", metavar="NAME", help="whom the last column compares")
    table.add_argument("--limits", action="store_true", help="what the machine can do at all, instead")
    table.add_argument("--dropped", action="store_true", help="the rows that --foreign leaves out, instead")
    table.add_argument(
        "--foreign",
        type=float,
        default=0.13,
        metavar="FRACTION",
        help="leave out rows where strangers used more than this of two cores (9: keep all)",
    )
    data = commands.add_parser("data", help="make data sets, which is else done on first use")
    data.add_argument("names", nargs="+")
    commands.add_parser("limits", help="measure what the machine can do at all").add_argument(
        "--only", type=lambda text: tuple(text.split(",")), default=("",), metavar="NAME,..."
    )
    args = parser.parse_args()

    if args.command == "table":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who has seen enough of it is told nothing
        if args.limits:
            report.show_limits()
        elif args.dropped:
            report.show_dropped(args.foreign)
        else:
            report.show_table(args.workloads, args.ours, args.foreign)
        return 0
    build_native()
    with contextlib.suppress(OSError):  # measured processes inherit it: strangers disturb less
        os.nice(int(os.environ.get("BENCH_NICE", "-15")))
    if args.command == "data":
        for name in args.names:
            print(name, describe(name))
        return 0
    if args.command == "limits":
        limits.measure(args.only)
        return 0
    return 1 if run(args.workloads, args.tools, args.repeats, args.scale) else 0


if __name__ == "__main__":
    sys.exit(main())
