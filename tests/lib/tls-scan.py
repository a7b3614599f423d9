#!/usr/bin/env python3
"""What a TLS server accepts, asked by ClientHellos made by hand, so that no library's own taste is in between.

  tls-scan.py HOST PORT     lines such as "version 1.2", "cipher 1.2 c02b", "group 1.3 29", in order; each is something accepted
"""
import socket
import struct
import sys

HOST, PORT = sys.argv[1], int(sys.argv[2])
# Everything that was ever given a number for TLS 1.2 and below (IANA), and 1.3's.
OLD = list(range(0x0000, 0x0100)) + list(range(0xC000, 0xC0FF)) + list(range(0xCCA0, 0xCCB0)) + list(range(0xD000, 0xD006)) + [0xFEFE, 0xFEFF]
NEW = list(range(0x1301, 0x1308)) + [0x13FF]
GROUPS = list(range(1, 42)) + list(range(256, 261))
GOOD_OLD, GOOD_NEW = [0xC02B, 0xC02F, 0xC02C, 0xC030], [0x1301, 0x1302, 0x1303]
SIGNATURES = [0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501]
VERSIONS = {0x0300: "ssl3", 0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3"}


def vec(n, data):
    return len(data).to_bytes(n, "big") + data


def words(items):
    return b"".join(struct.pack(">H", i) for i in items)


def hello(version, ciphers, groups, signatures, compression=b"\0", more=b""):
    ext = lambda kind, data: struct.pack(">H", kind) + vec(2, data)
    extensions = ext(10, vec(2, words(groups))) + ext(11, b"\x01\x00") + ext(13, vec(2, words(signatures))) + ext(15, b"\x01") + more
    if version == 0x0304:
        extensions += ext(43, vec(1, words([version]))) + ext(51, vec(2, b""))  # no key share: a retry names the group that it takes
    body = struct.pack(">H", min(version, 0x0303)) + b"r" * 32 + vec(1, b"s" * 32) + vec(2, words(ciphers)) + vec(1, compression) + vec(2, extensions)
    message = b"\x01" + vec(3, body)
    return b"\x16" + struct.pack(">H", min(version, 0x0301)) + vec(2, message)


def read(s, n):
    out = b""
    while len(out) < n:
        d = s.recv(n - len(out))
        if not d:
            raise EOFError
        out += d
    return out


def ask(*args, **kw):
    """The answer's (version, cipher, compression, extensions), or None: refused."""
    with socket.create_connection((HOST, PORT), timeout=5) as s:
        s.sendall(hello(*args, **kw))
        try:
            kind, _, n = struct.unpack(">BHH", read(s, 5))
            data = read(s, n)
        except (EOFError, ConnectionError):
            return None
    if kind != 22 or data[0] != 2:
        return None
    version, at = struct.unpack(">H", data[4:6])[0], 38
    at += 1 + data[at]
    cipher, compression = struct.unpack(">HB", data[at:at + 3])
    at += 5
    extensions = {}
    while at + 4 <= len(data) and at < 4 + int.from_bytes(data[1:4], "big"):
        what, size = struct.unpack(">HH", data[at:at + 4])
        extensions[what] = data[at + 4:at + 4 + size]
        at += 4 + size
    if 43 in extensions:
        version = struct.unpack(">H", extensions[43])[0]
    return version, cipher, compression, extensions


def main():
    for version in VERSIONS:
        a = ask(version, NEW if version == 0x0304 else OLD, GROUPS, SIGNATURES + [0x0201, 0x0203])
        if a:
            print("version", VERSIONS[a[0]])
    for cipher in OLD:
        if ask(0x0303, [cipher], GROUPS, SIGNATURES + [0x0201, 0x0203]):
            print("cipher 1.2 %04x" % cipher)
    for cipher in NEW:
        if ask(0x0304, [cipher], GROUPS, SIGNATURES):
            print("cipher 1.3 %04x" % cipher)
    for group in GROUPS:
        if ask(0x0303, GOOD_OLD, [group], SIGNATURES):
            print("group 1.2", group)
        if ask(0x0304, GOOD_NEW, [group], SIGNATURES):
            print("group 1.3", group)
    for old in (0x0101, 0x0201, 0x0203, 0x0301, 0x0303):
        if ask(0x0303, GOOD_OLD, [23, 29], [old]):
            print("signature 1.2 %04x" % old)
    a = ask(0x0303, GOOD_OLD, [23, 29], SIGNATURES, b"\x01\x00")
    if a and a[2]:
        print("compression")
    if a and 15 in a[3]:
        print("heartbeat")
    if a and 35 in a[3]:
        print("tickets")
    if a and 0xFF01 not in a[3] and ask(0x0303, GOOD_OLD + [0x00FF], [23, 29], SIGNATURES)[3].get(0xFF01) != b"\0":
        print("insecure renegotiation")


main()
