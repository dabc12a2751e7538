"""Both ends of connections through a router, for live specs.

forward.py serve: answers "pong" to every "ping" of TCP and UDP at ports 1001, 1002, 2001 and 2002, and prints
"server PORT ERROR" of each TCP connection that ends in one.
forward.py ask ADDRESS:PORT PROTOCOL/WORD: says "ping", and when that is answered WORD; prints
"asked ADDRESS:PORT PROTOCOL/WORD OUTCOME MILLISECONDS". OUTCOME is what came, or the error's name.
"""
import errno
import selectors
import socket
import sys
import time

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
WAIT_S = 20


def serve():
    ends = selectors.DefaultSelector()
    for port in (1001, 1002, 2001, 2002):
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("", port))
        ends.register(datagrams, selectors.EVENT_READ, lambda end: end.sendto(b"pong", end.recvfrom(100)[1]))
        ends.register(socket.create_server(("", port)), selectors.EVENT_READ,
                      lambda end: ends.register(end.accept()[0], selectors.EVENT_READ, say))

    def say(end):
        try:
            if end.recv(100):
                end.sendall(b"pong")
                return
        except OSError as error:
            print("server", end.getsockname()[1], errno.errorcode[error.errno], flush=True)
        ends.unregister(end)
        end.close()

    print("ready", flush=True)
    while True:
        for key, _ in ends.select():
            key.data(key.fileobj)


def ask(to, what):
    address, port = to.split(":")
    protocol, word = what.split("/")
    with socket.socket(socket.AF_INET, KINDS[protocol]) as sock:
        sock.settimeout(WAIT_S)
        sock.connect((address, int(port)))
        sock.send(b"ping")
        assert sock.recv(100) == b"pong"
        began = time.monotonic()
        sock.send(word.encode())
        try:
            outcome = sock.recv(100).decode().replace(" ", "_")
        except OSError as error:
            outcome = errno.errorcode.get(error.errno, type(error).__name__)
        print("asked", to, what, outcome, "%.2f" % ((time.monotonic() - began) * 1000))


serve() if sys.argv[1] == "serve" else ask(*sys.argv[2:])
