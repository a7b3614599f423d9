#!/usr/bin/env python3
"""A proxy that speaks HTTP CONNECT as konnectivity-server's http-connect mode does, for tests.

  http-connect-proxy.py --uds PATH | --port PORT [--cert PEM --key PEM --ca PEM] [--log FILE] [--mode MODE] [--to HOST:PORT]

It prints "ready" once it listens. --log gets a line for each CONNECT: the target. --to: every target leads there.
Modes: normal; refuse (503 with a reason); late-reason (its body comes later); endless (headers without end); garbage (no
HTTP); silent (no answer); close (ends before the answer); early (the target's first bytes come in one packet with the
answer: "EARLY "); interim (a 100 instead of an answer); split (the answer byte by byte).
"""
import argparse, os, socket, ssl, sys, threading, time


def pump(a, b):
    try:
        while True:
            data = a.recv(65536)
            if not data:
                break
            b.sendall(data)
    except OSError:
        pass
    try:
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(conn, args):
    try:
        if args.context:
            conn = args.context.wrap_socket(conn, server_side=True)
        head = b""
        while b"\r\n\r\n" not in head:
            data = conn.recv(4096)
            if not data:
                return
            head += data
        head, rest = head.split(b"\r\n\r\n", 1)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        if args.log:
            with open(args.log, "a") as f:
                f.write("%s %s\n" % (method, target))
        mode = args.mode
        if mode == "silent":
            time.sleep(60)
            return
        if mode == "close":
            return
        if mode == "garbage":
            conn.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
            time.sleep(5)
            return
        if mode == "refuse":
            body = b"no tunnel to this node\n"
            conn.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return
        if mode == "late-reason":
            conn.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            time.sleep(0.1)
            conn.sendall(b"the agent has left\n")
            time.sleep(10)
            return
        if mode == "interim":
            conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(10)
            return
        if mode == "endless":
            conn.sendall(b"HTTP/1.1 200 Connection Established\r\n")
            while True:
                conn.sendall(b"x-more: " + b"x" * 1000 + b"\r\n")
        host, port = (args.to or target).rsplit(":", 1)
        try:
            out = socket.create_connection((host.strip("[]"), int(port)), 5)
        except OSError as e:
            conn.sendall(("HTTP/1.1 503 Service Unavailable\r\n\r\n%s\n" % e).encode())
            return
        answer = b"HTTP/1.1 200 Connection Established\r\n\r\n"
        if mode == "early":
            answer += b"EARLY "
        if mode == "split":
            for i in range(len(answer)):
                conn.sendall(answer[i : i + 1])
                time.sleep(0.001)
        else:
            conn.sendall(answer)
        if rest:
            out.sendall(rest)
        t = threading.Thread(target=pump, args=(conn, out), daemon=True)
        t.start()
        pump(out, conn)
        t.join()
    except (OSError, ValueError) as e:
        print("connection: %s" % e, file=sys.stderr)
    finally:
        conn.close()


def main():
    p = argparse.ArgumentParser()
    for name in ("uds", "cert", "key", "ca", "log", "to"):
        p.add_argument("--" + name)
    p.add_argument("--port", type=int)
    p.add_argument("--mode", default="normal")
    args = p.parse_args()
    args.context = None
    if args.cert:
        args.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        args.context.load_cert_chain(args.cert, args.key)
        if args.ca:
            args.context.load_verify_locations(args.ca)
            args.context.verify_mode = ssl.CERT_REQUIRED
    if args.uds:
        if os.path.exists(args.uds):
            os.unlink(args.uds)
        s = socket.socket(socket.AF_UNIX)
        s.bind(args.uds)
    else:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", args.port or 0))
    s.listen(64)
    sys.stdout.write("ready %s\n" % (args.uds or s.getsockname()[1]))
    sys.stdout.flush()
    while True:
        conn, _ = s.accept()
        threading.Thread(target=serve, args=(conn, args), daemon=True).start()


main()
