"""What becomes of connections and questions: a client for live specs.

ask.py SECONDS: reads lines "NAME tcp|udp ADDRESS PORT" ("fe80::1%eth0" is an address), asks one after the other, and
prints for each "NAME OUTCOME MILLISECONDS". OUTCOME of tcp is "connected" or the error's name. Of udp, which asks for
the address of example.org as a DNS client does, it is the answered address, "malformed", "sent" where the name ends
in "duplicate", or the error's name. Where nothing came in SECONDS it is EINPROGRESS or EAGAIN.
"""
import errno
import socket
import struct
import sys
import time

NAME = b"\x07example\x03org\x00"


def outcome_of(error):
    return errno.errorcode.get(error.errno, type(error).__name__)


def resolve(sock):
    identity = struct.pack(">H", int(time.monotonic() * 1e6) & 0xFFFF)
    sock.send(identity + struct.pack(">HHHHH", 0x100, 1, 0, 0, 0) + NAME + struct.pack(">HH", 1, 1))
    answer = sock.recv(512)
    # The question again, and one answer to it.
    if answer[:2] != identity or answer[2] & 0x80 == 0 or not answer[12:].startswith(NAME):
        return "malformed"
    return socket.inet_ntoa(answer[-4:])


def ask(name, protocol, address, port):
    family, kind, _, _, to = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as sock:
        # The kernel waits, and tells what connect() itself gives.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(sys.argv[1]), 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(sys.argv[1]), 0))
        try:
            sock.connect(to)
            if protocol == "tcp":
                return "connected"
            if name.endswith("duplicate"):
                sock.send(b"once")
                return "sent"
            return resolve(sock)
        except OSError as error:
            return outcome_of(error)


for line in sys.stdin:
    name, protocol, address, port = line.split()
    began = time.monotonic()
    outcome = ask(name, protocol, address, int(port))
    print(name, outcome, "%.2f" % ((time.monotonic() - began) * 1000), flush=True)
