"""What this machine can do at all, recorded as rows of a tool called "limit".

A row whose name is that of a workload is what the table divides by: for W1 the slowest of reading, TCP and
writing, without encryption and hashes; for W2 creating the files in C; for W7 walking the tree; and so on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from .data import dataset
from .machine import BIN, HERE, MIB, WORK, bench_lock, sh, warm
from .meter import machine_busy
from .net import Net
from .report import record

PLACE = f"{WORK}/limits"
TARGET = f"{PLACE}/x"


class _Limits:
    """Measures the limits whose names begin with one of `only`."""

    def __init__(self, only: tuple[str, ...]) -> None:
        self._only = only

    def measure(
        self, name: str, once: Callable[[], float], times: int = 3, unit: str = "s", note: str = ""
    ) -> None:
        if not name.startswith(self._only):
            return
        for rep in range(times):
            with bench_lock():
                busy, began = machine_busy(), time.monotonic()
                wall = once()
                used, span = machine_busy() - busy, time.monotonic() - began
            record(
                w=name,
                tool="limit",
                rep=rep,
                ok=True,
                wall=wall,
                unit=unit,
                note=note,
                machine_cpu=used,
                span=span,
            )


def _timed(command: list[str]) -> float:
    began = time.monotonic()
    sh(command)
    return time.monotonic() - began


def _fresh(folder: str) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def _tcp(net: Net, to: str, *what: str) -> float:
    """Seconds that `what` of tcpbench takes from host 0 to host 1, where it goes `to` a file or the sink."""
    receiver = subprocess.Popen(
        net.on(1, [f"{BIN}/tcpbench", "recv", "7001", to]), stdout=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 4
    while ":1B59 " not in sh(net.on(1, ["cat", "/proc/net/tcp"])) and time.monotonic() < until:
        time.sleep(0.02)
    began = time.monotonic()
    sh(net.on(0, [f"{BIN}/tcpbench", "send", net.ip[1], "7001", *what]))
    receiver.communicate()
    return time.monotonic() - began


def _loopback(limits: _Limits, net: Net, big: str) -> None:
    def from_memory() -> float:
        return 4096 / _tcp(net, "sink", "mem", str(4 << 30))

    def from_file() -> float:
        warm(3072, os.path.dirname(big))
        return _tcp(net, TARGET, "file", big)

    limits.measure("tcp loopback, memory to memory", from_memory, unit="MiB/s")
    limits.measure("W1", from_file, note="sendfile, TCP, write; 2 GiB")

    certificate = f"{PLACE}/c"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    sh([*new, "-keyout", certificate + ".key", "-out", certificate + ".crt", "-subj", "/CN=x", "-days", "30"])

    def pipe(mode: str) -> Callable[[], float]:
        def once() -> float:
            warm(3072, os.path.dirname(big))
            pipe = [sys.executable, f"{HERE}/harness/pipe.py", mode, big, TARGET, certificate]
            return float(sh(net.on(0, pipe)))

        return once

    for mode, what in (
        ("plain", "read-TCP-write"),
        ("tls", "read-TLS1.3-write"),
        ("hash", "read-hash-TCP-hash-write"),
        ("tls-hash", "read-hash-TLS1.3-hash-write"),
    ):
        limits.measure(f"pipe 2 GiB {what}", pipe(mode))


def _copies(limits: _Limits, big: str) -> None:
    def copy(source: str, warm_mib: int) -> Callable[[], float]:
        def once() -> float:
            warm(warm_mib, source)
            return _timed(["cp", "-a", f"{source}/.", _fresh(f"{PLACE}/m")])

        return once

    def copy_big() -> float:
        warm(3072)
        return _timed(["cp", big, TARGET])

    def copy_and_sync() -> float:
        warm(3072)
        return _timed(["sh", "-c", f"cp {big} {TARGET} && sync {TARGET}"])

    limits.measure("cp of 2 GiB", copy_big)
    limits.measure("cp of 2 GiB + fsync", copy_and_sync)
    limits.measure("W3", copy(dataset("mixed"), 3072), note="cp -a of the tree, one process")
    limits.measure("cp -a of 50,000 files", copy(dataset("small50000x500"), 1024))


def _files(limits: _Limits) -> None:
    def create(files: int, folders: int, threads: int, mode: str) -> Callable[[], float]:
        def once() -> float:
            warm(1024)
            numbers = [str(number) for number in (files, folders, threads)]
            return float(sh([f"{BIN}/fsbench", "create", _fresh(f"{PLACE}/m"), *numbers, mode]).split()[0])

        return once

    def look(how: str, folder: str) -> Callable[[], float]:
        def once() -> float:
            warm(0, folder)
            return float(sh([f"{BIN}/fsbench", how, folder]).split()[0])

        return once

    limits.measure("W2", create(50_000, 500, 2, "plain"), note="create 50,000 files, 2 threads")
    limits.measure("create 50,000 files, 1 thread", create(50_000, 500, 1, "plain"))
    limits.measure("W2f", create(10_000, 1, 1, "plain"), note="create 10,000 files in one folder, 1 thread")
    limits.measure("create 50,000 files, 2 threads, one syncfs", create(50_000, 500, 2, "syncfs"))
    limits.measure("create 5,000 files, 1 thread, fsync each", create(5_000, 50, 1, "fsync"))
    limits.measure("create 5,000 files, 16 threads, fsync each", create(5_000, 50, 16, "fsync"))
    many = dataset("small100000x1000")
    limits.measure("W7-rescan-files", look("walk", many), note="readdir + stat of 100,000 files, 1 thread")
    limits.measure(
        "W7-index-files", look("readall", many), note="open + read of 100,000 files, 1 thread, no hash"
    )


def _hashes(limits: _Limits, big: str) -> None:
    def b3sum() -> float:
        return _timed(["b3sum", "--num-threads", "2", big])

    def speed(algorithm: str) -> Callable[[], float]:
        def once() -> float:
            out = sh(["openssl", "speed", "-seconds", "1", "-bytes", "16384", "-evp", algorithm])
            return float(out.split()[-1].rstrip("k")) * 1000 / MIB

        return once

    if shutil.which("b3sum"):
        limits.measure("W7-index-big", b3sum, note="b3sum, 2 threads")
    for algorithm in ("aes-128-gcm", "aes-256-gcm", "chacha20-poly1305", "sha256"):
        name = f"openssl speed {algorithm}, 16 KiB, 1 thread"
        limits.measure(name, speed(algorithm), 1, "MiB/s")


def measure(only: tuple[str, ...]) -> None:
    """Measures those whose names begin so."""
    limits = _Limits(only)
    _fresh(PLACE)
    try:
        big = dataset("one2048") + "/big.bin"
        with Net() as net:
            _loopback(limits, net, big)
        _copies(limits, big)
        _files(limits)
        _hashes(limits, big)
        with Net("wan", delay_ms=50, mbit=100, queue_kb=1280) as net:
            limits.measure(
                "W9-big",
                lambda: _tcp(net, "sink", "mem", str(256 * MIB)),
                times=2,
                note="one TCP stream, cubic, 100 Mbit/s, 100 ms RTT",
            )
        with Net("lan", mbit=200) as net:
            limits.measure(
                "one 200 Mbit/s hop, 512 MiB", lambda: _tcp(net, "sink", "mem", str(512 * MIB)), times=1
            )
    finally:
        shutil.rmtree(PLACE, ignore_errors=True)
