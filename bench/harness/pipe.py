"""A program of its own: how long a file takes through read, TCP and write, if wished with TLS 1.3 and hashes.

usage: pipe.py plain|tls|hash|tls-hash SOURCE TARGET CERTIFICATE; prints seconds.
"""

import contextlib
import hashlib
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable

MIB = 1 << 20


def pass_on(
    read: Callable[[memoryview], int | None], write: Callable[[memoryview], object], with_hash: bool
) -> None:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(MIB))
    while length := read(buffer):
        if with_hash:
            digest.update(buffer[:length])
        write(buffer[:length])


def receive(listener: socket.socket, target: str, certificate: str, with_tls: bool, with_hash: bool) -> None:
    connection, _ = listener.accept()
    if with_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate + ".crt", certificate + ".key")
        connection = context.wrap_socket(connection, server_side=True)
    with open(target, "wb", buffering=0) as file:
        pass_on(connection.recv_into, file.write, with_hash)


def send(address: tuple[str, int], source: str, with_tls: bool, with_hash: bool) -> float:
    """When it began."""
    connection = socket.create_connection(address)
    if with_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = context.wrap_socket(connection)
    began = time.monotonic()
    with open(source, "rb", buffering=0) as file:
        pass_on(file.readinto, connection.sendall, with_hash)
    if isinstance(connection, ssl.SSLSocket):
        with contextlib.suppress(OSError):
            connection = connection.unwrap()
    connection.close()
    return began


def main() -> None:
    mode, source, target, certificate = sys.argv[1:]
    with_tls, with_hash = "tls" in mode, "hash" in mode
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    child = os.fork()
    if child == 0:
        receive(listener, target, certificate, with_tls, with_hash)
        os._exit(0)
    began = send(address, source, with_tls, with_hash)
    os.waitpid(child, 0)
    print(time.monotonic() - began)


if __name__ == "__main__":
    main()
