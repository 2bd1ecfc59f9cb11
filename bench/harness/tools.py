"""The tools that are compared: Shoal, and one-shot ones; `syncthing` and `torrent` have the other daemons.

A tool joins n hosts; host 0 is the origin (A), the others are receivers. The life of a run:

    tool = Tool(net, home, folders)
    tool.prepare()          starts what must run beforehand, not timed
    tool.index()            A takes in its folder while nobody else has it, and this returns when that is done
    tool.transfer(meter)    returns when all is under way (daemons), or done (others)
    tool.sync(meter)        after a later change: daemons do nothing, others run again
    tool.stop()

To add one, write a class here and name it in `TOOLS` of `workloads`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from typing import ClassVar

from .machine import HERE, sh
from .meter import Meter, Proc
from .net import Net


class Tool:
    """What every tool has; one that does nothing."""

    name: ClassVar[str]
    # A daemon goes on by itself; others are run again.
    is_daemon: ClassVar[bool] = False
    # Whether `transfer` wants `index` first; else it indexes meanwhile.
    indexes_first: ClassVar[bool] = False
    # Whether it can index a folder that nobody shares with it.
    indexes_alone: ClassVar[bool] = False
    # Seconds that it waits before it looks at a change; None: it does not watch.
    watch_delay: ClassVar[float | None] = None
    keeps_mtimes: ClassVar[bool] = True

    def __init__(self, net: Net, home: str, folders: list[str]) -> None:
        self.net, self.home, self.folders = net, home, folders
        self.receivers = range(1, len(folders))
        self.procs: list[Proc] = []
        os.makedirs(home, exist_ok=True)

    def spawn(self, i: int, command: list[str], log: str, env: dict[str, str] | None = None) -> None:
        """Starts what runs until the end of the run."""
        self.procs.append(Proc(self.net, i, command, f"{self.home}/{log}.log", env))

    def once(self, meter: Meter | None, i: int, command: list[str], env: dict[str, str] | None = None) -> str:
        """Runs a command to its end, as a measured part; what it printed."""
        log = f"{self.home}/once.log"
        if os.path.exists(log):
            os.unlink(log)
        proc = Proc(self.net, i, command, log, env)
        if meter:
            meter.add(proc)
        status, rss = proc.wait()
        if meter:
            meter.saw_rss(rss)
        with open(log, errors="replace") as file:
            said = file.read()
        if status:
            raise RuntimeError(f"{self.name}: {command[0]} ended with {status}: {said[-800:]}")
        return said

    def wait_port(self, i: int, port: int, limit: float = 15) -> None:
        until = time.monotonic() + limit
        while time.monotonic() < until:
            sockets = sh(self.net.on(i, ["cat", "/proc/net/tcp", "/proc/net/tcp6"]))
            if re.search(rf":{port:04X} [0-9A-F]+:0000 0A", sockets):
                return
            time.sleep(0.05)
        raise TimeoutError(f"{self.name}: nothing listens on {port}")

    def prepare(self) -> None:
        pass

    def index(self) -> None:
        raise NotImplementedError

    def transfer(self, meter: Meter) -> None:
        raise NotImplementedError

    def sync(self, meter: Meter) -> None:
        if not self.is_daemon:
            self.transfer(meter)

    def rescan(self) -> None:
        """A daemon looks at all of A's folder anew; returns when that is done."""
        raise NotImplementedError

    def is_finished(self) -> bool:
        """The tool's own word, asked as well as the receivers' folders."""
        return True

    def stop(self) -> None:
        for proc in self.procs:
            proc.stop()


class Shoal(Tool):
    """TLS 1.3, BLAKE3 of every segment, all durable before it counts."""

    name = "shoal"
    is_daemon = True
    indexes_alone = True
    watch_delay = 0
    port = 4242

    def home_of(self, i: int) -> str:
        return f"{self.home}/h{i}"

    def shoal(self, i: int, *args: str) -> list[str]:
        binary = os.environ.get("SHOAL") or f"{os.path.dirname(HERE)}/target/release/shoal"
        return [binary, *args, "--home", self.home_of(i), "--json"]

    def prepare(self) -> None:
        for i, ip in enumerate(self.net.ip):
            os.mkdir(self.home_of(i), mode=0o700)
            with open(f"{self.home_of(i)}/config.toml", "w") as file:
                file.write(f'lan = false\nlisten = ["{ip}:{self.port + i}"]\n')
            self.spawn(i, self.shoal(i, "up"), f"up{i}")
        for i in range(len(self.net.ip)):
            self.wait_port(i, self.port + i)

    def share(self, meter: Meter | None) -> str:
        """Shares A's folder; an invite for all receivers."""
        uses = str(len(self.receivers))
        said = self.once(meter, 0, self.shoal(0, "share", self.folders[0], "--uses", uses))
        for line in said.splitlines():
            invite = json.loads(line).get("invite")
            if isinstance(invite, str):
                return invite
        raise RuntimeError(f"shoal share gave no invite: {said[-800:]}")

    def index(self) -> None:
        self.share(None)
        self.rescan()

    def transfer(self, meter: Meter) -> None:
        invite = self.share(meter)
        for i in self.receivers:
            self.once(meter, i, self.shoal(i, "join", invite, self.folders[i]))

    def rescan(self) -> None:
        self.once(None, 0, self.shoal(0, "rescan"))


class Rsync(Tool):
    """No encryption, no fsync, no whole-tree hash; temporary file and rename."""

    name = "rsync"
    options: ClassVar[list[str]] = []

    def prepare(self) -> None:
        for i in self.receivers:
            config = f"{self.home}/rsyncd{i}.conf"
            with open(config, "w") as file:
                file.write("use chroot = no\nuid = 0\ngid = 0\nlist = no\n[m]\nread only = no\n")
                file.write(f"path = {self.folders[i]}\n")
            address = [f"--port={8730 + i}", f"--address={self.net.ip[i]}"]
            self.spawn(i, ["rsync", "--daemon", "--no-detach", f"--config={config}", *address], f"d{i}")
        for i in self.receivers:
            self.wait_port(i, 8730 + i)

    def command(self, i: int) -> list[str]:
        target = f"rsync://{self.net.ip[i]}:{8730 + i}/m/"
        return ["rsync", "-a", "--delete", *self.options, self.folders[0] + "/", target]

    def transfer(self, meter: Meter) -> None:
        for i in self.receivers:
            self.once(meter, 0, self.command(i))


class RsyncInplace(Rsync):
    """As rsync, but a torn file when it is interrupted."""

    name, options = "rsync-inplace", ["--inplace"]


class RsyncFsync(Rsync):
    """No encryption; fsync of each file."""

    name, options = "rsync-fsync", ["--fsync"]


class RsyncZ(Rsync):
    """As rsync, compressed."""

    name, options = "rsync-z", ["-z"]


class RsyncParallel(Rsync):
    """As rsync, to all receivers at once."""

    name = "rsync-parallel"

    def transfer(self, meter: Meter) -> None:
        procs = [Proc(self.net, 0, self.command(i), f"{self.home}/to{i}.log") for i in self.receivers]
        for proc in procs:
            meter.add(proc)
        statuses = [proc.wait()[0] for proc in procs]
        if any(statuses):
            raise RuntimeError("rsync failed")


class OverSsh(Tool):
    """What goes through an sshd of its own at each receiver."""

    cipher: ClassVar[list[str]] = []

    def prepare(self) -> None:
        os.makedirs("/run/sshd", exist_ok=True)
        for key in ("host", "user"):
            sh(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.home}/{key}"])
        shutil.copy(f"{self.home}/user.pub", f"{self.home}/authorized")
        os.chmod(f"{self.home}/authorized", 0o600)
        for i in self.receivers:
            config = f"{self.home}/sshd{i}.conf"
            with open(config, "w") as file:
                file.write(
                    f"ListenAddress {self.net.ip[i]}:{8930 + i}\nHostKey {self.home}/host\n"
                    f"AuthorizedKeysFile {self.home}/authorized\nStrictModes no\nPermitRootLogin yes\n"
                    "UsePAM no\nPidFile none\nUseDNS no\nSubsystem sftp internal-sftp\n"
                )
            self.spawn(i, ["/usr/sbin/sshd", "-D", "-e", "-f", config], f"sshd{i}")
        for i in self.receivers:
            self.wait_port(i, 8930 + i)

    def ssh(self, i: int) -> str:
        known = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -F none"
        return " ".join(["ssh", "-p", str(8930 + i), "-i", f"{self.home}/user", *self.cipher, known])


class RsyncSsh(OverSsh):
    """Encrypted (what OpenSSH prefers), no fsync."""

    name = "rsync-ssh"

    def transfer(self, meter: Meter) -> None:
        for i in self.receivers:
            target = f"root@{self.net.ip[i]}:{self.folders[i]}/"
            self.once(meter, 0, ["rsync", "-a", "--delete", "-e", self.ssh(i), self.folders[0] + "/", target])


class RsyncSshAes(RsyncSsh):
    """Encrypted (aes128-gcm), no fsync."""

    name, cipher = "rsync-ssh-aes", ["-c", "aes128-gcm@openssh.com"]


class Rclone(OverSsh):
    """Encrypted (SSH), no fsync, no delta, mtimes to the second."""

    name = "rclone-sftp"
    flags: ClassVar[list[str]] = []

    def transfer(self, meter: Meter) -> None:
        for i in self.receivers:
            host = ["--sftp-host", self.net.ip[i], "--sftp-port", str(8930 + i), "--sftp-user", "root"]
            key = ["--sftp-key-file", f"{self.home}/user", "--sftp-disable-hashcheck"]
            what = ["--config", f"{self.home}/none.conf", "sync", self.folders[0], ":sftp:" + self.folders[i]]
            self.once(meter, 0, ["rclone", *what, *host, *key, *self.flags])


class RcloneTuned(Rclone):
    """As rclone-sftp, 16 files at once."""

    name = "rclone-sftp-t16"
    flags = ["--transfers", "16", "--checkers", "16", "--sftp-concurrency", "128"]


class Unison(Tool):
    """No encryption (socket mode), no fsync; fingerprints of all files at both ends; mtimes to the second."""

    name = "unison"

    def env(self, side: str) -> dict[str, str]:
        return {"UNISON": f"{self.home}/{side}", "HOME": self.home}

    def prepare(self) -> None:
        for i in self.receivers:
            listen = ["-socket", str(9030 + i), "-listen", self.net.ip[i]]
            self.spawn(i, ["unison", *listen], f"u{i}", env=self.env(f"ub{i}"))
            self.wait_port(i, 9030 + i)

    def transfer(self, meter: Meter) -> None:
        flags = ["-batch", "-auto", "-silent", "-ui", "text", "-times", "-confirmbigdel=false"]
        flags += ["-prefer", self.folders[0], "-fastcheck", "true"]
        for i in self.receivers:
            root = f"socket://{self.net.ip[i]}:{9030 + i}/{self.folders[i]}"
            self.once(meter, 0, ["unison", self.folders[0], root, *flags], env=self.env(f"ua{i}"))
