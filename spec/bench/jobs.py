# jobs.py FOLDER: what the jobs are measured with. TLS connections as OpenSSL makes them, once both directions (tls.pcap)
# and once the client's packets alone (client.pcap); DNS queries (dns.pcap), a new port each, and such of blocked names
# alone (blocked.pcap); and the lists of names that are blocked (tls.txt, dns.txt), with rules for Suricata that say the
# same (tls.rules, dns.rules). Of the others one connection or query in ten is of a blocked name. 64 clients.
import base64, random, ssl, struct, subprocess, sys
from frames import SERVER, client, tcp, udp, write

folder = sys.argv[1]
random.seed(1)
CONNECTIONS, QUERIES, TLS_NAMES, DNS_NAMES, MSS = 2000, 20000, 1000, 100000, 1400


def write_names(job, field, names):
    with open(f"{folder}/{job}.txt", "w") as file:
        file.write("\n".join(names) + "\n")
    with open(f"{folder}/{job}.set", "w") as file:
        file.write("\n".join(base64.b64encode(name.encode()).decode() for name in names) + "\n")
    with open(f"{folder}/{job}.rules", "w") as file:
        file.write(f'drop {job} any any -> any any (msg:"blocked"; {field}; '
                   f'dataset:isset,blocked,type string,load {folder}/{job}.set; sid:1;)\n')


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
write(folder + "/tls.pcap", both)
write(folder + "/client.pcap", alone)

sinkhole = ["ads%d.track%d.example" % (i, i % 997) for i in range(DNS_NAMES)]
write_names("dns", "dns.query", sinkhole)


def query(i):
    name = random.choice(sinkhole) if i % 10 == 0 else "www%d.fine.example" % i
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    payload = struct.pack("!HHHHHH", i & 0xffff, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
    return udp(client(i), SERVER, 1024 + i % 60000, 53, payload)


write(folder + "/dns.pcap", [query(i) for i in range(QUERIES)])
write(folder + "/blocked.pcap", [query(i) for i in range(0, 10 * QUERIES, 10)])
print("connections=%d both=%d client=%d queries=%d" % (CONNECTIONS, len(both), len(alone), QUERIES))
