# A cluster as it runs: what its ports accept, what its programs may do, where its secrets are not, and that one user does not stop others.
# limit: 100 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
for program in python3 openssl ss jq; do command -v "$program" >/dev/null || skip "there is no $program"; done
kubectl_1_35
STATE=/var/lib/coracle/$NAME
LOGS=$STATE/logs/node-1
LIB=$ROOT/tests/lib
up -v 10
PORT=$(sed -n 's/^port=//p' "$STATE/config")
URL=https://127.0.0.1:$PORT
pid_of() { coracle status --name "$NAME" | awk -v c="$1" '$1 == c { print $5 }'; }
ask() { curl -s --max-time 15 --cacert "$STATE/pki/ca.crt" "$@"; }

step "whatever listens beyond the node's loopback speaks TLS, and on loopback only what is known to is plain"
TLS="version 1.2
version 1.3
cipher 1.2 c02b
cipher 1.2 c02c
cipher 1.2 cca9
cipher 1.3 1301
cipher 1.3 1302
cipher 1.3 1303
group 1.2 23
group 1.3 23
group 1.3 24
group 1.3 29"
n=0
enter ss -Hltnp | awk '{ print $4, $6 }' >"$TMP/listeners"
while read -r address who; do
    host=${address%:*} port=${address##*:}
    case $host:$port:$who in
    127.0.0.1:10248:*kubelet* | 127.0.0.1:10249:*kube-proxy* | 127.0.0.1:10256:*kube-proxy* | 127.0.0.1:*:*containerd*) continue ;;
    0.0.0.0:* | '*:'* | '[::]:'*) host=10.89.0.2 ;;
    esac
    n=$((n + 1))
    step "TLS of $address: versions, ciphers, groups and signatures, all that there are numbers for"
    enter timeout 20 python3 "$LIB/tls-scan.py" "$host" "$port" >"$TMP/scan"
    cp "$TMP/scan" "$TMP/out"
    check diff <(printf '%s\n' "$TLS") "$TMP/scan"
    step "TLS of $address: openssl s_client"
    for old in -tls1 -tls1_1; do
        refute enter sh -c "timeout 5 openssl s_client $old -cipher ALL:@SECLEVEL=0 -connect $host:$port </dev/null 2>&1 | grep -q 'Server certificate'"
    done
    check_out "no renegotiation" enter sh -c "{ sleep 0.3; echo R; sleep 0.5; } | timeout 5 openssl s_client -tls1_2 -connect $host:$port 2>&1; true"
    check_out "Compression: NONE" enter sh -c "timeout 5 openssl s_client -connect $host:$port </dev/null 2>&1; true"
    # The managers' ports make a certificate of their own, for loopback alone.
    [ "$host" = 127.0.0.1 ] || check_out "Verify return code: 0 (ok)" enter sh -c "timeout 5 openssl s_client -verify_ip $host -CAfile $STATE/nodes/node-1/conf/ca.crt -connect $host:$port </dev/null 2>&1; true"
    # Plain text to a port of TLS is answered with an end, and nothing of the API's.
    check_out "000" enter sh -c "curl -s --max-time 3 --http0.9 -o /tmp/plain -w '%{http_code}' http://$host:$port/version; true"
    refute enter grep -q gitVersion /tmp/plain
done <"$TMP/listeners"
step "all four listeners were found"
check test "$n" = 4

step "who the programs are, and what they cannot do"
has() { cp "/proc/$1/status" "$TMP/out" && check grep -qE "$2" "/proc/$1/status"; }
SERVER=$(pgrep -P "$(pid_of kubelet)" kubelet)
for pid in $(pid_of kube-apiserver) $(pid_of kube-controller-manager) $(pid_of kube-scheduler) "$SERVER"; do
    has "$pid" '^Uid:\s+([1-9][0-9]{4})\s+\1\s+\1\s+\1$'
    for set in CapEff CapPrm CapInh CapAmb; do has "$pid" "^$set:\s+0000000000000000$"; done
    has "$pid" '^NoNewPrivs:\s+1$'
    has "$pid" '^Seccomp:\s+2$'
    check grep -q '^Max core file size *0 ' "/proc/$pid/limits"
done
PROXY=$(pid_of kube-proxy)
has "$PROXY" '^CapEff:\s+0000000000001000$'
has "$PROXY" '^CapPrm:\s+0000000000001000$'
has "$PROXY" '^NoNewPrivs:\s+1$'
has "$PROXY" '^Seccomp:\s+2$'
# What serves the kubelet's port has nothing open but sockets, the loop's own, and its log.
refute sh -c "ls -l /proc/$SERVER/fd | grep -vE 'socket:|anon_inode:|/dev/null|/logs/|total'"

step "somebody who took over a control plane's program: tried from the very place where it runs"
cat >"$TMP/probe" <<'PY'
#!/usr/bin/python3
import ctypes, os, socket, sys, time
STATE = os.path.dirname(os.path.dirname(sys.argv[0] if sys.argv[0].startswith("/") else os.path.realpath(__file__)))
libc = ctypes.CDLL(None, use_errno=True)
def say(what, ok):
    print("probe", what, "DONE" if ok else "refused", flush=True)
def call(what, number, *args):
    say(what, libc.syscall(number, *args) >= 0)
def attempt(what, fn):
    try:
        fn()
        say(what, True)
    except OSError:
        say(what, False)
own = {"kube-scheduler": "scheduler", "kube-controller-manager": "controller-manager", "kube-apiserver": "apiserver"}[os.path.basename(__file__)]
files = ["pki/ca.key", "pki/admin.key", "store/coracle.db", "config", "kube/apiserver/sa.key", "kube/apiserver/apiserver.key",
         "kube/controller-manager/ca.key", "kube/scheduler/kubeconfig", "nodes/node-1/conf/kubelet.key"]
for f in files:
    if not f.startswith("kube/" + own) and not (own == "apiserver" and f.startswith("store")):
        attempt("read " + f, lambda: open(STATE + "/" + f, "rb").read(1))
for f in ("/tmp/x", "/var/tmp/x", "/dev/shm/x", STATE + "/bin/x", STATE + "/kube/" + own + "/x", "/etc/x"):
    attempt("write " + f, lambda: open(f, "wb").write(b"x"))
for f in ("/root", "/home", "/var/lib/kubelet", "/run/containerd", "/run/coracle"):
    attempt("list " + f, lambda: os.listdir(f))
attempt("memory of init", lambda: open("/proc/1/mem", "rb").read(1))
attempt("environment of init", lambda: open("/proc/1/environ", "rb").read(1))
attempt("user 0", lambda: os.setuid(0))
for family in (socket.AF_PACKET, 16, 40, 38, 44):
    if family != 16:
        attempt("socket %d" % family, lambda: socket.socket(family, socket.SOCK_RAW if family == socket.AF_PACKET else socket.SOCK_STREAM))
attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
for what, number, *args in (("mount", 165, b"x", b"/tmp", b"tmpfs", 0, None), ("unshare", 272, 0x10000000), ("setns", 308, 0, 0), ("ptrace", 101, 16, 1, 0, 0),
                            ("bpf", 321, 0, None, 0), ("keyctl", 250, 0, -3, 1), ("io_uring_setup", 425, 8, None), ("perf_event_open", 298, None, 0, -1, -1, 0),
                            ("userfaultfd", 323, 0), ("process_vm_readv", 310, 1, None, 0, None, 0, 0), ("clock_settime", 227, 0, None),
                            ("chroot", 161, b"/"), ("pivot_root", 155, b"/", b"/"), ("init_module", 175, None, 0, None), ("open_by_handle_at", 304, 0, None, 0)):
    call(what, number, *args)
call("clone into a user namespace", 56, 0x10000000 | 17, 0, 0, 0, 0)
print("probe end", flush=True)
time.sleep(1.5)
PY
for component in kube-scheduler kube-controller-manager kube-apiserver; do
    log=$LOGS/$component.log
    mv "$STATE/bin/$component" "$TMP/kept"
    install -m 755 "$TMP/probe" "$STATE/bin/$component"
    kill -9 "$(pid_of "$component")"
    eventually 10 grep -q 'probe end' "$log"
    cp "$log" "$TMP/out"
    check test "$(grep -c '^probe .* refused$' "$log")" -ge 35
    refute grep '^probe .* DONE$' "$log"
    rm "$STATE/bin/$component"
    mv "$TMP/kept" "$STATE/bin/$component" # started again as the probe ends
done
eventually 20 out_has ok kubectl get --raw /readyz

step "secrets are used in every way, and each goes wrong once"
CANARY=canary-4f6b1c9e
SECRETS="$CANARY-secret $CANARY-token $CANARY-query $CANARY-password bearer-$CANARY 0c4a7a2y0c4a7a2y"
check kubectl create secret generic one --from-literal=key="$CANARY-secret"
check kubectl create secret docker-registry pull --docker-server=registry.invalid --docker-username=u --docker-password="$CANARY-password"
check kubectl create secret generic bootstrap-token-canary -n kube-system --type=bootstrap.kubernetes.io/token --from-literal=token-id=canary \
    --from-literal=token-secret=0c4a7a2y0c4a7a2y --from-literal=usage-bootstrap-authentication=true
cat >"$TMP/pod.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  terminationGracePeriodSeconds: 1
  imagePullSecrets: [{name: pull}]
  volumes: [{name: s, secret: {secretName: one}}]
  containers:
  - name: c
    image: coracle.local/busybox:1
    command: [sleep, "100"]
    env: [{name: SECRET, valueFrom: {secretKeyRef: {name: one, key: key}}}]
    volumeMounts: [{name: s, mountPath: /s}]
  - name: missing
    image: registry.invalid/x:1
    env: [{name: SECRET, valueFrom: {secretKeyRef: {name: one, key: key}}}]
YAML
eventually 10 kubectl get serviceaccount default
check kubectl apply -f "$TMP/pod.yaml"
inside() { kubectl exec user -c c -- cat /s/key /var/run/secrets/kubernetes.io/serviceaccount/token; }
eventually 30 out_has "$CANARY-secret" inside
inside | sed "s/.*$CANARY-secret//" >"$TMP/sa"
check_out 200 ask -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(cat "$TMP/sa")" "$URL/version"
check_out 200 ask -o /dev/null -w '%{http_code}' -H "Authorization: Bearer canary.0c4a7a2y0c4a7a2y" "$URL/version"
check_out 401 ask -o "$TMP/answer1" -w '%{http_code}' -H "Authorization: Bearer $CANARY-token" "$URL/version"
check_out 401 ask -o "$TMP/answer2" -w '%{http_code}' -H "Authorization: Bearer canary.0c4a7a2y0c4a7a2z" "$URL/version"
ask -o "$TMP/answer3" -u "u:$CANARY-password" "$URL/api/v1/secrets?access_token=$CANARY-query&token=$CANARY-query"
ask -o "$TMP/answer4" --http1.1 -H "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.bearer-$CANARY" -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
    -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "$URL/api/v1/namespaces/default/pods/user/exec?command=id&stdout=1"
# Objects that are refused: their values are not in the words, nor in the log.
bad() { ask --cert "$STATE/pki/admin.crt" --key "$STATE/pki/admin.key" -H 'Content-Type: application/json' -d "$1" -o "$TMP/answer$2" "$URL/api/v1/namespaces/default/secrets"; }
bad "{\"metadata\":{\"name\":\"bad\"},\"data\":{\"key\":\"$CANARY-secret!!\"}}" 5
bad "{\"metadata\":{\"name\":\"bad\"},\"type\":\"kubernetes.io/tls\",\"stringData\":{\"tls.key\":\"$CANARY-secret\"}}" 6
bad "{\"metadata\":{\"name\":\"bad\"},\"stringData\":{\"../x\":\"$CANARY-secret\"}}" 7
bad "{\"metadata\":{\"name\":\"bad\"},\"stringData\":[\"$CANARY-secret\"]}" 8
enter sh -c "curl -s -k -o /dev/null -H 'Authorization: Bearer $CANARY-token' https://10.89.0.2:10250/pods; curl -s -k -o /dev/null -H 'Authorization: Bearer $(cat "$TMP/sa")' 'https://10.89.0.2:10250/exec/default/user/c?command=id&token=$CANARY-query'; curl -s -k -o /dev/null -H 'Authorization: Bearer $CANARY-token' https://127.0.0.1:10257/metrics"
kubectl get --raw "/api/v1/namespaces/default/pods/user:1/proxy/?token=$CANARY-query" >"$TMP/out" 2>&1
kubectl describe pod user >"$TMP/described"
sleep 1

step "a token for somebody else opens nothing here, and neither does a certificate that the cluster's CA did not sign"
kubectl create token default --audience=vault.example >"$TMP/stolen"
kubectl create clusterrolebinding everything --clusterrole=cluster-admin --serviceaccount=default:default >/dev/null
kubectl create token default >"$TMP/own"
CONF=$STATE/nodes/node-1/conf
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$CONF/evil.key" -out "$CONF/evil.crt" -days 2 -subj /O=system:masters/CN=kubernetes 2>/dev/null
for at in 10.89.0.2:6443/api/v1/secrets 10.89.0.2:10250/pods 127.0.0.1:10257/metrics 127.0.0.1:10259/metrics; do
    eventually 5 out_has 200 enter curl -s -k -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(cat "$TMP/own")" "https://$at"
    check_out 401 enter curl -s -k -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(cat "$TMP/stolen")" "https://$at"
    check_out 401 enter curl -s -k -o /dev/null -w '%{http_code}' --cert "$CONF/evil.crt" --key "$CONF/evil.key" "https://$at"
done
for log in kube-apiserver kubelet kube-controller-manager kube-scheduler; do
    check grep -qE 'not authenticated|cannot authenticate' "$LOGS/$log.log"
    check grep -qE '(not authenticated|cannot authenticate).*(self-signed certificate|unknown authority|signed by)' "$LOGS/$log.log"
done
kubectl delete clusterrolebinding everything >/dev/null

step "no secret is in a log, an answer, a command line, an environment or a file that others may read"
for key in "$STATE"/pki/*.key; do SECRETS="$SECRETS $(sed -n 2p "$key" | cut -c1-40)"; done
SECRETS="$SECRETS $(cut -d. -f3 "$TMP/sa" "$TMP/own" "$TMP/stolen" | cut -c1-60) $(printf %s "$CANARY-secret" | base64) $(printf %s "u:$CANARY-password" | base64)"
check test -s "$TMP/sa"
printf '%s\n' $SECRETS >"$TMP/secrets"
check test "$(wc -l <"$TMP/secrets")" -ge 15
check test "$(cat "$LOGS"/*.log | wc -l)" -gt 1000
# found FILE...: which of the secrets are there (and where).
found() { grep -aFf "$TMP/secrets" "$@"; }
refute found "$LOGS"/*.log "$STATE"/logs/*.log
refute found "$TMP"/answer* "$TMP/described"
kubectl get events -A -o yaml >"$TMP/events"
refute found "$TMP/events"
in_pod() { grep -q kubepods "/proc/$1/cgroup" 2>/dev/null; }
: >"$TMP/processes"
for pid in $(enter sh -c 'for p in /proc/[0-9]*; do grep -h ^NSpid $p/status; done' | awk '{ print $NF }'); do echo "$pid" >>"$TMP/inner"; done
for pid in $(pgrep -f "coracle/$NAME/") $(for c in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy containerd; do pid_of $c; done) "$SERVER"; do
    [ -d "/proc/$pid" ] && ! in_pod "$pid" || continue
    { tr '\0' ' ' <"/proc/$pid/cmdline"; tr '\0' ' ' <"/proc/$pid/environ"; echo; } >>"$TMP/processes" 2>/dev/null
done
check test "$(wc -l <"$TMP/processes")" -ge 7
refute found "$TMP/processes"
check test -z "$(find "$STATE" -xdev \( -name '*.key' -o -name '*kubeconfig*' -o -name '*.conf' -path '*/conf/*' \) -type f -perm /077 ! -path '*/cni/*')"

step "one user who sends much is told to wait, and nobody else"
for who in greedy modest; do
    check kubectl create serviceaccount $who
    check kubectl create clusterrolebinding $who --clusterrole=view --serviceaccount=default:$who
    kubectl create token $who >"$TMP/$who"
done
as() { local who=$1; shift; ask -H "Authorization: Bearer $(cat "$TMP/$who")" "$@"; }
eventually 5 as greedy -f -o /dev/null "$URL/api/v1/namespaces/default/configmaps"
# Each waits three seconds for a version that does not come.
as greedy -Z --parallel-max 300 -o /dev/null -w '%{http_code} %header{retry-after}\n' "$URL/api/v1/namespaces/default/configmaps?resourceVersion=999999999&n=[1-280]" >"$TMP/greedy.codes" &
greedy=$!
sleep 1.5
for _ in 1 2 3 4 5; do check_out "200" as modest --max-time 1 -o /dev/null -w '%{http_code}' "$URL/api/v1/namespaces/default/configmaps"; done
wait $greedy
sort "$TMP/greedy.codes" | uniq -c >"$TMP/out"
check test "$(grep -c '^504' "$TMP/greedy.codes")" -ge 150
check test "$(grep -c '^504' "$TMP/greedy.codes")" -le 200
check grep -q '^429 1$' "$TMP/greedy.codes"
eventually 5 as greedy -f -o /dev/null "$URL/api/v1/namespaces/default/configmaps"
down
