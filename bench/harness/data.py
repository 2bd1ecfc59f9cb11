"""Data sets that are the same everywhere, and trees that are compared."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterable

from .machine import MIB, WORK, sh

# What tools put into a folder for themselves.
IGNORED = (".shoal", ".stfolder", ".stversions", ".stignore", ".unison", ".lost+found")

MTIME_FIRST = 1_700_000_000


def dataset(name: str, scale: float = 1.0) -> str:
    """The folder of a data set, made if it is not there yet."""
    folder = f"{WORK}/data/{name}" + ("" if scale == 1 else f"-x{scale:g}")
    if os.path.exists(folder + ".ok"):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    rng = random.Random("sync-bench " + name)
    if name.startswith("one"):
        _put(f"{folder}/big.bin", rng, int(int(name[3:]) * MIB * scale), 0)
    elif name.startswith("small"):
        files, folders = (int(number) for number in name[5:].split("x"))
        _small(folder, rng, int(files * scale), folders)
    elif name == "mixed":
        _mixed(folder, rng, int(20_000 * scale))
    elif name.startswith("ren"):
        files, kib = (int(number) for number in name[3:].split("x"))
        os.makedirs(f"{folder}/before")
        for i in range(int(files * scale)):
            _put(f"{folder}/before/f{i:05d}.bin", rng, kib * 1024, i)
    else:
        raise SystemExit(
            f"no data set is called {name}: there are one<MiB>, small<N>x<FOLDERS>, mixed, ren<N>x<KIB>"
        )
    with open(folder + ".ok", "w") as file:
        json.dump(_stats(folder), file)
    os.sync()
    return folder


def describe(name: str) -> str:
    """What is in a data set, which is made if it is not there yet."""
    with open(dataset(name) + ".ok") as file:
        return file.read()


def _put(path: str, rng: random.Random, size: int, number: int) -> None:
    with open(path, "wb") as file:
        while size:
            length = min(size, MIB)
            file.write(rng.randbytes(length))
            size -= length
    mtime = (MTIME_FIRST + number) * 10**9 + 123_456_789
    os.utime(path, ns=(mtime, mtime))


def _small(folder: str, rng: random.Random, files: int, folders: int) -> None:
    """Files of 4 KiB."""
    for i in range(files):
        into = f"{folder}/d{i % folders:04d}" if folders > 1 else folder
        os.makedirs(into, exist_ok=True)
        _put(f"{into}/f{i:06d}.bin", rng, 4096, i)


def _mixed(folder: str, rng: random.Random, files: int) -> None:
    """Files of 1 KiB to 10 MiB, small ones mostly, in nested folders."""
    folders = [folder]
    for i in range(max(1, files // 12)):
        path = f"{rng.choice(folders[-200:])}/dir{i:04d}"
        if path.count("/") - folder.count("/") > 8:
            path = f"{folder}/dir{i:04d}"
        os.makedirs(path)
        folders.append(path)
    for i in range(files):
        size = int(min(10 * MIB, max(1024, rng.lognormvariate(9.6, 2.05))))
        _put(f"{rng.choice(folders)}/file{i:05d}.dat", rng, size, i)


def files_of(folder: str) -> list[str]:
    """The files below a folder, without what tools keep there."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(IGNORED))
        found += [os.path.relpath(f"{root}/{name}", folder) for name in names if not name.startswith(IGNORED)]
    return sorted(found)


def _stats(folder: str) -> dict[str, int]:
    files = files_of(folder)
    return {"files": len(files), "bytes": sum(os.path.getsize(f"{folder}/{file}") for file in files)}


def clone(source: str, target: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    sh(["cp", "-a", "--reflink=never", source, target])


def clean(folder: str) -> None:
    """Takes away what tools have left in a data set."""
    for name in IGNORED:
        path = f"{folder}/{name}"
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)


def verify(a: str, b: str, with_mtimes: bool = True) -> str:
    """Compares two trees by names and bytes; what precision of mtimes is equal: ns, s or none."""
    of_a, of_b = files_of(a), files_of(b)
    if of_a != of_b:
        missing, extra = sorted(set(of_a) - set(of_b)), sorted(set(of_b) - set(of_a))
        raise AssertionError(
            f"trees differ: {len(missing)} missing {missing[:3]}, {len(extra)} extra {extra[:3]}"
        )
    worst = 0
    for file in of_a:
        _compare(f"{a}/{file}", f"{b}/{file}")
        at_a, at_b = os.stat(f"{a}/{file}").st_mtime_ns, os.stat(f"{b}/{file}").st_mtime_ns
        if at_a != at_b:
            worst = max(worst, 1 if at_a // 10**9 == at_b // 10**9 else 2)
    if with_mtimes and worst == 2:
        raise AssertionError("mtimes differ")
    return ("ns", "s", "none")[worst]


def _compare(a: str, b: str) -> None:
    with open(a, "rb", buffering=0) as of_a, open(b, "rb", buffering=0) as of_b:
        if os.fstat(of_a.fileno()).st_size != os.fstat(of_b.fileno()).st_size:
            raise AssertionError(f"size differs: {a}")
        while True:
            piece = of_a.read(4 * MIB)
            if piece != of_b.read(4 * MIB):
                raise AssertionError(f"content differs: {a}")
            if not piece:
                return


class TreeWatch:
    """Whether every file of A is at B with its size and mtime (to the second), and what must be gone is gone.

    Asked again and again it is cheap: it begins where it last found something missing.
    """

    def __init__(self, a: str, b: str, with_mtimes: bool = True, gone: Iterable[str] = ()) -> None:
        self._want = []
        for file in files_of(a):
            stat = os.stat(f"{a}/{file}")
            self._want.append((f"{b}/{file}", stat.st_size, stat.st_mtime_ns // 10**9))
        random.Random(1).shuffle(self._want)
        self._found, self._with_mtimes, self._gone = 0, with_mtimes, [f"{b}/{name}" for name in gone]

    def is_done(self) -> bool:
        while self._found < len(self._want):
            path, size, mtime = self._want[self._found]
            try:
                stat = os.stat(path)
            except OSError:
                return False
            if stat.st_size != size or (self._with_mtimes and stat.st_mtime_ns // 10**9 != mtime):
                return False
            self._found += 1
        return not any(os.path.lexists(path) for path in self._gone)

    def wait(self, until: float) -> float:
        """Waits until it is so; when that was seen."""
        pause = 0.002 if len(self._want) < 10 else 0.02
        while not self.is_done():
            if time.monotonic() > until:
                raise TimeoutError(f"not complete in time: {self._found} of {len(self._want)} files seen")
            time.sleep(pause)
        return time.monotonic()
