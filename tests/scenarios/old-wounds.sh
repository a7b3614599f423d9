# What other implementations were hurt by, tried against a running cluster with real frames, certificates and kubelets; tests/README.md has the
# whole list of CVEs and where each is tested.
# limit: 100 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet; do need_program $program; done
for program in python3 openssl jq; do command -v "$program" >/dev/null || skip "there is no $program"; done
kubectl_1_35
STATE=/var/lib/coracle/$NAME
PKI=$STATE/pki
LIB=$ROOT/tests/lib
BACKGROUND=
trap 'status=$?; kill $BACKGROUND 2>/dev/null; (exit $status); _end' EXIT
up
PORT=$(sed -n 's/^port=//p' "$STATE/config")
URL=https://127.0.0.1:$PORT
pid_of() { coracle status --name "$NAME" | awk -v c="$1" '$1 == c { print $5 }'; }
peak_kb() { awk '/^VmHWM:/ { print $2 }' "/proc/$1/status"; }
as() { local who=$1; shift; curl -s --max-time 20 --cacert "$PKI/ca.crt" --cert "$TMP/$who.crt" --key "$TMP/$who.key" "$@"; }
cp "$PKI/admin.crt" "$PKI/admin.key" "$TMP/"
# person NAME SUBJECT: a client certificate of the cluster's CA.
person() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$TMP/$1.key" -out "$TMP/$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "$TMP/$1.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -set_serial "0x$(openssl rand -hex 8)" -days 1 \
        -extfile <(echo extendedKeyUsage=clientAuth) -out "$TMP/$1.crt" 2>/dev/null
}
person node /O=system:nodes/CN=system:node:node-1
person bob /CN=bob
PID=$(pid_of kube-apiserver)

step "floods of HTTP/2 frames end their connection, at once, and cost no memory (CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316)"
before=$(peak_kb "$PID")
flood() { timeout 40 python3 "$LIB/hostile-client.py" 127.0.0.1 "$PORT" "$PKI/ca.crt" "$@" | tee -a "$TMP/floods"; }
for what in rapid-reset reset-made ping settings empty continuation; do
    check_out " frames, GOAWAY " flood $what "$TMP/admin.crt" "$TMP/admin.key"
    check_out " frames, GOAWAY " flood $what
done
check grep -q 'GOAWAY 11' "$TMP/floods" # ENHANCE_YOUR_CALM
for _ in 1 2 3 4 5; do flood window "$TMP/admin.crt" "$TMP/admin.key" >/dev/null & done # answers that may not come wait in a few buffers
wait
check as admin -f -o "$TMP/out" "$URL/readyz"
check test "$(pid_of kube-apiserver)" = "$PID"
echo "peak before $before kB, after $(peak_kb "$PID") kB" >"$TMP/out"
check test $(($(peak_kb "$PID") - before)) -lt 90000 # LISTS_WHOLE_BUDGET and some
check grep -q 'ended: too many reset streams' "$STATE/logs/node-1/kube-apiserver.log"

step "YAML and JSON that cost much to read are refused in little time and memory (CVE-2019-11253, CVE-2019-11254)"
python3 - "$TMP" <<'PY'
import sys
MB3 = 3 * 1024 * 1024 - 64
def put(name, unit, head=b"", tail=b""):
    with open("%s/%s.yaml" % (sys.argv[1], name), "wb") as f:
        f.write(head + (unit * (MB3 // len(unit)))[:MB3 - len(head) - len(tail)] + tail)

open(sys.argv[1] + "/laughs.yaml", "wb").write(b"a: &a [l,l,l,l,l,l,l,l,l]\n" + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(20)))
put("flow", b"[")
put("maps", b"{a: ")
put("braces", b"{")
put("dashes", b"- ")
put("questions", b"? ")
put("colons", b": ")
put("keys", b"k", tail=b": 1\n")
put("plain", b"a\n", b"a: b\n")
put("spaces", b" \n")
put("indent", b"".join(b" " * i + b"a:\n" for i in range(600)))
put("comments", b"#\n")
put("commas", b"a,", b"x: [", b"]")
put("simple-keys", b"a:,", b"x: {", b"}")
put("anchors", b"&a a ", b"x: [")
put("many-anchors", b"".join(b"- &a%d x\n" % i for i in range(200000)))
put("aliases", b"*a,", b"x: &a [b]\ny: [", b"]\n")
put("tags", b"!a ", b"x: ")
put("percent", b"!%41", b"x: ")
put("quoted", b"\\x41", b'x: "', b'"')
put("folded", b"a\n\n", b"x: >\n ")
put("literal", b"a\n", b"x: |\n a\n")
put("documents", b"---\n")
put("directives", b"%TAG ! !\n")
put("json", b'{"a":', b"")
put("same-keys", b"a: 1\n")
put("tabs", b"\t")
put("nul", b"\0")
PY
# One at a time, so that the time is its own; somebody else's request goes on beside it.
for file in "$TMP"/*.yaml; do
    name=$(basename "$file" .yaml)
    as admin -X POST -H 'Content-Type: application/yaml' --data-binary "@$file" -o "$TMP/answer" -w '%{http_code} %{time_total}' \
        "$URL/api/v1/namespaces/default/configmaps" >"$TMP/took"
    read -r code took <"$TMP/took"
    echo "$name: $code after $took s: $(head -c 200 "$TMP/answer" 2>/dev/null)" >"$TMP/out"
    check test "$(echo "$code" | cut -c1)" = 4
    check test "${took%%.*}" -lt 8 # a quadratic reader takes minutes
done
check test "$(pid_of kube-apiserver)" = "$PID"
check test "$(peak_kb "$PID")" -lt 260000

step "a node that was broken into: labels, taints, owners of its Node (CVE-2021-25735, CVE-2025-5187)"
NODE=$URL/api/v1/nodes/node-1
patch() { as node -X PATCH -H "Content-Type: $1" -d "$2" -o "$TMP/out" -w '%{http_code}\n' "$3"; }
check_out 200 patch application/merge-patch+json '{"metadata":{"annotations":{"own":"1"}}}' "$NODE"
kubectl label node node-1 node-restriction.kubernetes.io/tier=trusted >/dev/null
kubectl taint node node-1 wound=open:PreferNoSchedule >/dev/null
for type in merge-patch+json strategic-merge-patch+json; do
    for path in "$NODE" "$NODE/status"; do
        patch application/$type '{"metadata":{"labels":{"node-restriction.kubernetes.io/tier":"evil"}}}' "$path" >>"$TMP/codes"
        patch application/$type '{"metadata":{"labels":{"node-role.kubernetes.io/master":""}}}' "$path" >>"$TMP/codes"
        patch application/$type '{"spec":{"taints":null}}' "$path" >>"$TMP/codes"
        patch application/$type '{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"0b7c0d7e-0000-4000-8000-000000000000"}]}}' "$path" >>"$TMP/codes"
    done
done
patch application/json-patch+json '[{"op":"remove","path":"/spec/taints"}]' "$NODE" >>"$TMP/codes"
patch application/json-patch+json '[{"op":"add","path":"/metadata/ownerReferences","value":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"0b7c0d7e-0000-4000-8000-000000000000"}]}]' "$NODE" >>"$TMP/codes"
as node -X PATCH -H 'Content-Type: application/apply-patch+yaml' -o /dev/null -w '%{http_code}\n' "$NODE?fieldManager=evil&force=true" -d '{"apiVersion":"v1","kind":"Node","metadata":{"name":"node-1","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"0b7c0d7e-0000-4000-8000-000000000000"}]}}' >>"$TMP/codes"
# PUT of what was read, changed; with an old version, without one, of the status
kubectl get node node-1 -o json | jq 'del(.metadata.resourceVersion) | .metadata.labels["node-restriction.kubernetes.io/tier"]="evil" | .spec.taints=[]' >"$TMP/node.json"
for path in "$NODE" "$NODE/status"; do as node -X PUT -H 'Content-Type: application/json' --data-binary "@$TMP/node.json" -o /dev/null -w '%{http_code}\n' "$path" >>"$TMP/codes"; done
as node -X DELETE -o /dev/null -w '%{http_code}\n' "$NODE" >>"$TMP/codes"
check grep -q 403 "$TMP/codes"
kubectl get node node-1 -o json | jq -c '[.metadata.labels["node-restriction.kubernetes.io/tier"], .metadata.labels["node-role.kubernetes.io/master"], .metadata.ownerReferences, [.spec.taints[]?.key | select(. == "wound")]]' >"$TMP/after"
cp "$TMP/after" "$TMP/out"
check grep -qxF '["trusted",null,null,["wound"]]' "$TMP/after"
check_out 403 as node -o /dev/null -w '%{http_code}' "$URL/api/v1/namespaces/kube-system/secrets"
# It is still there after the garbage collector had its time.
kubectl taint node node-1 wound- >/dev/null

step "reading nodes/proxy is no right to run: at the API server and at the kubelet itself"
cat >"$TMP/pod.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: victim}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "coracle.local/busybox:1", command: [sleep, "100"]}]
YAML
eventually 10 kubectl get serviceaccount default
check kubectl apply -f "$TMP/pod.yaml"
check kubectl create clusterrole reader --verb=get,list,watch --resource=nodes/proxy,pods/exec,pods/attach,pods/portforward,pods/proxy,services/proxy
check kubectl create clusterrolebinding reader --clusterrole=reader --user=bob
eventually 20 kubectl exec victim -- true
WS="--http1.1 -H Connection:Upgrade -H Upgrade:websocket -H Sec-WebSocket-Version:13 -H Sec-WebSocket-Key:dGhlIHNhbXBsZSBub25jZQ== -H Sec-WebSocket-Protocol:v4.channel.k8s.io"
SPDY="--http1.1 -H Connection:Upgrade -H Upgrade:SPDY/3.1 -H X-Stream-Protocol-Version:v4.channel.k8s.io"
eventually 5 as bob -f -o "$TMP/out" "$URL/api/v1/nodes/node-1/proxy/healthz"
for path in /exec/default/victim/c /run/default/victim/c /attach/default/victim/c /portForward/default/victim /cri/exec/x //exec/default/victim/c /%65xec/default/victim/c /./exec/default/victim/c /x/../exec/default/victim/c; do
    for kind in "" "$WS" "$SPDY"; do
        # shellcheck disable=SC2086
        as bob --path-as-is -g --max-time 3 $kind -o "$TMP/answer" -w '%{http_code}\n' "$URL/api/v1/nodes/node-1/proxy$path?command=id&output=1&stdout=1" >>"$TMP/exec.codes"
    done
done
# The kubelet, asked by bob with a certificate of the cluster's CA.
cp "$TMP/bob.crt" "$TMP/bob.key" "$STATE/nodes/node-1/conf/"
at_kubelet() { enter curl -s -k --max-time 3 --path-as-is --cert "$STATE/nodes/node-1/conf/bob.crt" --key "$STATE/nodes/node-1/conf/bob.key" "$@"; }
check_out 200 at_kubelet -o /dev/null -w '%{http_code}' https://10.89.0.2:10250/pods
for path in /exec/default/victim/c /run/default/victim/c /attach/default/victim/c /portForward/default/victim //exec/default/victim/c /%65xec/default/victim/c; do
    for kind in "" "$WS" "$SPDY"; do
        # shellcheck disable=SC2086
        at_kubelet $kind -o /dev/null -w '%{http_code}\n' "https://10.89.0.2:10250$path?command=id&output=1&stdout=1" >>"$TMP/exec.codes"
    done
done
sort "$TMP/exec.codes" | uniq -c >"$TMP/out"
check test "$(wc -l <"$TMP/exec.codes")" = 45
refute grep -vE '^(403|404|400|405|301)$' "$TMP/exec.codes"
check grep -q 403 "$TMP/exec.codes"

step "checkpoints are not for everybody who reaches a port, and fill no disk (CVE-2025-0426)"
refute sh -c "'$BIN/coracle' enter --name '$NAME' -- ss -Hltn 'sport = :10255' | grep -q ."
for _ in $(seq 20); do
    enter curl -s -k -X POST --max-time 3 -o /dev/null -w '%{http_code}\n' https://10.89.0.2:10250/checkpoint/default/victim/c >>"$TMP/checkpoints"
    at_kubelet -X POST -o /dev/null -w '%{http_code}\n' https://10.89.0.2:10250/checkpoint/default/victim/c >>"$TMP/checkpoints"
done
sort "$TMP/checkpoints" | uniq -c >"$TMP/out"
refute grep -q '^2' "$TMP/checkpoints"
check test -z "$(find "$STATE/nodes/node-1/var/lib/kubelet" -name '*.tar*' -print -quit)"

step "classes of storage, aggregated services and nodes' addresses send nobody anywhere (CVE-2020-8555, CVE-2022-3172, CVE-2022-3294)"
# In the node, where the API server and the controller manager are too. Only what arrives in the clear would be a request.
SPY=7878
cat >"$TMP/spy.py" <<PY
import socket
s = socket.create_server(('127.0.0.1', $SPY))
while True:
    c, a = s.accept()
    open('/tmp/spied', 'ab').write(c.recv(1000) + b'\n')
    c.sendall(b'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:$SPY/again\r\nContent-Length: 0\r\n\r\n')
    c.close()
PY
enter python3 -c "$(cat "$TMP/spy.py")" & BACKGROUND=$!
eventually 5 sh -c "'$BIN/coracle' enter --name '$NAME' -- ss -Hltn 'sport = :$SPY' | grep -q ."
for kind in glusterfs quobyte scaleio storageos; do
    printf 'apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: %s}\nprovisioner: kubernetes.io/%s\nparameters: {resturl: "http://127.0.0.1:%s", quobyteAPIServer: "http://127.0.0.1:%s", gateway: "http://127.0.0.1:%s"}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: %s}\nspec: {storageClassName: %s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n---\n' \
        $kind $kind "$SPY" "$SPY" "$SPY" $kind $kind
done >"$TMP/classes.yaml"
check kubectl apply -f "$TMP/classes.yaml"
printf 'apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: v1.evil.example}\nspec: {group: evil.example, version: v1, insecureSkipTLSVerify: true, groupPriorityMinimum: 1, versionPriority: 1, service: {name: evil, namespace: default, port: %s}}\n' "$SPY" | kubectl apply -f - >"$TMP/out" 2>&1
code=$(as admin -o "$TMP/out" -D "$TMP/headers" -w '%{http_code}' "$URL/apis/evil.example/v1/things")
case $code in 404 | 503) _passed ;; *) _failed "$code from an aggregated service" ;; esac
refute grep -qi '^location' "$TMP/headers"
for address in 127.0.0.1 localhost 169.254.169.254 ::1; do
    kubectl delete node evil >/dev/null 2>&1
    type=InternalIP
    [ $address != localhost ] || type=Hostname
    printf 'apiVersion: v1\nkind: Node\nmetadata: {name: evil}\n' | kubectl create -f - >/dev/null
    kubectl patch node evil --subresource=status --type=merge -p "{\"status\":{\"addresses\":[{\"type\":\"$type\",\"address\":\"$address\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":10250}}}}" >/dev/null
    for path in evil:$SPY/proxy/ http:evil:$SPY/proxy/ https:evil:6443/proxy/; do check_out "address not allowed" as admin "$URL/api/v1/nodes/$path"; done
    # As a kubelet, which shows a certificate for that address before it is asked for anything.
    kubectl patch node evil --subresource=status --type=merge -p "{\"status\":{\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":$SPY}}}}" >/dev/null
    refute as admin -f -o "$TMP/out" "$URL/api/v1/nodes/evil/proxy/pods"
done
check kubectl delete node evil
sleep 1
refute enter grep -aE "GET|POST|HTTP/" /tmp/spied

step "after all that the same API server serves, and the node is there"
check test "$(pid_of kube-apiserver)" = "$PID"
check kubectl get node node-1
kill $BACKGROUND; wait $BACKGROUND 2>/dev/null
down
