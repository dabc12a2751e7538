"""A server of HTTP/1.1 that keeps connections: it answers the method, the target, the header X-Seen and the bytes of the
body, on port 80 of both families. Prints "ready"."""
import http.server
import socket
import socketserver
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        total = 0
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            self.rfile.read(size)
            total += size
            self.rfile.readline()
            if size == 0:
                return total

    def answer(self):
        text = "%s %s %s %d\n" % (self.command, self.path, self.headers.get("X-Seen"), self.body())
        self.send_response(200)
        self.send_header("X-Echo", self.headers.get("X-Seen") or "none")
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            text = "%x\r\n%s\r\n0\r\n\r\n" % (len(text), text)
        else:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    do_GET = do_HEAD = do_POST = answer

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True


server = Server(("::", 80), Handler)
print("ready", flush=True)
threading.Thread(target=server.serve_forever).start()
