#!/usr/bin/env python3
"""The other ends of authentication, for scenarios: an OpenID Connect issuer, webhooks for TokenReview and SubjectAccessReview, and a
signer of tokens, good ones and forged ones. Keys and signatures are openssl's.

  auth-peers.py serve DIR PORT          HTTPS with DIR/server.crt and server.key; the issuer answers from DIR/discovery.json and
                                        DIR/jwks.json as they are at that moment; requests are written to DIR/requests
  auth-peers.py jwks KEY.pem=KID ...    a key set of the public halves
  auth-peers.py sign KEY.pem ALG KID CLAIMS   a token; ALG "none" signs nothing, HS256 takes the file's text as its secret
"""
import base64
import hashlib
import hmac
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*args, data=b""):
    return subprocess.run(["openssl", *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


def public_jwk(path, kid):
    spki = openssl("pkey", "-in", path, "-pubout", "-outform", "DER")
    text = openssl("pkey", "-in", path, "-noout", "-text").decode()
    if "NIST CURVE" in text:
        size = {"P-256": 32, "P-384": 48, "P-521": 66}
        curve = [line.split(":")[1].strip() for line in text.splitlines() if "NIST CURVE" in line][0]
        n = size[curve]
        return {"kty": "EC", "use": "sig", "kid": kid, "crv": curve, "x": b64(spki[-2 * n:-n]), "y": b64(spki[-n:])}
    modulus = openssl("rsa", "-in", path, "-noout", "-modulus").decode().strip().split("=")[1]
    return {"kty": "RSA", "use": "sig", "kid": kid, "n": b64(bytes.fromhex(modulus)), "e": "AQAB"}


def raw_ecdsa(der, size):
    """DER of r and s to both side by side."""
    out, at = b"", 2 if der[1] < 0x80 else 3
    for _ in range(2):
        length = der[at + 1]
        number = der[at + 2:at + 2 + length].lstrip(b"\0")
        out += number.rjust(size, b"\0")
        at += 2 + length
    return out


def sign(key, alg, kid, claims):
    header = {"alg": alg, "typ": "JWT"}
    if kid:
        header["kid"] = kid
    text = b64(json.dumps(header).encode()) + "." + b64(claims.encode())
    data = text.encode()
    bits = alg[2:]
    if alg == "none":
        return text + "."
    if alg == "HS256":
        with open(key, "rb") as f:
            return text + "." + b64(hmac.new(f.read(), data, hashlib.sha256).digest())
    options = []
    if alg.startswith("PS"):
        options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]
    signature = openssl("dgst", "-sha" + bits, *options, "-sign", key, data=data)
    if alg.startswith("ES"):
        signature = raw_ecdsa(signature, {"256": 32, "384": 48, "512": 66}[bits])
    return text + "." + b64(signature)


def token_review(review):
    token = review["spec"]["token"]
    if token == "hook-good":
        return {"authenticated": True, "user": {"username": "hooky", "uid": "h1", "groups": ["hooks"], "extra": {"scope": ["a", "b"]}}}
    if token == "hook-audience":
        return {"authenticated": True, "user": {"username": "hooky"}, "audiences": ["vault"]}
    if token == "hook-slow":
        time.sleep(2)
        return {"authenticated": True, "user": {"username": "late"}}
    if token == "hook-error":
        return {"authenticated": False, "error": "the directory is on fire"}
    if token == "hook-parrot-secret":
        return {"authenticated": False, "error": "who is " + token + "?"}
    return {"authenticated": False}


def access_review(review):
    spec = review["spec"]
    groups = spec.get("group", []) if review["apiVersion"].endswith("beta1") else spec.get("groups", [])
    if spec.get("user") == "hooky" and "hooks" in groups and spec.get("resourceAttributes", {}).get("resource") == "configmaps":
        return {"allowed": True, "reason": "the hook likes hooky"}
    if spec.get("resourceAttributes", {}).get("resource") == "secrets":
        return {"allowed": False, "denied": True, "reason": "nobody reads secrets"}
    return {"allowed": False}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder = "."

    def note(self, body):
        with open(os.path.join(self.folder, "requests"), "a", encoding="utf-8") as f:
            f.write(self.command + " " + self.path + " " + body.replace("\n", " ") + "\n")

    def answer(self, status, body):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.note("")
        name = {"/.well-known/openid-configuration": "discovery.json", "/jwks": "jwks.json"}.get(self.path)
        try:
            with open(os.path.join(self.folder, name or "nothing"), encoding="utf-8") as f:
                self.answer(200, f.read())
        except OSError:
            self.answer(404, "{}")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        self.note(body)
        review = json.loads(body)
        if os.path.exists(os.path.join(self.folder, "broken")):
            self.answer(500, "{}")
            return
        review["status"] = token_review(review) if self.path == "/tokenreview" else access_review(review)
        review.pop("spec", None)
        self.answer(200, json.dumps(review))

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


def serve(folder, port):
    Handler.folder = folder
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "server.crt"), os.path.join(folder, "server.key"))
    server = Server(("127.0.0.1", port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever).start()


def main():
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1] == "jwks":
        print(json.dumps({"keys": [public_jwk(*arg.rsplit("=", 1)) for arg in sys.argv[2:]]}))
    else:
        print(sign(*sys.argv[2:6]))


main()
