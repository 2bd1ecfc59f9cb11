"""One end of a BitTorrent transfer, a program of its own: see the usage below.

It listens from its start. The origin waits for the torrent, a receiver for the file GO; one that has
everything makes the file GO.done.FOLDER.
"""

import os
import sys
import time
from typing import Any

import libtorrent as lt

USAGE = "usage: make FOLDER TORRENT | node TORRENT FOLDER LISTEN PEERS seed|leech GO"

SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "out_enc_policy": 2,
    "in_enc_policy": 2,
    "allow_multiple_connections_per_ip": True,
    "aio_threads": 4,
    "hashing_threads": 2,
    "send_buffer_watermark": 4 << 20,
    "unchoke_slots_limit": 20,
    "rate_limit_ip_overhead": False,
    "alert_mask": 0,
    "max_out_request_queue": 2000,
    "connection_speed": 100,
    "min_reconnect_time": 1,
    "choking_algorithm": 0,
}


def make(folder: str, torrent: str) -> None:
    storage = lt.file_storage()
    lt.add_files(storage, folder)
    version = getattr(lt.create_torrent, "v1_only", 64)
    created = lt.create_torrent(storage, 0, version)
    lt.set_piece_hashes(created, os.path.dirname(folder))
    with open(torrent + ".new", "wb") as file:
        file.write(lt.bencode(created.generate()))
    os.rename(torrent + ".new", torrent)


def wait_for(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.01)


def node(torrent: str, folder: str, listen: str, peers: str, role: str, go: str) -> None:
    session = lt.session({"listen_interfaces": listen, **SETTINGS})
    wait_for(torrent if role == "seed" else go)
    info = lt.torrent_info(torrent)
    name = os.path.basename(folder)
    # The torrent's own root is called as the origin's folder; here it is this one.
    files = info.files()
    for i in range(files.num_files()):
        below = files.file_path(i).split("/", 1)[-1]
        info.rename_file(i, f"{name}/{below}")
    wanted = lt.add_torrent_params()
    wanted.ti, wanted.save_path = info, os.path.dirname(folder)
    wanted.flags &= ~lt.torrent_flags.auto_managed & ~lt.torrent_flags.paused
    if role == "seed":
        wanted.flags |= lt.torrent_flags.seed_mode
    added = session.add_torrent(wanted)
    if role == "leech":
        fetch(added, [address.rsplit(":", 1) for address in peers.split(",")])
        open(f"{go}.done.{name}", "w").close()
    while True:
        time.sleep(1)


def fetch(added: Any, peers: list[list[str]]) -> None:
    """Until all of it is there; who could not be reached is called again twice a second."""
    rounds = 0
    while not added.status().is_seeding:
        if rounds % 10 == 0:
            for ip, port in peers:
                added.connect_peer((ip, int(port)))
        rounds += 1
        time.sleep(0.05)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", *rest] if len(rest) == 2:
            make(*rest)
        case ["node", *rest] if len(rest) == 6:
            node(*rest)
        case _:
            sys.exit(USAGE)
