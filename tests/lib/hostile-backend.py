#!/usr/bin/env python3
"""A backend for tests of proxies, honest or not by the path it is asked for. Every connection and request is written to --log.

  hostile-backend.py [--host ADDR] [--port PORT] [--cert PEM --key PEM] [--log FILE]      prints "ready PORT"

Any path: the request as JSON (method, target, headers in order, body). Besides:
  /redirect?to=URL   302 there              /upgrade-redirect     302 to any upgrade
  /hop               hop-by-hop and CORS headers in the answer
  /lie-101           101 that nobody asked for
  /refuse            400 to an upgrade; the connection stays open and what comes on it is logged as LEAK
  /no-switch         200 to an upgrade      /switch-other         101 to another protocol
  /endless-headers   headers without end    /giant-header         one header of 4 MB
  /many-headers      500 headers            /drip                 a byte of header every 50 ms
  /endless-body      a body without end     /reset                the connection breaks in the body
  /endless-100       100 Continue for ever  /giant-length         a Content-Length past every number
  /endless-extension one chunk's extension  /endless-trailers     trailers without end
  /silent            not a byte             /bad-chunk            a chunk's size that is none
  /big?n=N           N bytes                /slow-read            reads the body at 1 MB/s
  /ws                takes the upgrade, then echoes
  /status?code=N     that status with a body
  /count-body        how many bytes the body has
"""
import argparse, base64, hashlib, json, socket, ssl, sys, threading, time
from urllib.parse import urlsplit, parse_qs

ARGS = None
LOCK = threading.Lock()
LIES = ("redirect-away", "lie-101", "endless-headers", "giant-header", "many-headers", "drip", "endless-body", "endless-100", "giant-length",
        "endless-extension", "endless-trailers", "silent", "bad-chunk", "reset")


def log(line):
    if ARGS.log:
        with LOCK, open(ARGS.log, "a") as f:
            f.write(line + "\n")


class Conn:
    def __init__(self, sock):
        self.sock, self.data = sock, b""

    def more(self):
        d = self.sock.recv(65536)
        if not d:
            raise EOFError
        self.data += d

    def line(self):
        while b"\r\n" not in self.data:
            self.more()
        line, self.data = self.data.split(b"\r\n", 1)
        return line

    def take(self, n):
        while len(self.data) < n:
            self.more()
        out, self.data = self.data[:n], self.data[n:]
        return out


def read_body(c, headers):
    h = {k.lower(): v for k, v in headers}
    if "chunked" in h.get("transfer-encoding", ""):
        body = b""
        while True:
            n = int(c.line().split(b";")[0], 16)
            if n == 0:
                while c.line():
                    pass
                return body
            body += c.take(n)
            c.line()
    return c.take(int(h.get("content-length", "0")))


def answer(c, status, body=b"", headers=(), reason="X"):
    head = "HTTP/1.1 %d %s\r\n" % (status, reason) + "".join("%s: %s\r\n" % h for h in headers)
    c.sock.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def leak(c):
    """Whatever comes on this connection now must not come."""
    if c.data:
        log("LEAK " + repr(c.data))
    c.sock.settimeout(3)
    try:
        while True:
            d = c.sock.recv(4096)
            if not d:
                break
            log("LEAK " + repr(d))
    except OSError:
        pass


def one(c):
    method, target, _ = c.line().decode("latin-1").split(" ", 2)
    headers = []
    while True:
        line = c.line().decode("latin-1")
        if not line:
            break
        k, v = line.split(":", 1)
        headers.append((k, v.strip()))
    h = {k.lower(): v for k, v in headers}
    log("%s %s" % (method, target))
    url = urlsplit(target)
    path, query = url.path, parse_qs(url.query)
    upgrade = h.get("upgrade")
    s = c.sock
    # A kubelet whose pods have containers named after lies.
    if path.startswith(("/containerLogs/", "/exec/", "/attach/")) and path.rsplit("/", 1)[1] in LIES:
        path = "/" + path.rsplit("/", 1)[1]
    if path == "/redirect":
        answer(c, 302, b"moved", [("Location", query["to"][0])])
    elif path == "/upgrade-redirect":
        answer(c, 302, b"", [("Location", "http://169.254.169.254/latest/meta-data")])
    elif path == "/hop":
        answer(c, 200, b"ok", [("Connection", "X-Hop, close"), ("X-Hop", "secret"), ("Keep-Alive", "timeout=5"), ("Proxy-Authenticate", "Basic"),
                               ("X-End", "kept"), ("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Credentials", "true"),
                               ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    elif path == "/lie-101":
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /api/v1/secrets HTTP/1.1\r\n\r\n")
        leak(c)
        return False
    elif path == "/refuse":
        answer(c, 400, b"no upgrade here", [("Content-Type", "text/plain")])
        leak(c)
        return False
    elif path == "/no-switch":
        answer(c, 200, b"fine")
        leak(c)
        return False
    elif path == "/switch-other":
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
        leak(c)
        return False
    elif path == "/endless-headers":
        s.sendall(b"HTTP/1.1 200 OK\r\n")
        n = 0
        while True:
            s.sendall(b"X-%d: y\r\n" % n)
            n += 1
    elif path == "/giant-header":
        s.sendall(b"HTTP/1.1 200 OK\r\nX-Giant: " + b"g" * (4 << 20) + b"\r\nContent-Length: 2\r\n\r\nok")
    elif path == "/many-headers":
        answer(c, 200, b"ok", [("X-%d" % i, "y") for i in range(500)])
    elif path == "/drip":
        for b in b"HTTP/1.1 200 OK\r\nX-Drip: " + b"d" * 10000:
            s.sendall(bytes([b]))
            time.sleep(0.05)
    elif path == "/redirect-away":
        answer(c, 302, b"", [("Location", "https://127.0.0.1:1/stolen")])
    elif path == "/endless-100":
        while True:
            s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    elif path == "/giant-length":
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n" + b"g" * 1000)
        time.sleep(1)
        return False
    elif path == "/endless-extension":
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
        while True:
            s.sendall(b"x" * 4096)
    elif path == "/endless-trailers":
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
        while True:
            s.sendall(b"X-Trailer: y\r\n")
    elif path == "/bad-chunk":
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\nboo")
        time.sleep(1)
        return False
    elif path == "/silent":
        time.sleep(60)
        return False
    elif path == "/endless-body":
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while True:
                s.sendall(b"10000\r\n" + b"e" * 65536 + b"\r\n")
                sent += 65536
        finally:
            log("SENT %d" % sent)
    elif path == "/reset":
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        time.sleep(0.2)
        return False
    elif path == "/big":
        answer(c, 200, b"b" * int(query["n"][0]))
    elif path == "/slow-read":
        n = 0
        left = int(h["content-length"])
        while n < left:
            n += len(c.take(min(65536, left - n)))
            time.sleep(0.06)
        answer(c, 200, str(n).encode())
    elif path == "/count-body":
        answer(c, 200, str(len(read_body(c, headers))).encode())
    elif path.startswith("/containerLogs/") and "tailLines" in query:
        # A kubelet that answers what it is asked to: the status, in words or as a redirect.
        code = int(query["tailLines"][0])
        answer(c, code, b"words of the kubelet", [("Location", "https://169.254.169.254/exec"), ("Content-Type", "text/plain")])
    elif path.startswith("/exec/"):
        answer(c, 302, b"", [("Location", "https://169.254.169.254/exec"), ("Content-Type", "text/plain")])
        leak(c)
        return False
    elif path == "/status":
        answer(c, int(query["code"][0]), b"status body", [("Content-Type", "text/plain"), ("X-Own", "1")])
    elif path == "/ws" and upgrade:
        lines = [("Upgrade", upgrade), ("Connection", "Upgrade"), ("X-Seen", json.dumps(h.get("cookie", "")))]
        if "sec-websocket-key" in h:
            key = h["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            lines.append(("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key).digest()).decode()))
        s.sendall(("HTTP/1.1 101 Switching Protocols\r\n" + "".join("%s: %s\r\n" % l for l in lines) + "\r\n").encode())
        data = c.data
        while True:
            if data:
                s.sendall(data)
            data = s.recv(65536)
            if not data:
                return False
    else:
        body = read_body(c, headers)
        out = json.dumps({"method": method, "target": target, "headers": headers, "body": body.decode("latin-1")}).encode()
        answer(c, 200, b"" if method == "HEAD" else out, [("Content-Type", "application/json")])
    return True


def serve(sock, ctx):
    try:
        if ctx:
            sock = ctx.wrap_socket(sock, server_side=True)
            peer = sock.getpeercert(binary_form=True)
            log("TLS client certificate: %s" % ("shown" if peer else "none"))
        c = Conn(sock)
        while one(c):
            pass
    except (OSError, EOFError, ValueError, ssl.SSLError) as e:
        if ctx and isinstance(e, ssl.SSLError):
            log("TLS error: %s" % e)
    finally:
        sock.close()


def main():
    global ARGS
    p = argparse.ArgumentParser()
    for name in ("cert", "key", "log"):
        p.add_argument("--" + name)
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, default=0)
    ARGS = p.parse_args()
    ctx = None
    if ARGS.cert:
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(ARGS.cert, ARGS.key)
    s = socket.socket(socket.AF_INET6 if ":" in ARGS.host else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((ARGS.host, ARGS.port))
    s.listen(64)
    sys.stdout.write("ready %d\n" % s.getsockname()[1])
    sys.stdout.flush()
    while True:
        conn, _ = s.accept()
        threading.Thread(target=serve, args=(conn, ctx), daemon=True).start()


main()
