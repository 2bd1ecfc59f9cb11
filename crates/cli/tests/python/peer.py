#!/usr/bin/env python3
"""A peer of the course assignment, one oddity at a time, for Shoal's end-to-end tests.

Written from docs/classic-protocol.md and the assignment's text alone; it shares no code with Shoal,
so that the two cannot agree on the same mistake. It is what a student hands in: one file, the
standard library, a loop that talks to the tracker and fetches, a thread for each request it serves.

`Classic` and `Framed` are the two dialects done plainly. Every class below them is one behaviour seen
in real programs and holds nothing but its difference. README.md says which point each stands for.

What happens is told on stdout, one JSON object a line, so that tests wait for events, not for time:

    listening port             before the tracker is called; the port that is announced
    directory files, sources   when the directory differs from the last: {name: mtime}, {name: "ip:port"}
    fetched   name, bytes      stored, and its mtime set
    failed    name, why        a file was not fetched or not served; the next one is tried
    asked     name             a request, as it arrived
    served    name, bytes      the answer has been sent
    stuck     why              a real program hangs here or its thread has died; serving goes on
"""

import argparse
import json
import os
import re
import signal
import socket
import sys
import threading
import time

SKIPPED = (".py", ".so", ".dll")  # the assignment's skip list
CHUNK = 8192

output = threading.Lock()
log_file = None


def event(kind, **facts):
    """One line to stdout, written at once. A reader that has gone away stops nobody."""
    line = json.dumps({"event": kind, **facts}, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
    log(line.decode().rstrip())
    with output:
        try:
            while line:
                line = line[os.write(1, line):]
        except OSError:
            pass


def log(text):
    if log_file:
        print("%.3f %s" % (time.time(), text), file=log_file, flush=True)


def is_plain(name):
    return name not in ("", ".", "..") and not set(name) & set("/\\\0\n")


class Stuck(Exception):
    """No more syncing: a real program's thread ends here."""


class Classic:
    """The assignment's text: JSON without delimiter, a bare name, bytes until close."""

    def __init__(self, args):
        self.args = args
        self.claims = dict(args.claim)
        self.heard = b""  # from the tracker, not used yet

    # ---- the folder

    def path(self, name):
        return os.path.join(self.args.dir, name)

    def mtime(self, name):
        return int(os.stat(self.path(name)).st_mtime)

    def has(self, name):
        """The mtime of our copy, None without one; claimed files count as ours."""
        try:
            return max(int(self.mtime(name)), int(self.claims.get(name, 0)))
        except OSError:
            return self.claims.get(name)

    def files(self):
        names = [n for n in sorted(os.listdir(self.args.dir)) if os.path.isfile(self.path(n))]
        mtimes = {n: self.mtime(n) for n in names if not n.endswith(SKIPPED)}
        return [{"name": n, "mtime": m} for n, m in {**mtimes, **self.claims}.items()]

    def content(self, name):
        """The bytes of a file of the folder, None when there is none of that name."""
        try:
            with open(self.path(name), "rb") as file:
                return file.read() if is_plain(name) else None
        except (OSError, ValueError):
            return None

    def store(self, name, content, mtime):
        with open(self.path(name), "wb") as file:
            file.write(content)
        os.utime(self.path(name), (mtime, mtime))

    # ---- the tracker

    def sync(self):
        self.tracker.connect((self.args.tracker_ip, self.args.tracker_port))
        self.tell({"port": self.port, "files": self.files()})
        known = None
        while True:
            next_message = time.monotonic() + self.args.interval
            directory = self.read_directory()
            if directory != known:
                known = directory
                event(
                    "directory",
                    files={name: entry["mtime"] for name, entry in directory.items()},
                    sources={name: "%s:%s" % (entry["ip"], entry["port"]) for name, entry in directory.items()},
                )
            for name, entry in directory.items():
                self.consider(name, entry)
            time.sleep(max(0, next_message - time.monotonic()))  # the assignment's 5 s are a clock's business
            self.tell(self.keep_alive())

    def keep_alive(self):
        return {"port": self.port}

    def tell(self, message):
        data = self.encode(message)
        log("to tracker: %r" % data)
        self.tracker.sendall(data)

    def encode(self, message):
        return json.dumps(message).encode()

    def read_directory(self):
        while True:
            try:
                text = self.heard.decode().lstrip()
                directory, end = json.JSONDecoder().raw_decode(text)
                self.heard = text[end:].encode()
                return directory
            except ValueError:  # not complete yet
                self.heard += self.hear_tracker()

    def hear_tracker(self, size=65536):
        data = self.hear(self.tracker, size, "the tracker's reply")
        if not data:
            raise Stuck("the tracker closed the connection")
        return data

    def hear(self, sock, size, awaited):
        """One recv. A wait beyond --patience is told, and then goes on: a real program only hangs."""
        sock.settimeout(self.args.patience)
        try:
            data = sock.recv(size)
        except socket.timeout:
            event("stuck", why="waits for " + awaited)
            sock.settimeout(None)
            data = sock.recv(size)
        log("heard, waiting for %s: %r" % (awaited, data))
        return data

    # ---- fetching

    def consider(self, name, entry):
        try:
            if not is_plain(name):
                raise ValueError("not a plain file name")
            ours, mtime = self.has(name), int(entry["mtime"])
            points_here = (entry["ip"], entry["port"]) == (self.args.bind, self.port)
            if points_here or ours is not None and ours >= mtime:
                return
            content = self.fetch(name, entry["ip"], entry["port"])
            self.store(name, content, mtime)
        except (OSError, ValueError, TypeError, OverflowError) as why:
            event("failed", name=name, why="%s: %s" % (type(why).__name__, why))
            self.after_failure(why)
        else:
            event("fetched", name=name, bytes=len(content))

    def after_failure(self, why):
        """Go on with the next file, as the assignment asks."""

    def fetch(self, name, ip, port):
        with socket.create_connection((ip, port), timeout=self.args.timeout) as source:
            self.ask(source, name)
            return self.receive(source)

    def ask(self, source, name):
        source.sendall(name.encode("utf-8", "surrogateescape"))

    def receive(self, source):
        """Until the other side closes; no bytes at all are an empty file."""
        content = bytearray()
        while True:
            data = source.recv(CHUNK)
            if not data:
                return content
            content += data

    # ---- serving

    def bind(self):
        """A socket bound to Port B, whose number it remembers."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self.args.bind, self.args.port))
        self.port = sock.getsockname()[1]
        return sock

    def listen(self):
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            conn, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        name = None
        with conn:
            try:
                name = self.read_request(conn)
                if name is None:
                    return
                event("asked", name=name)
                sent = self.respond(conn, name)
                if sent is not None:
                    event("served", name=name, bytes=sent)
                self.finish(conn)
            except OSError as why:
                event("failed", name=name, why="serving: %s" % why)

    def read_request(self, conn):
        return conn.recv(CHUNK).decode("utf-8", "surrogateescape") or None

    def respond(self, conn, name):
        """Sends the answer; returns how many bytes of a file went out, None when it was none."""
        content = self.content(name)
        if content is None:
            return self.respond_unknown(conn)
        self.send_file(conn, content)
        return len(content)

    def respond_unknown(self, conn):
        """Not a byte; the close that follows is the answer."""

    def send_file(self, conn, content):
        conn.sendall(content)

    def finish(self, conn):
        """The connection closes as `serve` returns."""

    def hold(self, conn):
        """Keeps a connection open until the other side gives up."""
        conn.settimeout(None)
        while conn.recv(CHUNK):
            pass


class Framed(Classic):
    """2026: every message ends in a newline, a file follows `Content-Length: N`. Hangs without the newline."""

    def encode(self, message):
        return super().encode(message) + b"\n"

    def read_directory(self):
        while b"\n" not in self.heard:
            self.heard += self.hear_tracker()
        line, _, self.heard = self.heard.partition(b"\n")
        return json.loads(line)

    def ask(self, source, name):
        super().ask(source, name + "\n")

    def receive(self, source):
        with source.makefile("rb") as stream:
            size = self.parse_header(stream.readline())
            content = stream.read(size)
        return self.checked(content, size)

    def parse_header(self, line):
        match = re.fullmatch(rb"Content-Length: ?(\d+)\r?\n", line)
        if not match:
            raise ValueError("no header but %r" % line[:60])
        return int(match.group(1))

    def checked(self, content, size):
        if len(content) != size:
            raise ValueError("%d of %d bytes" % (len(content), size))
        return content

    def read_request(self, conn):
        request = b""
        while b"\n" not in request:
            data = self.hear(conn, CHUNK, "the newline after %r" % request)
            if not data:
                return None
            request += data
        return request.partition(b"\n")[0].decode("utf-8", "surrogateescape")

    def send_file(self, conn, content):
        conn.sendall(self.header(content) + content)

    def header(self, content):
        return b"Content-Length: %d\n" % len(content)


# ---- behaviours of both dialects


class Silent:
    """Accepts requests and never answers."""

    def respond(self, conn, name):
        self.hold(conn)


class NeverCloses:
    """Sends the answer and leaves the connection open; after an unknown name, too, which then looks silent."""

    def finish(self, conn):
        self.hold(conn)


# ---- behaviours of the classic dialect


class Recv2048(Classic):
    """Takes the reply to be what a single recv(2048) brings; what does not parse ends its syncing."""

    def read_directory(self):
        return json.loads(self.hear_tracker(2048))


class RecvUntilShort(Classic):
    """Takes the reply to end with the first recv under 8,192 bytes; hangs at exact multiples."""

    def read_directory(self):
        reply = b""
        while True:
            data = self.hear_tracker(CHUNK)
            reply += data
            if len(data) < CHUNK:
                return json.loads(reply)


class FloatMtimes(Classic):
    """Announces mtimes as os.stat gives them."""

    def mtime(self, name):
        return os.stat(self.path(name)).st_mtime


class Port180(Classic):
    """Keep-alives carry the number 180, which is the tracker's timeout and no port."""

    def keep_alive(self):
        return {"port": 180}


class Refused(Classic):
    """Announces a port at which nothing listens; it stays bound, so that nobody else gets it."""

    def listen(self):
        pass


class Garbage(Classic):
    """Answers every request with the text of an error (`--text`)."""

    def respond(self, conn, name):
        conn.sendall(os.fsencode(self.args.text))
        return len(self.args.text)


class Quoted(Classic):
    """Sends the name as a JSON string; its own server takes it with the quotes and without."""

    def ask(self, source, name):
        source.sendall(json.dumps(name).encode())

    def read_request(self, conn):
        request = super().read_request(conn)
        try:
            return str(json.loads(request)) if request and request.startswith('"') else request
        except ValueError:
            return request


class StopsAtRefusal(Classic):
    """Stops syncing at the first refused or reset connection. A timeout it survives."""

    def after_failure(self, why):
        if isinstance(why, ConnectionError):
            raise Stuck("an uncaught %s" % type(why).__name__)


class ShortRecvFile(Classic):
    """Takes a file to end with the first recv under 8,192 bytes, and closes."""

    def receive(self, source):
        content = bytearray()
        while True:
            data = source.recv(CHUNK)
            content += data
            if len(data) < CHUNK:
                return content


class HalfCloses(Classic):
    """Closes its sending half after the name."""

    def ask(self, source, name):
        super().ask(source, name)
        source.shutdown(socket.SHUT_WR)


class ClassicSilent(Silent, Classic):
    pass


class ClassicNeverCloses(NeverCloses, Classic):
    pass


# ---- behaviours of the framed dialect


class HeaderAndBodyApart(Framed):
    """Serves the header alone and the body later; reads the header with ONE recv and loses what came with it."""

    def send_file(self, conn, content):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.sendall(self.header(content))
        time.sleep(0.2)  # the gap is the behaviour
        conn.sendall(content)

    def receive(self, source):
        line, newline, _lost = source.recv(1024).partition(b"\n")
        size = self.parse_header(line + newline)
        with source.makefile("rb") as stream:
            return self.checked(stream.read(size), size)


class LiesLonger(Framed):
    """Announces 1,000 bytes more than it sends."""

    def header(self, content):
        return b"Content-Length: %d\n" % (len(content) + 1000)


class LiesShorter(Framed):
    """Announces half of what it sends."""

    def header(self, content):
        return b"Content-Length: %d\n" % (len(content) // 2)


class ZeroForUnknown(Framed):
    """Answers an unknown name as if it were an empty file."""

    def respond_unknown(self, conn):
        conn.sendall(self.header(b""))


class BadHeader(Framed):
    """Sends `--header` for a header, whatever it says, and then the body."""

    def header(self, content):
        return os.fsencode(self.args.header) + b"\n"


class FramedSilent(Silent, Framed):
    pass


class FramedNeverCloses(NeverCloses, Framed):
    pass


BEHAVIOURS = {
    "classic": {
        "plain": Classic,
        "until-eof": Classic,  # the plain way, by the name of what it relies on
        "recv2048": Recv2048,
        "recv-until-short": RecvUntilShort,
        "never-closes": ClassicNeverCloses,
        "float-mtimes": FloatMtimes,
        "port-180": Port180,
        "refused": Refused,
        "silent": ClassicSilent,
        "garbage": Garbage,
        "quoted": Quoted,
        "stops-at-refusal": StopsAtRefusal,
        "short-recv-file": ShortRecvFile,
        "half-closes": HalfCloses,
    },
    "framed": {
        "plain": Framed,
        "header-and-body-apart": HeaderAndBodyApart,
        "lies-longer": LiesLonger,
        "lies-shorter": LiesShorter,
        "zero-for-unknown": ZeroForUnknown,
        "bad-header": BadHeader,
        "silent": FramedSilent,
        "never-closes": FramedNeverCloses,
    },
}


def claim(text):
    name, _, mtime = text.rpartition("=")
    return name, float(mtime) if "." in mtime else int(mtime)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tracker_ip")
    parser.add_argument("tracker_port", type=int)
    parser.add_argument("--dir", default=".", help="the folder to sync")
    parser.add_argument("--dialect", choices=sorted(BEHAVIOURS), default="classic")
    parser.add_argument("--behaviour", default="plain")
    parser.add_argument("--bind", default="127.0.0.1", help="address to serve files at")
    parser.add_argument("--port", type=int, default=0, help="port to serve files at; 0: any free one")
    parser.add_argument("--interval", type=float, default=5, help="seconds between keep-alives")
    parser.add_argument("--timeout", type=float, default=5, help="seconds to wait for another peer")
    parser.add_argument("--patience", type=float, default=3, help="seconds of hanging before `stuck` is told")
    parser.add_argument("--life", type=int, default=300, help="seconds after which it ends by itself")
    parser.add_argument("--claim", type=claim, action="append", default=[], metavar="NAME=MTIME",
                        help="also announce this file, there or not")
    parser.add_argument("--header", default="Content-Length: -1", help="bad-header: the line to send")
    parser.add_argument("--text", default="HTTP/1.1 404 Not Found", help="garbage: what to serve")
    parser.add_argument("--log", help="file to append events and messages to")
    args = parser.parse_args()
    if args.behaviour not in BEHAVIOURS[args.dialect]:
        parser.error("%s has the behaviours %s" % (args.dialect, ", ".join(BEHAVIOURS[args.dialect])))
    return args


def leave(signum, _frame):
    signal.signal(signum, signal.SIG_IGN)
    sys.exit(0)


def main():
    global log_file
    args = parse_arguments()
    for name in ("SIGTERM", "SIGINT", "SIGQUIT", "SIGALRM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), leave)
    if hasattr(signal, "alarm"):
        signal.alarm(args.life)
    if args.log:
        log_file = open(args.log, "a", encoding="utf-8", errors="backslashreplace")
    peer = BEHAVIOURS[args.dialect][args.behaviour](args)
    with peer.bind() as peer.listener, socket.socket() as peer.tracker:
        peer.listen()
        event("listening", port=peer.port)
        try:
            peer.sync()
        except Exception as why:  # whatever a student's thread dies of
            event("stuck", why="%s: %s" % (type(why).__name__, why))
        threading.Event().wait()  # the serving thread lives on, until a signal


if __name__ == "__main__":
    main()
