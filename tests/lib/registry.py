#!/usr/bin/env python3
"""A registry of one repository that lets in who knows a password: "registry.py ARCHIVE.tar IMAGE PORT USER PASSWORD" serves the image
of an OCI archive as 127.0.0.1:PORT/team/app:1 (distribution specification, pull only; HTTP Basic)."""
import base64, json, sys, tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ARCHIVE, IMAGE, PORT, USER, PASSWORD = sys.argv[1:6]
with tarfile.open(ARCHIVE) as tar:
    FILES = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
INDEX = json.loads(FILES["index.json"])
MANIFEST = next(m for m in INDEX["manifests"] if m["annotations"]["io.containerd.image.name"] == IMAGE)
WANT = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, kind="application/json", body=b"{}", **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        if self.headers.get("Authorization") != WANT:
            return self.answer(401, body=b'{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}', WWW_Authenticate='Basic realm="test"')
        parts = self.path.strip("/").split("/")
        if parts == ["v2"]:
            return self.answer(200)
        digest = MANIFEST["digest"] if parts[-1] == "1" else parts[-1]
        body = FILES.get("blobs/" + digest.replace(":", "/")) if parts[:3] == ["v2", "team", "app"] else None
        if body is None:
            return self.answer(404, body=b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"there is no such thing"}]}')
        self.answer(200, MANIFEST["mediaType"] if parts[3] == "manifests" else "application/octet-stream", body, Docker_Content_Digest=digest)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(PORT)), Handler).serve_forever()
