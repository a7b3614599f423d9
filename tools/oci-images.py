#!/usr/bin/env python3
"""tools/oci-images.py IMAGES.toml OUT.tar NAME=PATH...: makes an OCI image archive of the images that a TOML file describes.

The archive is an OCI image layout (image-spec, image-layout.md) in a tar: oci-layout, index.json, blobs/sha256/*. Each manifest in
the index carries the annotations by which containerd names what it imports. manifest.json says the same in the words of `docker
load`. Equal input gives equal bytes.
"""
import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tomllib

MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}
EPOCH = "1970-01-01T00:00:00Z"


class Layer:
    """A tar whose entries are sorted, owned by root and dated 1970."""

    def __init__(self):
        self.entries = {}

    def folder(self, path, mode=0o755):
        if path and path not in self.entries:
            self.folder(os.path.dirname(path))
            self.entries[path] = (tarfile.DIRTYPE, mode, b"", "")
        elif path:
            self.entries[path] = (tarfile.DIRTYPE, mode, b"", "")

    def file(self, path, content, mode=0o644):
        if os.path.dirname(path) not in self.entries:
            self.folder(os.path.dirname(path))
        self.entries[path] = (tarfile.REGTYPE, mode, content, "")

    def link(self, path, target):
        if os.path.dirname(path) not in self.entries:
            self.folder(os.path.dirname(path))
        self.entries[path] = (tarfile.SYMTYPE, 0o777, b"", target)

    def bytes(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in sorted(self.entries):
                kind, mode, content, target = self.entries[path]
                info = tarfile.TarInfo(path)
                info.type, info.mode, info.size, info.linkname = kind, mode, len(content), target
                tar.addfile(info, io.BytesIO(content))
        return out.getvalue()


def make_layer(spec, base, given):
    layer = Layer()

    def outside(path):
        if path.startswith("@"):
            return given[path.strip("@")]
        return os.path.join(base, path)

    for path, mode in spec.get("folders", {}).items():
        layer.folder(path, int(mode, 8))
    for path, text in spec.get("text", {}).items():
        layer.file(path, text.encode())
    for path, source in spec.get("files", {}).items():
        source = outside(source)
        with open(source, "rb") as f:
            layer.file(path, f.read(), 0o755 if os.access(source, os.X_OK) else 0o644)
    if "busybox" in spec:
        source = outside(spec["busybox"])
        with open(source, "rb") as f:
            layer.file("bin/busybox", f.read(), 0o755)
        names = subprocess.run([source, "--list"], check=True, capture_output=True, text=True).stdout.split()
        for name in names:
            if name != "busybox":
                layer.link("bin/" + name, "busybox")
    return layer.bytes()


class Archive:
    def __init__(self):
        self.blobs = {}
        self.manifests = []
        self.docker = []

    def blob(self, content, media_type):
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(content)}

    def json(self, value, media_type):
        return self.blob(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), media_type)

    def add(self, image, layers):
        machine = platform.machine()
        config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "WorkingDir": "/"}
        for ours, theirs in (("entrypoint", "Entrypoint"), ("cmd", "Cmd"), ("user", "User")):
            if ours in image:
                config[theirs] = image[ours]
        if "ports" in image:
            config["ExposedPorts"] = {port: {} for port in image["ports"]}
        tars = [layers[name] for name in image["layers"]]
        config_blob = self.json({
            "created": EPOCH, "architecture": MACHINES.get(machine, machine), "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(t).hexdigest() for t in tars]},
            "history": [{"created": EPOCH, "created_by": "coracle: layer " + name} for name in image["layers"]],
        }, "application/vnd.oci.image.config.v1+json")
        manifest = self.json({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config_blob,
            "layers": (layer_blobs := [self.blob(t, "application/vnd.oci.image.layer.v1.tar") for t in tars]),
        }, "application/vnd.oci.image.manifest.v1+json")
        manifest["annotations"] = {"io.containerd.image.name": image["name"],
                                   "org.opencontainers.image.ref.name": image["name"].rpartition(":")[2]}
        self.manifests.append(manifest)

        def path(blob):
            return "blobs/" + blob["digest"].replace(":", "/")

        self.docker.append({"Config": path(config_blob), "RepoTags": [image["name"]], "Layers": [path(b) for b in layer_blobs]})

    def write(self, path):
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": self.manifests}
        files = Layer()
        files.file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        files.file("index.json", json.dumps(index, sort_keys=True, separators=(",", ":")).encode())
        files.file("manifest.json", json.dumps(self.docker, sort_keys=True, separators=(",", ":")).encode())
        for digest, content in self.blobs.items():
            files.file("blobs/sha256/" + digest, content)
        with open(path, "wb") as f:
            f.write(files.bytes())


def main():
    spec_path, out = sys.argv[1], sys.argv[2]
    given = dict(word.split("=", 1) for word in sys.argv[3:])
    with open(spec_path, "rb") as f:
        spec = tomllib.load(f)
    base = os.path.dirname(os.path.abspath(spec_path))
    layers = {name: make_layer(layer, base, given) for name, layer in spec["layer"].items()}
    archive = Archive()
    for image in spec["image"]:
        archive.add(image, layers)
    archive.write(out)


if __name__ == "__main__":
    main()
