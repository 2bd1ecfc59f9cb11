"""Runs a program on a terminal of its own, and answers its questions.

    terminal.py COLUMNS [QUESTION ANSWER]... -- PROGRAM ARGUMENTS...

Each answer is typed once its question stands on the terminal. What the terminal showed is printed, and its exit code is the
program's. It ends after 30 seconds in any case.
"""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios


def main():
    split = sys.argv.index("--")
    columns, dialogue, command = int(sys.argv[1]), sys.argv[2:split], sys.argv[split + 1 :]
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        os.execvp(command[0], command)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(30)
    shown, searched = b"", 0
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:
            # What Linux says when the last program of a terminal has gone.
            read = b""
        if not read:
            break
        shown += read
        while dialogue and dialogue[0].encode() in shown[searched:]:
            searched = len(shown)
            os.write(terminal, dialogue[1].encode() + b"\n")
            dialogue = dialogue[2:]
    sys.stdout.buffer.write(shown)
    sys.stdout.flush()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


main()
