"""What is measured: W1 to W9, each with any tool; README.md says what they are.

Every run has a network and folders of its own, all gone afterwards; what it says counts only after the
receivers' trees were compared with the origin's.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterable

from .data import TreeWatch, clean, clone, dataset, verify
from .machine import MIB, WORK, bench_lock, warm
from .meter import Meter, Row
from .net import Net
from .report import record
from .syncthing import Syncthing, SyncthingTuned
from .tools import (
    Rclone,
    RcloneTuned,
    Rsync,
    RsyncFsync,
    RsyncInplace,
    RsyncParallel,
    RsyncSsh,
    RsyncSshAes,
    RsyncZ,
    Shoal,
    Tool,
    Unison,
)
from .torrent import LibTorrent

_ALL: list[type[Tool]] = [
    Shoal,
    Rsync,
    RsyncInplace,
    RsyncFsync,
    RsyncZ,
    RsyncParallel,
    RsyncSsh,
    RsyncSshAes,
]
_ALL += [Rclone, RcloneTuned, Unison, Syncthing, SyncthingTuned, LibTorrent]
TOOLS = {tool.name: tool for tool in _ALL}


class Run:
    """A tool at work: a fresh home, empty receivers; everything is gone at its end."""

    def __init__(self, tool: type[Tool], net: Net, source: str, hosts: int = 2, copy: bool = False) -> None:
        self.base = f"{WORK}/run{os.getpid()}"
        shutil.rmtree(self.base, ignore_errors=True)
        os.makedirs(self.base)
        self.net, self.source = net, source
        self.folders = [f"{self.base}/a" if copy else source] + [f"{self.base}/b{i}" for i in range(1, hosts)]
        if copy:
            clone(source, self.folders[0])
        for folder in self.folders[1:]:
            os.makedirs(folder)
        self.tool = tool(net, f"{self.base}/home", self.folders)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.tool.stop()
        clean(self.source)
        shutil.rmtree(self.base, ignore_errors=True)

    def meter(self, every: float = 0.1) -> Meter:
        return Meter(self.net, self.tool.procs, range(len(self.folders)), every)

    def watches(self, gone: Iterable[str] = ()) -> list[TreeWatch]:
        origin, *others = self.folders
        return [TreeWatch(origin, folder, self.tool.keeps_mtimes, gone) for folder in others]

    def wait(self, watches: list[TreeWatch], limit: float) -> float:
        """Waits until all receivers have everything; when that was seen."""
        end = time.monotonic() + limit
        seen = max(watch.wait(end) for watch in watches)
        while not self.tool.is_finished():
            if time.monotonic() > end:
                raise TimeoutError("the tool does not say that it is done")
            time.sleep(0.005)
            seen = time.monotonic()
        return seen

    def verify(self) -> str:
        """What precision of mtimes has survived everywhere; anything else that differs is an error."""
        origin, *others = self.folders
        return [verify(origin, folder, self.tool.keeps_mtimes) for folder in others][0]

    def cold(self, limit: float = 600, warm_mib: int = 0) -> Row:
        """The first full copy."""
        watches = self.watches()
        with bench_lock():
            self.tool.prepare()
            warm(warm_mib, self.folders[0])
            before: Row = {"wall": 0.0, "cpu": 0.0, "rss": 0}
            if self.tool.indexes_first:
                meter = self.meter()
                self.tool.index()
                before = meter.stop()
            meter = self.meter()
            self.tool.transfer(meter)
            row = meter.stop(self.wait(watches, limit) if self.tool.is_daemon else None)
        row |= {"index": before["wall"], "transfer": row["wall"], "rss": max(row["rss"], before["rss"])}
        row["wall"] += before["wall"]
        row["cpu"] += before["cpu"]
        return row

    def change(self, make: Callable[[], object], limit: float, gone: Iterable[str] = ()) -> Row:
        """From a change at A until the receivers have it."""
        with bench_lock():
            os.sync()
            make()
            watches = self.watches(gone)
            meter = self.meter()
            self.tool.sync(meter)
            return meter.stop(self.wait(watches, limit) if self.tool.is_daemon else None)

    def settle(self) -> None:
        """After a run: the tool finishes its bookkeeping, and the next mtime is another one."""
        time.sleep(2 if self.tool.is_daemon else 1.1)


def _first_copy(w: str, tool: type[Tool], rep: int, data: str, scale: float, warm_mib: int) -> None:
    with Net() as net, Run(tool, net, dataset(data, scale)) as run:
        row = run.cold(warm_mib=warm_mib)
        record(w=w, tool=tool.name, rep=rep, ok=True, mtime=run.verify(), **row)


def w1(tool: type[Tool], rep: int, scale: float) -> None:
    _first_copy("W1", tool, rep, "one2048", scale, 5120)


def w2(tool: type[Tool], rep: int, scale: float) -> None:
    _first_copy("W2", tool, rep, "small50000x500", scale, 2048)


def w2f(tool: type[Tool], rep: int, scale: float) -> None:
    _first_copy("W2f", tool, rep, "small10000x1", scale, 1024)


def w3(tool: type[Tool], rep: int, scale: float) -> None:
    _first_copy("W3", tool, rep, "mixed", scale, 5120)


def w4(tool: type[Tool], rep: int, scale: float) -> None:
    """Three changes of one large file, one after the other."""
    with Net() as net, Run(tool, net, dataset("one1024", scale), copy=True) as run:
        run.cold(warm_mib=3072)
        run.settle()
        big, new = f"{run.folders[0]}/big.bin", f"{run.base}/new.bin"
        size = os.path.getsize(big)
        rng = random.Random(f"w4 {rep}")
        with open(big, "rb") as old, open(new, "wb") as file:
            file.write(b"!")
            shutil.copyfileobj(old, file, 8 * MIB)

        def scatter() -> None:
            with open(big, "r+b") as file:
                for _ in range(100):
                    file.seek(rng.randrange(size - 100))
                    file.write(rng.randbytes(100))

        def append() -> None:
            with open(big, "ab") as file:
                file.write(rng.randbytes(10 * MIB))

        changes = {"a": lambda: os.replace(new, big), "b": scatter, "c": append}
        for letter, make in changes.items():
            row = run.change(make, 300)
            record(w="W4" + letter, tool=tool.name, rep=rep, ok=True, mtime=run.verify(), **row)
            run.settle()


def w5(tool: type[Tool], rep: int, scale: float) -> None:
    """A folder is renamed."""
    with Net() as net, Run(tool, net, dataset("ren1000x1024", scale), copy=True) as run:
        run.cold(warm_mib=3072)
        run.settle()
        run.verify()
        before, after = f"{run.folders[0]}/before", f"{run.folders[0]}/after"
        row = run.change(lambda: os.rename(before, after), 300, gone=("before",))
        record(w="W5", tool=tool.name, rep=rep, ok=True, mtime=run.verify(), **row)


def w6(tool: type[Tool], rep: int, scale: float) -> None:
    """One small file, live."""
    if tool.watch_delay is None:
        return
    # Who waits ten seconds each time needs no twenty samples.
    samples = 8 if tool.watch_delay > 5 else 20
    with Net() as net, Run(tool, net, dataset("small200x10"), copy=True) as run:
        run.cold(120)
        time.sleep(3)
        rng = random.Random("w6")
        meter = run.meter()
        delays = []
        for number in range(samples):
            time.sleep(0.5 + rng.random())
            origin, receiver = (f"{folder}/new{number:03d}.bin" for folder in run.folders)
            with bench_lock():
                delays.append(_arrival(origin, receiver, rng.randbytes(1024)))
        used = meter.stop()
        run.verify()
        delays.sort()
        row = {
            "wall": statistics.median(delays),
            "p50": statistics.median(delays),
            "p99": delays[min(samples - 1, int(0.99 * samples))],
            "min": delays[0],
            "max": delays[-1],
            "rss": used["rss"],
            "cpu": used["cpu"] / samples,
            "wire": used["wire"] / samples,
        }
        record(w="W6", tool=tool.name, rep=rep, ok=True, n=samples, **row)


def _arrival(origin: str, receiver: str, content: bytes) -> float:
    """Writes a file at the origin; seconds until it is at the receiver with its time."""
    began = time.monotonic()
    with open(origin, "wb") as file:
        file.write(content)
    mtime = os.stat(origin).st_mtime_ns // 10**9
    while True:
        try:
            stat = os.stat(receiver)
            if stat.st_size == len(content) and stat.st_mtime_ns // 10**9 == mtime:
                return time.monotonic() - began
        except OSError:
            pass
        if time.monotonic() - began > 60:
            raise TimeoutError("the file did not arrive")
        time.sleep(0.0005)


def w7(tool: type[Tool], rep: int, scale: float) -> None:
    """Index and re-scan of many small files and of one big file; what it costs to do nothing."""
    for sub, data, warm_mib in (("files", "small100000x1000", 2048), ("big", "one2048", 3072)):
        with Net() as net, Run(tool, net, dataset(data, scale)) as run:
            if not tool.is_daemon:
                _w7_run_again(run, sub, rep, warm_mib)
            elif tool.indexes_alone:
                _w7_daemon(run, sub, rep, warm_mib)


def _w7_daemon(run: Run, sub: str, rep: int, warm_mib: int) -> None:
    name = run.tool.name
    with bench_lock():
        run.tool.prepare()
        warm(warm_mib, run.source)
        meter = run.meter()
        run.tool.index()
        row = meter.stop()
    record(w=f"W7-index-{sub}", tool=name, rep=rep, ok=True, **row)
    time.sleep(15 if sub == "files" else 3)
    if sub == "files":
        with bench_lock():
            meter = run.meter(every=1)
            time.sleep(20)
            idle = meter.stop()
        idle["wall"] = idle["cpu"] / idle["wall"]
        record(w="W7-idle", tool=name, rep=rep, ok=True, **idle)
    with bench_lock():
        meter = run.meter()
        run.tool.rescan()
        row = meter.stop()
    record(w=f"W7-rescan-{sub}", tool=name, rep=rep, ok=True, **row)


def _w7_run_again(run: Run, sub: str, rep: int, warm_mib: int) -> None:
    """Both sides are equal from the start: the first run, and one with nothing to do."""
    clone(run.source, run.folders[1])
    with bench_lock():
        run.tool.prepare()
        warm(warm_mib, run.source)
    for part in ("index", "rescan"):
        with bench_lock():
            meter = run.meter()
            run.tool.transfer(meter)
            row = meter.stop()
        record(w=f"W7-{part}-{sub}", tool=run.tool.name, rep=rep, ok=True, **row)


def w8(tool: type[Tool], rep: int, scale: float) -> None:
    """One origin, four receivers."""
    with Net("lan", n=5, mbit=200) as net, Run(tool, net, dataset("one512", scale), hosts=5) as run:
        row = run.cold(170, 3072)
        row["wire"] = row["tx"][0]
        record(w="W8", tool=tool.name, rep=rep, ok=True, mtime=run.verify(), **row)


def _w9(which: str, tool: type[Tool], rep: int, scale: float, data: str) -> None:
    with (
        Net("wan", delay_ms=50, mbit=100, queue_kb=1280) as net,
        Run(tool, net, dataset(data, scale)) as run,
    ):
        row = run.cold(170, 1024)
        record(w="W9-" + which, tool=tool.name, rep=rep, ok=True, mtime=run.verify(), **row)


def w9_big(tool: type[Tool], rep: int, scale: float) -> None:
    _w9("big", tool, rep, scale, "one256")


def w9_files(tool: type[Tool], rep: int, scale: float) -> None:
    _w9("files", tool, rep, scale, "small2000x20")


WORKLOADS: dict[str, Callable[[type[Tool], int, float], None]] = {
    "W1": w1,
    "W2": w2,
    "W2f": w2f,
    "W3": w3,
    "W4": w4,
    "W5": w5,
    "W6": w6,
    "W7": w7,
    "W8": w8,
    "W9big": w9_big,
    "W9files": w9_files,
}
