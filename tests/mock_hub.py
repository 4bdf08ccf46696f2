"""A hub on this machine for the client of the true one: as much of its protocol as models need, and no network."""

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "hf_a_token_that_writes"


class Hub:
    """What lies on the hub: files of models by their names, one commit each."""

    def __init__(self):
        self.models, self.blobs, self.asked = {}, {}, []
        self.broken = None  # a status that everything is answered with

    def commit(self, name):
        """The identity of what a model holds."""
        sums = sorted((file, hashlib.sha1(content).hexdigest()) for file, content in self.models[name].items())
        return hashlib.sha1(repr(sums).encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """The answers."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def say(self, body=b"", status=200, **headers):
        if not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json"} | headers
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", headers.get("Size", len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self):
        hub, path = self.hub, self.path.partition("?")[0]
        body = self.body()
        hub.asked.append(f"{self.command} {path}")
        if hub.broken:
            return self.say({"error": "out of order"}, hub.broken)
        address = f"http://{self.headers['Host']}"
        if path in ("/api/repos/create", "/api/validate-yaml") or self.command == "PUT" or "/commit/" in path:
            writes = self.headers.get("Authorization") == f"Bearer {TOKEN}" or self.command == "PUT"
            if not writes and path != "/api/validate-yaml":
                return self.say({"error": "this token may not write"}, 403)
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
            known = name in hub.models
            hub.models.setdefault(name, {})
            return self.say({"url": f"{address}/{name}"}, 409 if known else 200)
        if path == "/api/validate-yaml":
            return self.say({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            objects = [
                {
                    "oid": one["oid"],
                    "size": one["size"],
                    "actions": {"upload": {"href": f"{address}/lfs/{one['oid']}", "header": {}}},
                }
                for one in json.loads(body)["objects"]
            ]
            return self.say({"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/lfs/(\w+)", path):
            assert hashlib.sha256(body).hexdigest() == found[1]
            hub.blobs[found[1]] = body
            return self.say()
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/.*)?", path) or re.fullmatch(
            r"/([^/]+/[^/]+)(/resolve/.*)", path
        )
        if not found or found[1] not in hub.models:
            return self.say({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        name, rest = found[1], found[2] or ""
        files = hub.models[name]
        if rest.startswith("/preupload/"):
            asked = json.loads(body)["files"]
            modes = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular"}
                for one in asked
            ]
            return self.say({"files": [mode | {"shouldIgnore": False} for mode in modes]})
        if rest.startswith("/commit/"):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.blobs[value["oid"]]
            commit = hub.commit(name)
            return self.say({"commitUrl": f"{address}/{name}/commit/{commit}", "commitOid": commit})
        if rest.startswith("/revision/") and rest != "/revision/main" and rest[10:] != hub.commit(name):
            return self.say({"error": "no such revision"}, 404, X_Error_Code="RevisionNotFound")
        if found := re.fullmatch(r"/resolve/[^/]+/(.+)", rest):
            if found[1] not in files:
                return self.say({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
            content = files[found[1]]
            etag = hashlib.sha256(content).hexdigest()
            known = {"ETag": f'"{etag}"', "X-Repo-Commit": hub.commit(name), "Size": len(content)}
            return self.say(content, **{key.replace("-", "_"): value for key, value in known.items()})
        if rest.startswith("/tree/"):
            sums = {file: hashlib.sha1(content).hexdigest() for file, content in files.items()}
            return self.say([{"type": "file", "path": n, "size": len(c), "oid": sums[n]} for n, c in files.items()])
        siblings = [{"rfilename": file} for file in files]
        return self.say({"id": name, "modelId": name, "sha": hub.commit(name), "siblings": siblings, "tags": []})

    do_GET = do_POST = do_HEAD = do_PUT = answer


@contextmanager
def mock_hub():
    """A hub at an address of this machine, while the block runs.

    Yields:
        The hub, and its address.
    """
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
