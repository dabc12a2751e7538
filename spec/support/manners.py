"""Ends of TCP connections with manners of their own: manners.py HOW serve|ask ADDRESS PORT [COUNT].

Both say the same lines at once, and close. Each prints whether what came to it is these lines, grown: each ends with
"<end>". HOW is "meet", no more than that; "urgent", where each 100th byte is urgent data, and read in line (RFC 6093);
"fastopen", where the client says 100 bytes in its SYN if it has a cookie (RFC 7413), which it has the second time."""
import socket, sys, threading

how, role, address, port = sys.argv[1:5]
count = int(sys.argv[5]) if len(sys.argv) > 5 else 1
LINES = b"".join(b"line %d of what an end says\n" % i for i in range(200))
GROWN = LINES.replace(b"\n", b"<end>\n")

def read_all(connection):
    parts = []
    while True:
        part = connection.recv(65536)
        if not part: return b"".join(parts)
        parts.append(part)

def say(connection, begun):
    if how == "urgent":
        for at in range(begun, len(LINES), 100): connection.send(LINES[at:at + 100], socket.MSG_OOB)
    else:
        connection.sendall(LINES[begun:])
    connection.shutdown(socket.SHUT_WR)

def talk(connection, begun=0):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    speaker = threading.Thread(target=say, args=(connection, begun))
    speaker.start()
    came = read_all(connection)
    speaker.join()
    print("grown" if came == GROWN else "differs", flush=True)

if role == "serve":
    server = socket.create_server((address, int(port)))
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
    print("ready", flush=True)
    for _ in range(count): talk(server.accept()[0])
for _ in range(count if role == "ask" else 0):
    connection = socket.socket()
    if how == "fastopen":
        talk(connection, connection.sendto(LINES[:100], socket.MSG_FASTOPEN, (address, int(port))))
    else:
        connection.connect((address, int(port)))
        talk(connection)
