# connections.py FOLDER: connections of HTTP, each with a request and its answer: whole ones (whole.pcap), and some that
# stay where they are within the first line of the request (half.pcap).
import sys
from frames import SERVER, client, tcp, write

folder = sys.argv[1]
CONNECTIONS = 2000
FIN, SYN, PSH, ACK = 1, 2, 8, 16
REQUEST = b"GET / HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: none\r\nAccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"
asked, answered = 1 + len(REQUEST), 1 + len(ANSWER)

whole, half = [], []
for i in range(CONNECTIONS):
    me, port = client(i), 1024 + i
    up = lambda *fields: tcp(me, SERVER, port, 80, *fields)
    down = lambda *fields: tcp(SERVER, me, 80, port, *fields)
    begin = [up(SYN, 0, 0), down(SYN | ACK, 0, 1), up(ACK, 1, 1)]
    half += begin + [up(PSH | ACK, 1, 1, REQUEST[:8])]
    whole += begin + [
        up(PSH | ACK, 1, 1, REQUEST), down(PSH | ACK, 1, asked, ANSWER), up(ACK, asked, answered),
        up(FIN | ACK, asked, answered), down(FIN | ACK, answered, asked + 1), up(ACK, asked + 1, answered + 1)]
write(folder + "/whole.pcap", whole)
write(folder + "/half.pcap", half)
print("connections=%d whole=%d half=%d" % (CONNECTIONS, len(whole), len(half)))
