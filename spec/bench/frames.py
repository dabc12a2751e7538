# Frames of captures that inject.c sends: raw IPv4, whose checksums are right, between 64 clients and a server.
import struct


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def address(text):
    return bytes(int(part) for part in text.split("."))


def ip(source, destination, protocol, rest):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(rest), 1, 0, 64, protocol, 0, source, destination)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + rest


def with_sum(source, destination, protocol, rest, at):
    pseudo = source + destination + struct.pack("!BBH", 0, protocol, len(rest))
    return rest[:at] + struct.pack("!H", checksum(pseudo + rest)) + rest[at + 2:]


def tcp(source, destination, sport, dport, flags, seq=1, ack=1, payload=b""):
    rest = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 64240, 0, 0) + payload
    return ip(source, destination, 6, with_sum(source, destination, 6, rest, 16))


def udp(source, destination, sport, dport, payload):
    rest = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    return ip(source, destination, 17, with_sum(source, destination, 17, rest, 6))


def write(path, packets):
    with open(path, "wb") as file:
        file.write(struct.pack("=IHHIIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        for packet in packets:
            file.write(struct.pack("=IIII", 0, 0, len(packet), len(packet)) + packet)


def client(i):
    return address("127.1.0.%d" % (i % 64 + 1))


SERVER = address("127.2.0.1")
