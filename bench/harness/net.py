"""Networks of their own for each run, in network namespaces."""

from __future__ import annotations

import os
import subprocess

from .machine import BIN, sh


class Net:
    """Hosts that reach each other.

    lo   one namespace, all hosts on 127.0.0.1
    wan  two namespaces joined by delaybox (delay_ms one way, mbit, queue_kb)
    lan  n hosts on a bridge, each with tbf mbit on the way up and down
    """

    def __init__(
        self, kind: str = "lo", n: int = 2, mbit: int | None = None, delay_ms: int = 0, queue_kb: int = 1024
    ) -> None:
        self.kind = kind
        self.tag = f"b{os.getpid() % 10000}"
        self.ns: list[str] = []
        self.ip: list[str] = []
        self.device: list[str] = []
        self._all: list[str] = []
        self._box: subprocess.Popen[bytes] | None = None
        if kind == "lo":
            self.ns, self.ip, self.device = [self._add("L")] * n, ["127.0.0.1"] * n, ["lo"] * n
        elif kind == "wan":
            self._join_wan(delay_ms, mbit or 100, queue_kb)
        elif kind == "lan":
            self._join_lan(n, mbit)

    def _add(self, suffix: str) -> str:
        ns = self.tag + suffix
        subprocess.run(["ip", "netns", "del", ns], capture_output=True)
        sh(["ip", "netns", "add", ns])
        self._all.append(ns)
        sh(["ip", "-n", ns, "link", "set", "lo", "up"])
        # The same everywhere, where the machine allows it.
        cubic = ["sysctl", "-w", "net.ipv4.tcp_congestion_control=cubic"]
        subprocess.run(["ip", "netns", "exec", ns, *cubic], capture_output=True)
        return ns

    def _join_wan(self, delay_ms: int, mbit: int, queue_kb: int) -> None:
        a, b = self._add("A"), self._add("B")
        box = [f"{BIN}/delaybox", a, b, str(delay_ms), str(mbit), str(queue_kb)]
        self._box = subprocess.Popen(box, stdout=subprocess.PIPE)
        if not self._box.stdout or self._box.stdout.readline().strip() != b"ready":
            raise RuntimeError("delaybox did not start")
        self.ns, self.ip, self.device = [a, b], ["10.98.0.1", "10.98.0.2"], ["wan0", "wan0"]

    def _join_lan(self, n: int, mbit: int | None) -> None:
        switch = self._add("S")
        sh(f"ip -n {switch} link add br0 type bridge && ip -n {switch} link set br0 up")
        for i in range(n):
            host = self._add(f"H{i}")
            sh(f"ip -n {host} link add e0 type veth peer name p{i} netns {switch}")
            sh(f"ip -n {host} addr add 10.97.0.{i + 1}/24 dev e0 && ip -n {host} link set e0 up")
            sh(f"ip -n {switch} link set p{i} master br0 up")
            if mbit:  # the way up leaves the host by e0, the way down leaves the switch by p{i}
                tbf = f"root tbf rate {mbit}mbit burst 128kb latency 30ms"
                sh(f"tc -n {host} qdisc add dev e0 {tbf} && tc -n {switch} qdisc add dev p{i} {tbf}")
            self.ns.append(host)
            self.ip.append(f"10.97.0.{i + 1}")
            self.device.append("e0")

    def on(self, i: int, command: list[str]) -> list[str]:
        """The command, as host i runs it."""
        return ["ip", "netns", "exec", self.ns[i], *command]

    def counters(self, i: int) -> tuple[int, int]:
        """Bytes that host i's interface has sent and received, headers included."""
        for line in sh(self.on(i, ["cat", "/proc/net/dev"])).splitlines():
            name, _, fields = line.strip().partition(":")
            if name == self.device[i]:
                numbers = fields.split()
                return int(numbers[8]), int(numbers[0])
        raise RuntimeError(f"host {i} has no {self.device[i]}")

    def close(self) -> None:
        if self._box:
            self._box.kill()
            self._box.wait()
        for ns in self._all:
            subprocess.run(["ip", "netns", "del", ns], capture_output=True)

    def __enter__(self) -> Net:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
