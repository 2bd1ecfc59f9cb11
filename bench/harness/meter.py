"""Processes of a run, and what they use: processor, memory, bytes on the wire."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from .net import Net

TICK = os.sysconf("SC_CLK_TCK")

Row = dict[str, Any]
"""What a run is recorded as: one JSON object."""


class Proc:
    """A process on host i, its output in a log file."""

    def __init__(
        self, net: Net, i: int, command: list[str], log: str, env: dict[str, str] | None = None
    ) -> None:
        self._log = open(log, "ab")  # noqa: SIM115 - closed with the process
        self._popen = subprocess.Popen(
            net.on(i, command),
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        self.pid = self._popen.pid
        self.cpu_final: float | None = None

    def is_running(self) -> bool:
        return self._popen.returncode is None

    def wait(self) -> tuple[int, int]:
        """Its exit status, and the largest memory of one of its processes in KiB; `cpu_final` is its CPU."""
        _, status, used = os.wait4(self.pid, 0)
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_final = used.ru_utime + used.ru_stime
        self._log.close()
        return self._popen.returncode, used.ru_maxrss

    def stop(self, grace: float = 20) -> None:
        """Asks it to end, and ends it with all that it has started if it does not."""
        if not self.is_running():
            return
        children = tree([self.pid]) - {self.pid}
        try:
            os.kill(self.pid, signal.SIGTERM)
            self._popen.wait(grace)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._log.close()


def _stat(pid: int) -> list[bytes]:
    """The fields of a process from its state on."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rsplit(b")", 1)[1].split()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def tree(roots: Iterable[int]) -> set[int]:
    """These processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        with contextlib.suppress(OSError):
            children.setdefault(int(_stat(pid)[1]), []).append(pid)
    found: set[int] = set()
    to_do = list(roots)
    while to_do:
        pid = to_do.pop()
        if pid not in found:
            found.add(pid)
            to_do += children.get(pid, [])
    return found


def _cpu_of(roots: Iterable[int]) -> float:
    """Seconds of user and system of live trees, with their waited-for children."""
    ticks = 0
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            ticks += sum(int(field) for field in _stat(pid)[11:15])
    return ticks / TICK


def _rss_of(roots: Iterable[int]) -> int:
    kib = 0
    for pid in tree(roots):
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status") as file:
            kib += sum(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return kib * 1024


def _strangers() -> float:
    """CPU seconds so far of all user processes that are neither ours nor this harness."""
    me = os.getpid()
    mine, ticks = tree([me]), 0
    for pid in _pids():
        if pid in mine:
            continue
        with contextlib.suppress(OSError):
            fields = _stat(pid)
            parent = int(fields[1])
            if parent != 2 and pid != 2:  # not a thread of the kernel
                # What waited-for children of ours have used stands with us.
                ticks += sum(int(field) for field in fields[11 : 13 if parent == me else 15])
    return ticks / TICK


def machine_busy() -> float:
    """Seconds that all cores together have been busy."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, *_ = (int(field) for field in file.readline().split()[1:])
    return (user + nice + system + irq + softirq) / TICK


class Meter:
    """CPU, memory and wire bytes of the given processes between its making and `stop`."""

    def __init__(
        self, net: Net, procs: Iterable[Proc], hosts: Sequence[int] = (0, 1), every: float = 0.1
    ) -> None:
        self._net, self._procs, self._hosts, self._every = net, list(procs), hosts, every
        self._cpu, self._busy, self._foreign = _cpu_of(self._live()), machine_busy(), _strangers()
        self._bytes = [net.counters(i) for i in hosts]
        self._peak = _rss_of(self._live())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        self._began = time.monotonic()

    def _live(self) -> list[int]:
        return [proc.pid for proc in self._procs if proc.is_running()]

    def _sample(self) -> None:
        while not self._over.wait(self._every):
            self._peak = max(self._peak, _rss_of(self._live()))

    def add(self, proc: Proc) -> None:
        """A process begun after this: all of its CPU counts."""
        self._procs.append(proc)

    def saw_rss(self, kib: int) -> None:
        """A process was as large as this, whatever the samples showed."""
        self._peak = max(self._peak, kib * 1024)

    def stop(self, at: float | None = None) -> Row:
        """What was used until now, or in `at` less time, if the end was noticed then."""
        ended = at or time.monotonic()
        busy = machine_busy()
        self._over.set()
        counters = [self._net.counters(i) for i in self._hosts]
        foreign = _strangers() - self._foreign
        cpu = _cpu_of(self._live()) + sum(proc.cpu_final or 0 for proc in self._procs)
        self._thread.join()
        tx = [after[0] - before[0] for before, after in zip(self._bytes, counters, strict=True)]
        rx = [after[1] - before[1] for before, after in zip(self._bytes, counters, strict=True)]
        return {
            "wall": ended - self._began,
            "cpu": cpu - self._cpu,
            "machine_cpu": busy - self._busy,
            "foreign_cpu": foreign,
            "rss": self._peak,
            "tx": tx,
            "rx": rx,
            "wire": rx[0] if self._net.kind == "lo" else sum(tx),
        }
