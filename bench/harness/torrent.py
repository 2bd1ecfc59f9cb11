"""BitTorrent, by libtorrent, whose Python module is of the system's Python."""

from __future__ import annotations

import os

from .machine import HERE, sh
from .meter import Meter
from .tools import Tool

PYTHON = "/usr/bin/python3"
NODE = f"{HERE}/harness/torrent_node.py"


class LibTorrent(Tool):
    """No encryption, SHA-1 of each piece, no fsync, no mtimes, static content only."""

    name = "libtorrent"
    is_daemon = True
    indexes_first = True
    keeps_mtimes = False
    port = 6881

    def address(self, i: int) -> str:
        return f"{self.net.ip[i]}:{self.port + i}"

    def prepare(self) -> None:
        hosts = range(len(self.folders))
        for i in hosts:
            peers = ",".join(self.address(j) for j in hosts if j != i)
            role = "seed" if i == 0 else "leech"
            node = [
                f"{self.home}/t.torrent",
                self.folders[i],
                self.address(i),
                peers,
                role,
                f"{self.home}/go",
            ]
            self.spawn(i, [PYTHON, NODE, "node", *node], f"node{i}")
        for i in hosts:
            self.wait_port(i, self.port + i)

    def index(self) -> None:
        """Makes the torrent; the origin waits for it, the receivers for `go`."""
        sh([PYTHON, NODE, "make", self.folders[0], f"{self.home}/t.torrent"])

    def transfer(self, meter: Meter) -> None:
        open(f"{self.home}/go", "w").close()

    def is_finished(self) -> bool:
        return all(os.path.exists(f"{self.home}/go.done.{os.path.basename(to)}") for to in self.folders[1:])
