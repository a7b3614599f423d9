"""connect-through.py SOCKET HOST:PORT [REQUEST]: CONNECT by a unix socket, then REQUEST (with \\r\\n written so), and what comes back.

Without REQUEST: GET / of HTTP/1.0. Prints the proxy's refusal, or the target's answer; the exit status says which.
"""
import socket
import sys

path, target = sys.argv[1], sys.argv[2]
request = sys.argv[3].encode().decode("unicode_escape").encode() if len(sys.argv) > 3 else b"GET / HTTP/1.0\r\n\r\n"
s = socket.socket(socket.AF_UNIX)
s.settimeout(15)
s.connect(path)
s.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
head = b""
while b"\r\n\r\n" not in head:
    piece = s.recv(1)
    if not piece:
        break
    head += piece
if not head.startswith(b"HTTP/1.1 200 "):
    rest = s.recv(65536)
    print((head + rest).decode(errors="replace"))
    sys.exit(1)
s.sendall(request)
answer = b""
while True:
    piece = s.recv(65536)
    if not piece:
        break
    answer += piece
sys.stdout.write(answer.decode(errors="replace"))
