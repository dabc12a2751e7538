"""Ends of TCP connections: stream.py serve ADDRESS PORT [RCVBUF], stream.py ask ADDRESS PORT WHAT SIZE [COUNT].

The server reads all that the client says, and says it back behind "ADDRESS ", where it saw it come from. ask says lines of
text of SIZE bytes in all, COUNT times, and prints for each connection a word: what became of what it said as WHAT wants it,
"same", "grown" (each line ends with "<end>"), "erased" (nothing is left), "begun" (120,000 times "b" in front), or "mixed":
each line as it was, or grown. "reset" where the connection was, "differs" where other bytes came."""
import random, socket, sys, threading, time

def family(address): return socket.AF_INET6 if ":" in address else socket.AF_INET

def text(seed, size):
    chance, lines, length = random.Random(seed), [], 0
    while length < size:
        line = bytes(chance.choice(b"abcdefgh") for _ in range(8)) * chance.randint(1, 30) + b"\n"
        lines.append(line)
        length += len(line)
    return b"".join(lines)[:size - 1] + b"\n"

def read_all(connection):
    parts = []
    while True:
        part = connection.recv(65536)
        if not part: return b"".join(parts)
        parts.append(part)

def serve(address, port, room=0):
    server = socket.socket(family(address))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if int(room): server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(room))
    server.bind((address, int(port)))
    server.listen(64)
    print("ready", flush=True)
    def answer(connection):
        try:
            said = read_all(connection)
            connection.sendall(said)
            connection.close()
        except OSError: pass
    while True:
        threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

def outcome(said, came, what):
    if what == "mixed": return "mixed" if came.replace(b"<end>\n", b"\n") == said else "differs"
    wanted = {"same": said, "grown": said.replace(b"\n", b"<end>\n"), "erased": b"", "begun": b"b" * 120000 + said}[what]
    return what if came == wanted else "differs"

def ask(address, port, what, size, count=1):
    for seed in range(int(count)):
        said = text(seed, int(size))
        try:
            connection = socket.create_connection((address, int(port)), timeout=60)
            def say():
                try:
                    connection.sendall(said)
                    connection.shutdown(socket.SHUT_WR)
                except OSError: pass
            speaker = threading.Thread(target=say)
            speaker.start()
            came = read_all(connection)
            speaker.join()
            print(outcome(said, came, what), flush=True)
        except ConnectionResetError: print("reset", flush=True)
        except OSError as error: print(error, flush=True)

{"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
