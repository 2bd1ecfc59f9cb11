"""Syncthing: with its defaults, and at its best."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from .machine import sh
from .meter import Meter
from .tools import Tool


class _OverUnix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=300)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(300)
        self.sock.connect(self._path)


def _text(element: ET.Element, path: str) -> str:
    found = element.findtext(path)
    if found is None:
        raise RuntimeError(f"syncthing's configuration has no {path}")
    return found


class Syncthing(Tool):
    """TLS 1.3, SHA-256 of every block, fsync of each file; index in a database."""

    name = "syncthing"
    is_daemon = True
    indexes_first = True
    indexes_alone = True
    watch_delay = 10
    port = 22000
    folder_options: ClassVar[dict[str, Any]] = {}
    options: ClassVar[dict[str, str]] = {}

    def prepare(self) -> None:
        self.keys: list[str] = []
        self.ids: list[str] = []
        hosts = range(len(self.folders))
        for i in hosts:
            new = ["syncthing", "generate", f"--home={self.home_of(i)}", "--no-default-folder"]
            sh([*new, "--skip-port-probing"], env={**os.environ, "HOME": self.home})
            root = ET.parse(f"{self.home_of(i)}/config.xml").getroot()
            device = root.find("device")
            if device is None:
                raise RuntimeError("syncthing made no device")
            self.keys.append(_text(root, "gui/apikey"))
            self.ids.append(device.get("id", ""))
        for i in hosts:
            self.configure(i)
            serve = ["syncthing", "serve", f"--home={self.home_of(i)}", "--no-browser", "--no-default-folder"]
            cores = str(os.cpu_count())
            env = {"HOME": self.home, "STNOUPGRADE": "1", "STMONITORED": "", "GOMAXPROCS": cores}
            self.spawn(i, serve, f"s{i}", env=env)
        for i in hosts:
            self.until(partial(self.rest, i, "GET", "/rest/system/ping"), 30)
        for i in hosts:
            self.until(partial(self.has_met_all, i), 60)

    def home_of(self, i: int) -> str:
        return f"{self.home}/s{i}"

    def configure(self, i: int) -> None:
        path = f"{self.home_of(i)}/config.xml"
        tree = ET.parse(path)
        root = tree.getroot()
        gui, options = root.find("gui/address"), root.find("options")
        if gui is None or options is None:
            raise RuntimeError("syncthing made another configuration than is known here")
        gui.text = f"{self.home_of(i)}/gui.sock"
        for old in options.findall("listenAddress"):
            options.remove(old)
        wanted = {
            "listenAddress": f"tcp://{self.net.ip[i]}:{self.port + i}",
            "globalAnnounceEnabled": "false",
            "localAnnounceEnabled": "false",
            "relaysEnabled": "false",
            "natEnabled": "false",
            "crashReportingEnabled": "false",
            "urAccepted": "-1",
            "autoUpgradeIntervalH": "0",
            "startBrowser": "false",
            "setLowPriority": "false",
            "reconnectionIntervalS": "1",
            "limitBandwidthInLan": "false",
            **self.options,
        }
        for key, value in wanted.items():
            option = options.find(key)
            if option is None:
                option = ET.SubElement(options, key)
            option.text = value
        for old in root.findall("device"):
            root.remove(old)
        for j, device in enumerate(self.ids):
            element = ET.SubElement(root, "device", id=device, name=f"h{j}", compression="metadata")
            # One side dials.
            address = f"tcp://{self.net.ip[j]}:{self.port + j}" if j < i else "dynamic"
            ET.SubElement(element, "address").text = address
        tree.write(path)

    def until(self, is_so: Callable[[], object], limit: float, every: float = 0.1) -> None:
        end = time.monotonic() + limit
        while True:
            try:
                if is_so():
                    return
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > end:
                raise TimeoutError("syncthing is not ready")
            time.sleep(every)

    def rest(self, i: int, method: str, path: str, body: object = None) -> Any:
        connection = _OverUnix(f"{self.home_of(i)}/gui.sock")
        headers = {"X-API-Key": self.keys[i], "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        if response.status >= 300:
            raise RuntimeError(f"{path}: {response.status} {data[:300]!r}")
        # A ping that is answered is an answer.
        return json.loads(data) if data else True

    def has_met_all(self, i: int) -> bool:
        connections = self.rest(i, "GET", "/rest/system/connections")["connections"].values()
        return len([1 for each in connections if each["connected"]]) >= len(self.folders) - 1

    def put_folder(self, i: int, is_shared: bool) -> None:
        folder = {
            "id": "f",
            "label": "f",
            "path": self.folders[i],
            "type": "sendreceive",
            "devices": [{"deviceID": device} for k, device in enumerate(self.ids) if is_shared or k == i],
            "rescanIntervalS": 3600,
            "fsWatcherEnabled": True,
            "fsWatcherDelayS": self.watch_delay,
            **self.folder_options,
        }
        self.rest(i, "PUT", "/rest/config/folders/f", folder)

    def is_indexed(self) -> bool:
        status = self.rest(0, "GET", "/rest/db/status?folder=f")
        return bool(status["state"] == "idle" and status["sequence"] > 0)

    def index(self) -> None:
        self.put_folder(0, False)
        self.until(self.is_indexed, 900, 0.05)

    def transfer(self, meter: Meter) -> None:
        for i in range(len(self.folders)):
            self.put_folder(i, True)

    def rescan(self) -> None:
        self.rest(0, "POST", "/rest/db/scan?folder=f")


class SyncthingTuned(Syncthing):
    """As syncthing, but no fsync, and more at once."""

    name = "syncthing-tuned"
    watch_delay = 1
    folder_options = {
        "disableFsync": True,
        "copiers": 4,
        "hashers": 2,
        "pullerMaxPendingKiB": 131072,
        "scanProgressIntervalS": -1,
        "maxConcurrentWrites": 16,
        "copyRangeMethod": "copy_file_range",
    }
    options = {"databaseTuning": "large", "maxFolderConcurrency": "4"}
