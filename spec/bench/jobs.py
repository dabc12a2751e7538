# jobs.py FOLDER: what the jobs are measured with. TLS connections as OpenSSL makes them, once both directions (tls.pcap)
# and once the client's packets alone (client.pcap); DNS queries (dns.pcap), a new port each; and the lists of names that
# are blocked (tls.txt, dns.txt), with rules for Suricata that say the same (tls.rules, dns.rules). One connection or
# query in ten is of a blocked name. 64 clients.
import base64, random, ssl, struct, subprocess, sys

folder = sys.argv[1]
random.seed(1)
CONNECTIONS, QUERIES, TLS_NAMES, DNS_NAMES, MSS = 2000, 20000, 1000, 100000, 1400


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


def write(name, packets):
    with open(folder + "/" + name, "wb") as file:
        file.write(struct.pack("=IHHIIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        for packet in packets:
            file.write(struct.pack("=IIII", 0, 0, len(packet), len(packet)) + packet)


def write_names(job, field, names):
    with open(f"{folder}/{job}.txt", "w") as file:
        file.write("\n".join(names) + "\n")
    with open(f"{folder}/{job}.set", "w") as file:
        file.write("\n".join(base64.b64encode(name.encode()).decode() for name in names) + "\n")
    with open(f"{folder}/{job}.rules", "w") as file:
        file.write(f'drop {job} any any -> any any (msg:"blocked"; {field}; '
                   f'dataset:isset,blocked,type string,load {folder}/{job}.set; sid:1;)\n')


def client(i):
    return address("127.1.0.%d" % (i % 64 + 1))


SERVER = address("127.2.0.1")

subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=example.org",
    "-keyout", folder + "/key.pem", "-out", folder + "/cert.pem"], check=True, stderr=subprocess.DEVNULL)
server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
client_context = ssl.create_default_context()
client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE


def handshake(name):
    """The client's first flight, the server's, and the client's second."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    c = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    s = server_context.wrap_bio(to_server, to_client, server_side=True)
    flights = []
    for side in (c, s, c):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
        out = to_client if side is s else to_server
        flights.append(out.read())
        out.write(flights[-1])
    return flights


blocked = ["host%d.blocked%d.example" % (i, i % 97) for i in range(TLS_NAMES)]
write_names("tls", "tls.sni", blocked)
both, alone = [], []
for i in range(CONNECTIONS):
    name = random.choice(blocked) if i % 10 == 0 else "www%d.fine.example" % i
    hello, flight, last = handshake(name)
    me, port = client(i), 1024 + i % 60000

    def up(flags, seq=1, ack=1, payload=b""):
        packet = tcp(me, SERVER, port, 443, flags, seq, ack, payload)
        both.append(packet)
        alone.append(packet)

    def down(flags, seq=1, ack=1, payload=b""):
        both.append(tcp(SERVER, me, 443, port, flags, seq, ack, payload))

    up(2, 0, 0)
    down(0x12, 0, 1)
    up(0x10)
    up(0x18, 1, 1, hello)
    down(0x10, 1, 1 + len(hello))
    for at in range(0, len(flight), MSS):
        down(0x18, 1 + at, 1 + len(hello), flight[at:at + MSS])
    up(0x18, 1 + len(hello), 1 + len(flight), last)
    up(0x11, 1 + len(hello) + len(last), 1 + len(flight))
    down(0x11, 1 + len(flight), 2 + len(hello) + len(last))
write("tls.pcap", both)
write("client.pcap", alone)

sinkhole = ["ads%d.track%d.example" % (i, i % 997) for i in range(DNS_NAMES)]
write_names("dns", "dns.query", sinkhole)


def query(i):
    name = random.choice(sinkhole) if i % 10 == 0 else "www%d.fine.example" % i
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    payload = struct.pack("!HHHHHH", i & 0xffff, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
    return udp(client(i), SERVER, 1024 + i % 60000, 53, payload)


write("dns.pcap", [query(i) for i in range(QUERIES)])
print("connections=%d both=%d client=%d queries=%d" % (CONNECTIONS, len(both), len(alone), QUERIES))
