"""What the programs of this folder build clusters with: free ports, `coracle up` and `down`, API servers that run alone."""
import os
import re
import socket
import ssl
import subprocess
import time
import urllib.request

PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
NO_NODE = "containerd,images,kubelet,kube-proxy"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


class Cluster:
    """A cluster made offline, under a name that ends with this process' number. 'what': a word that begins it."""

    def __init__(self, binaries, what):
        self.bin, self.name = os.path.abspath(binaries), "%s%d" % (what, os.getpid())
        self.state = "/var/lib/coracle/" + self.name

    def coracle(self, *words, check=True):
        return subprocess.run([self.bin + "/coracle", *words], check=check, capture_output=True, text=True,
                              env=dict(os.environ, CORACLE_OFFLINE="1")).stdout

    def up(self, *words):
        """A port is chosen and given back before the cluster takes it: when somebody was quicker, another one."""
        for attempt in range(3):
            self.port = free_port()
            try:
                self.coracle("up", "--name", self.name, "--port", self.port, "--kubeconfig", "none", "--wait", "0", "--store", "sqlite", *words)
                return
            except subprocess.CalledProcessError as e:
                if attempt == 2 or "in use" not in e.stderr:
                    raise

    def down(self):
        self.coracle("down", "--name", self.name, "--kubeconfig", "none", check=False)

    def pids(self, wanted=PLANE):
        """Program -> process number, of what `coracle status` names as running."""
        found = running(self.coracle("status", "--name", self.name, check=False))
        return {f["name"]: f["pid"] for f in found if f["name"] in wanted}

    def tls(self):
        context = ssl.create_default_context(cafile=self.state + "/pki/ca.crt")
        context.load_cert_chain(self.state + "/pki/admin.crt", self.state + "/pki/admin.key")
        return context


def running(status):
    """What the lines of `coracle status` name as running. A health is words, and may be longer than its column."""
    found = []
    for line in status.splitlines():
        m = re.match(r"(\S+) +(node-\d+) +(.+?) +(\S+) +(\d+) +([\d.]+) MB +(\d+) +(\S+)$", line)
        if m:
            found.append({"name": m[1], "node": m[2], "pid": int(m[5]), "mb": float(m[6])})
    return found


class Server:
    """A kube-apiserver beside the cluster, with its keys and a store of its own. BUILD is the release build's folder."""

    def __init__(self, cluster, build, what, before=(), env=()):
        self.cluster, self.build = cluster, build
        self.port, self.data = free_port(), "%s/beside-%s" % (cluster.state, what)
        os.makedirs(self.data)
        keys = cluster.state + "/kube/apiserver"
        argv = [*before, build + "/src/cmd/coracle", "kube-apiserver", "--flag-defaults=secure", "--sandbox=false", "--bind-address=127.0.0.1", "--secure-port=" + self.port,
                "--data-dir=" + self.data, "--tls-cert-file=%s/apiserver.crt" % keys, "--tls-private-key-file=%s/apiserver.key" % keys,
                "--client-ca-file=%s/ca.crt" % keys, "--service-account-key-file=%s/sa.pub" % keys, "--authorization-mode=Node,RBAC",
                "--service-account-signing-key-file=%s/sa.key" % keys, "--service-cluster-ip-range=10.96.0.0/16"]
        self.log = open(self.data + "/log", "w")
        self.process = subprocess.Popen(argv, stderr=self.log, stdout=self.log, cwd=self.data, env=dict(os.environ, **dict(env)))
        self.wait_ready()

    def wait_ready(self):
        tls, end = self.cluster.tls(), time.monotonic() + 60
        while True:
            try:
                with socket.create_connection(("127.0.0.1", int(self.port)), timeout=5):  # costs a server that is not ready next to nothing
                    pass
                with urllib.request.urlopen("https://127.0.0.1:%s/readyz" % self.port, context=tls, timeout=20):
                    return
            except OSError as e:
                if time.monotonic() > end or self.process.poll() is not None:
                    self.process.kill()
                    raise RuntimeError("kube-apiserver was not ready: %s\n%s" % (e, open(self.data + "/log").read()[-800:])) from e
                time.sleep(0.05)

    def bench(self, *words):
        pki = self.cluster.state + "/pki"
        return subprocess.run([self.build + "/bench/coracle-bench", "--server", "https://127.0.0.1:" + self.port, "--certificate-authority",
                               pki + "/ca.crt", "--client-certificate", pki + "/admin.crt", "--client-key", pki + "/admin.key",
                               *words], check=True, capture_output=True, text=True).stdout

    def kubeconfig(self):
        """The path of a file for programs that shall use this server."""
        path, pki = self.data + "/kubeconfig", self.cluster.state + "/pki"
        with open(path, "w") as f:
            f.write("apiVersion: v1\nkind: Config\ncurrent-context: c\n"
                    "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:%s', certificate-authority: %s/ca.crt}}]\n"
                    "users: [{name: u, user: {client-certificate: %s/admin.crt, client-key: %s/admin.key}}]\n"
                    "contexts: [{name: c, context: {cluster: c, user: u}}]\n" % (self.port, pki, pki, pki))
        return path

    def end(self):
        end(self.process)


def end(process):
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def manager(server, program, before, more, folder, env=()):
    """A kube-scheduler or kube-controller-manager against the server, with its log in 'folder'."""
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/log", "w") as log:
        return subprocess.Popen([*before, server.build + "/src/cmd/coracle", program, "--flag-defaults=secure", "--sandbox=false", "--leader-elect=false",
                                 "--kubeconfig=" + server.kubeconfig(), "--bind-address=127.0.0.1", "--secure-port=" + free_port(), *more],
                                stderr=log, stdout=log, cwd=folder, env=dict(os.environ, **dict(env)))
