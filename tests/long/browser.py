"""The page /paths in headless Chromium, driven by WebDriver (chromedriver) over HTTP.

browser.py ORIGIN SCREENSHOT: prints "N passed, N failed" lines for tests/long/browser.sh. ORIGIN is where the API server is
reachable for a browser without credentials of its own: `kubectl proxy`.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ORIGIN, SCREENSHOT = sys.argv[1:3]
NODE = sys.argv[3] if len(sys.argv) > 3 else "node-1"
failed = 0


def check(what, good, seen=""):
    global failed
    print(("ok: " if good else "not ok: ") + what + ("" if good else ": " + str(seen)[:1500]), flush=True)
    failed += not good


class Browser:
    def __init__(self, dark=False, script=True):
        self.home = tempfile.TemporaryDirectory(prefix="coracle-chromium-")
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        port = None
        for line in self.driver.stdout:
            if "successfully on port" in line:
                port = line.strip().rstrip(".").split()[-1]
                break
        self.base = "http://127.0.0.1:%s" % port
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1500,1600",
                     "--user-data-dir=" + self.home.name, "--no-first-run", "--disable-background-networking", "--disable-component-update",
                     "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        if dark:
            arguments.append("--force-dark-mode")
        prefs = {} if script else {"profile.managed_default_content_settings.javascript": 2}
        capabilities = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments, "prefs": prefs},
                        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]

    def call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            raise RuntimeError(e.read().decode()[:2000]) from e

    def do(self, method, path, body=None):
        return self.call(method, "/session/%s%s" % (self.session, path), body)

    def js(self, script, *args):
        return self.do("POST", "/execute/sync", {"script": script, "args": list(args)})

    def open(self, url):
        self.do("POST", "/url", {"url": url})

    def shot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.do("GET", "/screenshot")))

    def log(self, kind):
        return self.do("POST", "/se/log", {"type": kind})

    def keys(self, *keys):
        actions = []
        for k in keys:
            actions += [{"type": "keyDown", "value": k}, {"type": "keyUp", "value": k}]
        self.do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def close(self):
        try:
            self.do("DELETE", "")
        except (OSError, RuntimeError):
            pass
        self.driver.terminate()
        self.driver.wait(10)
        time.sleep(0.3)
        try:
            self.home.cleanup()
        except OSError:
            pass


def requests_of(log):
    urls = []
    for entry in log:
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            urls.append(message["params"]["request"]["url"])
    return urls


def with_script():
    b = Browser()
    try:
        b.open(ORIGIN + "/paths")
        for _ in range(50):
            if b.js("return Boolean(document.querySelector('#picture svg')) && Number(document.body.dataset.updates || 0) > 0"):
                break
            time.sleep(0.2)
        check("the page has its title", b.js("return document.title") == "Communication paths")
        rows = b.js("return document.querySelectorAll('#rows tr[data-key]').length")
        edges = b.js("return document.querySelectorAll('#picture .edge').length")
        check("the table has rows", rows >= 15, rows)
        check("the picture has an edge for each path between programs", edges >= 15 and edges <= rows, (edges, rows))
        boxes = b.js("return [...document.querySelectorAll('#picture text')].map((t) => t.textContent)")
        for name in ("kube-apiserver", "kube-scheduler", "kube-controller-manager", "kubelet", "kube-proxy", "users", "node " + NODE):
            check("the picture shows " + name, name in boxes, boxes)
        check("verdicts colour the edges", b.js("return document.querySelectorAll('#picture .edge.safe').length") >= 5)
        check("the stream updates the page", b.js("return Number(document.body.dataset.updates)") >= 1)
        check("and says so", b.js("return document.getElementById('live').textContent") == "live")
        overlap = b.js("""const boxes = [...document.querySelectorAll('#picture rect.box')].map((r) => r.getBoundingClientRect());
            return boxes.some((p, i) => boxes.some((q, k) => k > i && p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 1 && q.top < p.bottom - 1));""")
        check("no box lies on another", overlap is False)
        b.js("document.querySelector('#picture .edge[aria-label*=\"kube-apiserver to kubelet\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
        facts = b.js("return document.getElementById('facts').textContent")
        check("a click shows the facts of a path", "TLSv1.3" in facts and "10250" in facts and "until" in facts, facts)
        check("and marks its row", b.js("return document.querySelectorAll('tr.chosen').length") == 1)
        b.js("document.activeElement.blur(); window.scrollTo(0, 0); document.querySelector('#picture .edge').focus()")
        b.keys("\ue004")
        focused = b.js("return document.activeElement.getAttribute('aria-label') || ''")
        check("the Tab key goes from edge to edge, each with its words", " to " in focused, focused)
        b.keys("\ue007")
        check("Enter goes to the row in the table", b.js("return document.activeElement.tagName") == "TR")
        nameless = b.js("return [...document.querySelectorAll('#picture .edge')].filter((e) => !e.getAttribute('aria-label')).length")
        check("every edge has a name for readers of screens", nameless == 0)
        b.js("window.scrollTo(0, 0)")
        b.shot(SCREENSHOT)
        outside = [u for u in requests_of(b.log("performance")) if not u.startswith((ORIGIN + "/", "data:", "about:", "chrome:"))]
        check("nothing is fetched from elsewhere", outside == [], outside)
        console = [e for e in b.log("browser") if e["level"] in ("SEVERE", "WARNING")]
        check("no error on the console", console == [], console)
        b.js("const s = document.createElement('script'); s.textContent = 'window.ranInline = true'; document.body.append(s)")
        check("no other script runs: the policy forbids it", b.js("return Boolean(window.ranInline)") is False)
    finally:
        b.close()


def narrow_and_dark():
    b = Browser(dark=True)
    try:
        b.do("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}})
        b.open(ORIGIN + "/paths")
        time.sleep(1)
        colour = b.js("return getComputedStyle(document.body).backgroundColor")
        check("the page is dark for those who ask for it", sum(int(x) for x in colour[4:-1].split(",")) < 200, colour)
        b.shot(SCREENSHOT.replace(".png", "-dark.png"))
        b.do("POST", "/window/rect", {"width": 500, "height": 900})
        wide = b.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        check("a narrow window scrolls inside the picture and the table, not the page", wide <= 1, wide)
    finally:
        b.close()


def without_script():
    b = Browser(script=False)
    try:
        b.open(ORIGIN + "/paths")
        time.sleep(0.5)
        # WebDriver's own script runs all the same.
        rows = b.do("POST", "/elements", {"using": "css selector", "value": "#rows tr"})
        check("without JavaScript the table is whole", len(rows) >= 15, len(rows))
        check("and no picture is drawn", b.do("POST", "/elements", {"using": "css selector", "value": "#picture svg"}) == [])
    finally:
        b.close()


def main():
    os.environ.pop("http_proxy", None)
    with_script()
    narrow_and_dark()
    without_script()
    sys.exit(1 if failed else 0)


main()
