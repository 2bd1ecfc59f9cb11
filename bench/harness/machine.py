"""This machine: the folder of the bench, its small programs, and the one run at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

WORK = os.environ.get("BENCH_DIR", os.path.join(tempfile.gettempdir(), "bench"))
LOCK = os.environ.get("BENCH_LOCK", os.path.join(tempfile.gettempdir(), "bench.lock"))
LEASE_S = float(os.environ.get("BENCH_LEASE", "140"))
HERE = str(Path(__file__).resolve().parent.parent)
BIN = os.path.join(WORK, "bin")
MIB = 1 << 20

NATIVE = ("touch", "fsbench", "tcpbench", "delaybox")


def sh(command: str | list[str], env: dict[str, str] | None = None) -> str:
    """Runs a command that must succeed; what it printed."""
    done = subprocess.run(
        command, shell=isinstance(command, str), check=True, capture_output=True, text=True, env=env
    )
    return done.stdout


def build_native() -> None:
    """Builds the C programs that are not built, or are older than their sources."""
    os.makedirs(BIN, exist_ok=True)
    for name in NATIVE:
        source, program = f"{HERE}/native/{name}.c", f"{BIN}/{name}"
        if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
            sh(["gcc", "-O2", "-pthread", "-o", program, source])


class _Lease:
    """The lock of measured runs, as far as this process has it."""

    fd: int | None = None
    since = 0.0

    def release(self) -> None:
        if self.fd is not None:
            fcntl.flock(self.fd, fcntl.LOCK_UN)
            os.close(self.fd)
            self.fd = None
            time.sleep(0.3)  # whoever waits gets it

    def take(self) -> None:
        if self.fd is None:
            self.fd = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            asked = time.monotonic()
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            self.since = time.monotonic()
            if self.since - asked > 5:
                print(f"# waited {self.since - asked:.0f} s for the lock", flush=True)


_lease = _Lease()


@contextlib.contextmanager
def bench_lock() -> Iterator[None]:
    """One measured run at a time on this machine.

    The lock is kept over several runs until the lease is spent, then offered to others between two runs.
    """
    if time.monotonic() - _lease.since > LEASE_S:
        _lease.release()
    _lease.take()
    yield


def warm(mib: int, source: str | None = None) -> None:
    """Syncs, reads the source into the page cache, then touches and frees memory.

    So no run pays for what earlier ones left to be written, or for cold memory of a virtual machine.
    """
    os.sync()
    if source:
        subprocess.run([f"{BIN}/fsbench", "readall", source], check=True, capture_output=True)
    if mib >= 1:
        subprocess.run([f"{BIN}/touch", str(mib)], check=True)
