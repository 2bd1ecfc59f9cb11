#!/usr/bin/env python3
"""A tracker of the course assignment, one oddity at a time, for Shoal's end-to-end tests.

Written from docs/classic-protocol.md and the assignment's text alone; it shares no code with Shoal,
so that the two cannot agree on the same mistake. One file, the standard library, a thread a connection.

`Classic` and `Framed` are the two dialects done plainly. The classes below them are what real trackers
do differently, and then what only a hostile one does; each goes with either dialect and holds nothing
but its difference. README.md says which point each stands for.

What happens is told on stdout, one JSON object a line, so that tests wait for events, not for time:

    listening port                    the first line
    joined    connection, ip          connections are numbered from 1
    message   connection, bytes, message   a message that parsed, with its length as it came
    replied   connection, bytes       the answer has been sent
    ignored   connection, why         a message that gets no answer
    stuck     connection, why         a real tracker hangs here or its thread has died
    left      connection              the connection has ended, from either side
"""

import argparse
import itertools
import json
import math
import os
import signal
import socket
import struct
import sys
import threading
import time

CHUNK = 8192

output = threading.Lock()


def event(kind, **facts):
    """One line to stdout, written at once. A reader that has gone away stops nobody."""
    line = json.dumps({"event": kind, **facts}, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
    with output:
        try:
            while line:
                line = line[os.write(1, line):]
        except OSError:
            pass


class Directory:
    """Who holds what; the one thing that connections share."""

    def __init__(self, forget):
        self.forget = forget
        self.lock = threading.Lock()
        self.mtimes = {}  # (name, holder) to mtime, in order of arrival; a holder is (ip, port)
        self.seen = {}  # holder to time of its last message

    def note(self, holder, mtimes):
        with self.lock:
            self.seen[holder] = time.monotonic()
            for name, mtime in mtimes.items():
                self.mtimes[name, holder] = mtime

    def listing(self):
        """The newest version of every name; of equals the first stays. Silent holders are gone."""
        with self.lock:
            silent_since = time.monotonic() - self.forget
            listing = {}
            for (name, holder), mtime in self.mtimes.items():
                newer = name not in listing or mtime > listing[name]["mtime"]
                if newer and self.seen[holder] >= silent_since:
                    listing[name] = {"ip": holder[0], "mtime": mtime, "port": holder[1]}
            return listing


class Left(Exception):
    """The connection has ended."""


class Classic:
    """One connection, by the assignment's text: JSON without delimiter in both directions."""

    def __init__(self, args, directory, conn, ip, number):
        self.args, self.directory, self.conn, self.ip, self.number = args, directory, conn, ip, number
        self.heard = b""  # not used yet
        self.replies = 0

    def event(self, kind, **facts):
        event(kind, connection=self.number, **facts)

    def run(self):
        self.event("joined", ip=self.ip)
        with self.conn:
            try:
                while True:
                    self.handle(self.read_message())
            except (Left, OSError):
                pass
            except Exception as why:  # whatever a student's thread dies of; the connection then stays open
                self.event("stuck", why="%s: %s" % (type(why).__name__, why))
                self.drain()
        self.event("left")

    def handle(self, data):
        message = json.loads(data)
        self.event("message", bytes=len(data), message=message)
        objection = self.objection(message)
        if objection:
            self.event("ignored", why=objection)
            return
        holder = (self.ip, message["port"])
        files = message.get("files", [])
        self.directory.note(holder, {file["name"]: self.mtime(file["mtime"]) for file in files})
        self.replies += 1
        reply = self.encode(self.listing(holder))
        self.send(reply)
        self.event("replied", bytes=len(reply))

    def objection(self, message):
        """Why this message gets no answer, None when it gets one."""

    def mtime(self, announced):
        return announced

    def listing(self, holder):
        """The directory, as the peer `holder` is told it."""
        return self.directory.listing()

    def encode(self, listing):
        return json.dumps(listing).encode()

    def send(self, reply):
        self.conn.sendall(reply)

    def read_message(self):
        """The bytes of one complete JSON value and the white space after it."""
        while True:
            try:
                text = self.heard.decode()
                start = len(text) - len(text.lstrip())
                _, end = json.JSONDecoder().raw_decode(text, start)
                end += len(text[end:]) - len(text[end:].lstrip())
                self.heard = text[end:].encode()
                return text[:end].encode()
            except ValueError:  # not complete yet
                self.heard += self.hear(midway=bool(self.heard.strip()))

    def hear(self, midway, size=65536):
        """One recv. Inside a message a wait beyond --patience is told, and then goes on: a real tracker only hangs."""
        self.conn.settimeout(self.args.patience if midway else None)
        try:
            data = self.conn.recv(size)
        except socket.timeout:
            self.event("stuck", why="waits for the rest of a message")
            self.conn.settimeout(None)
            data = self.conn.recv(size)
        self.conn.settimeout(None)
        if not data:
            raise Left
        return data

    def drain(self):
        try:
            while self.conn.recv(CHUNK):
                pass
        except OSError:
            pass


class Framed(Classic):
    """2026: a message is a line, and so is the reply. Hangs without the newline."""

    def encode(self, listing):
        return super().encode(listing) + b"\n"

    def read_message(self):
        while b"\n" not in self.heard:
            self.heard += self.hear(midway=bool(self.heard))
        line, newline, self.heard = self.heard.partition(b"\n")
        return line + newline


class Plain:
    """The dialect as it stands."""


# ---- what real trackers do


class RecvUntilShort:
    """Takes a message to end with the first recv under 8,192 bytes; hangs at exact multiples."""

    def read_message(self):
        message = b""
        while True:
            data = self.hear(midway=bool(message), size=CHUNK)
            message += data
            if len(data) < CHUNK:
                return message


class SingleRecv:
    """Takes a message to be what one recv brings: half a message or two of them end its thread."""

    def read_message(self):
        return self.hear(midway=False, size=CHUNK)


class StrictKeys:
    """Never answers a message that has a top-level key besides `port` and `files`. Keys of a file it just drops."""

    def objection(self, message):
        extra = sorted(set(message) - {"port", "files"})
        return "unknown keys: %s" % ", ".join(extra) if extra else None


class RoundsUp:
    """Rounds mtimes up; every second reply says that the asking peer holds everything."""

    def mtime(self, announced):
        return math.ceil(announced)

    def listing(self, holder):
        listing = super().listing(holder)
        if self.replies % 2 == 0:
            for entry in listing.values():
                entry["ip"], entry["port"] = holder
        return listing


class DropsNewline:
    """Ends its reply without a newline, also in the framed dialect."""

    def encode(self, listing):
        return super().encode(listing).rstrip(b"\n")


class Splits:
    """Sends its reply in two segments, a moment apart."""

    def send(self, reply):
        self.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        middle = len(reply) // 2
        self.conn.sendall(reply[:middle])
        time.sleep(0.2)  # the gap is the behaviour
        self.conn.sendall(reply[middle:])


# ---- what only a hostile one does


class Hostile:
    """Answers every message with the bytes of the file `--directory`, as they are."""

    def encode(self, listing):
        with open(self.args.directory, "rb") as file:
            return file.read()


class Flood:
    """Answers the first message with 1,000 directories a second, for `--seconds`; then goes on plainly.
    Who does not read for that long is cut off."""

    def send(self, reply):
        if self.replies > 1:
            super().send(reply)
            return
        self.conn.settimeout(self.args.seconds)
        start = time.monotonic()
        for tick in range(int(self.args.seconds * 100)):
            self.conn.sendall(reply * 10)
            time.sleep(max(0, start + (tick + 1) / 100 - time.monotonic()))


class NeverReplies:
    """Hears everything and says nothing."""

    def objection(self, message):
        return "never replies"


class ClosesMidLine:
    """Sends half of the directory and closes."""

    def send(self, reply):
        self.conn.sendall(reply[: len(reply) // 2])
        raise Left


class Resets:
    """Answers with a reset."""

    def send(self, reply):
        self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Left


class HttpText:
    """Answers as a web server does, and closes."""

    def send(self, reply):
        body = b"<html><body><h1>400 Bad Request</h1></body></html>\n"
        self.conn.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n"
                          b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        raise Left


class OneByte:
    """Sends its reply one byte a second."""

    def send(self, reply):
        for byte in reply:
            self.conn.sendall(bytes([byte]))
            time.sleep(1)


DIALECTS = {"classic": Classic, "framed": Framed}

BEHAVIOURS = {
    "plain": Plain,
    "recv-until-short": RecvUntilShort,
    "single-recv": SingleRecv,
    "strict-keys": StrictKeys,
    "rounds-up": RoundsUp,
    "drops-newline": DropsNewline,
    "splits": Splits,
    "hostile": Hostile,
    "flood": Flood,
    "never-replies": NeverReplies,
    "closes-mid-line": ClosesMidLine,
    "resets": Resets,
    "http-text": HttpText,
    "one-byte": OneByte,
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int, help="0: any free one")
    parser.add_argument("--dialect", choices=sorted(DIALECTS), default="classic")
    parser.add_argument("--behaviour", choices=BEHAVIOURS, default="plain")
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--forget", type=float, default=180, help="seconds of silence after which a peer is gone")
    parser.add_argument("--patience", type=float, default=3, help="seconds of hanging before `stuck` is told")
    parser.add_argument("--life", type=int, default=300, help="seconds after which it ends by itself")
    parser.add_argument("--directory", help="hostile: file with the bytes to answer with")
    parser.add_argument("--seconds", type=float, default=5, help="flood: how long")
    args = parser.parse_args()
    if args.behaviour == "hostile" and not args.directory:
        parser.error("hostile needs --directory FILE")
    return args


def leave(signum, _frame):
    signal.signal(signum, signal.SIG_IGN)
    sys.exit(0)


def main():
    args = parse_arguments()
    for name in ("SIGTERM", "SIGINT", "SIGQUIT", "SIGALRM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), leave)
    if hasattr(signal, "alarm"):
        signal.alarm(args.life)
    connection = type("Connection", (BEHAVIOURS[args.behaviour], DIALECTS[args.dialect]), {})
    directory = Directory(args.forget)
    with socket.create_server((args.bind, args.port), backlog=128) as listener:
        event("listening", port=listener.getsockname()[1])
        for number in itertools.count(1):
            conn, (ip, _) = listener.accept()
            handler = connection(args, directory, conn, ip, number)
            threading.Thread(target=handler.run, daemon=True).start()


if __name__ == "__main__":
    main()
