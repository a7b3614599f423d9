#!/usr/bin/env python3
"""A man in the middle: on each port a TLS server with a certificate of its own, that writes down what it was told.

  tls-impostor.py LOG TO PORT=CERT[,ALPN] ...     CERT.crt and CERT.key; every request is answered with a redirect to https://TO/

LOG gets "PORT refused: REASON" when the client broke off the handshake, and "PORT GOT BYTES" when it sent something of its own.
"""
import socket
import ssl
import sys
import threading

LOG, TO = sys.argv[1], sys.argv[2]
LOCK = threading.Lock()


def note(port, text):
    with LOCK, open(LOG, "a", encoding="utf-8") as f:
        f.write("%d %s\n" % (port, text))


def one(port, context, conn):
    conn.settimeout(5)
    try:
        s = context.wrap_socket(conn, server_side=True)
    except (OSError, ssl.SSLError) as e:
        note(port, "refused: %s" % e)
        conn.close()
        return
    try:
        data = s.recv(65536)
        if data:
            note(port, "GOT %r" % data)
            s.sendall(b"HTTP/1.1 302 Found\r\nLocation: https://%s/elsewhere\r\nContent-Length: 0\r\n\r\n" % TO.encode())
        else:
            note(port, "refused: closed without a word")
    except (OSError, ssl.SSLError) as e:
        note(port, "refused: %s" % e)
    s.close()


def serve(port, cert, alpn):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(cert + ".crt", cert + ".key")
    if alpn:
        context.set_alpn_protocols([alpn])
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=one, args=(port, context, conn), daemon=True).start()


threads = []
for argument in sys.argv[3:]:
    where, what = argument.split("=")
    name, _, protocol = what.partition(",")
    threads.append(threading.Thread(target=serve, args=(int(where), name, protocol), daemon=True))
    threads[-1].start()
for thread in threads:
    thread.join()
