# The page /paths in headless Chromium: drawn, live, usable by keyboard, without script, from nowhere but the API server.
# limit: 240 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
command -v chromium >/dev/null && command -v chromedriver >/dev/null ||
    skip "chromium and chromium-driver are not installed (packages/browser.txt)"
kubectl_1_35

up
step "the page in a browser"
eventually 20 coracle paths
port=$(free_port)
"$KUBECTL" proxy --port "$port" >"$TMP/proxy" 2>&1 &
PROXY=$!
trap 'code=$?; kill $PROXY 2>/dev/null; wait $PROXY 2>/dev/null; (exit $code); _end' EXIT
eventually 10 curl -sf -o /dev/null "http://127.0.0.1:$port/paths"
timeout 150 python3 "$ROOT/tests/long/browser.py" "http://127.0.0.1:$port" "$TMP/paths.png" >"$TMP/result" 2>"$TMP/errors"
while IFS= read -r line; do
    case $line in
    "ok: "*) _passed ;;
    *) say "$line" && FAILED=$((FAILED + 1)) ;;
    esac
done <"$TMP/result"
check grep -q 'without JavaScript' "$TMP/result" || cat "$TMP/errors"
[ -z "${CORACLE_KEEP_SHOTS:-}" ] || cp "$TMP"/paths*.png "$CORACLE_KEEP_SHOTS/"
down
