. "$(dirname "$0")/../lib/scenario.sh"
# limit: 100 s
# From the API server into the cluster: proxies of nodes, pods and services, exec and port-forward over WebSocket and SPDY, logs,
# a backend that lies, the kubernetes Service, and an API server that reaches everything through a Konnectivity proxy.
need_root
kubectl_1_35
LIB=$ROOT/tests/lib
PIDS=
background() { # background FILE COMMAND...: its pid is in LAST, its output in FILE
    local out=$1
    shift
    "$@" >"$out" 2>&1 &
    LAST=$!
    PIDS="$PIDS $LAST"
}
end_background() {
    for pid in $PIDS; do kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    PIDS=
}
trap 'end_background; _end' EXIT
up --demo
check kubectl rollout status deploy/web --timeout=30s
POD=$(kubectl get pods -l app=web -o 'jsonpath={.items[0].metadata.name}')
P=$(free_port)
background "$TMP/proxy.out" timeout 90 "$KUBECTL" proxy --port "$P"
A=http://127.0.0.1:$P/api/v1
eventually 5 curl -fsS -m 2 "$A"
get() { curl -sS -m 10 "$@"; }
code() { curl -sS -m 10 -o /dev/null -w '%{http_code}' "$@"; }

step "pods and services by port number and name"
check_out "pod=$POD" get "$A/namespaces/default/pods/$POD:8080/proxy/"
check_out "pod=$POD" get "$A/namespaces/default/pods/$POD:http/proxy/"
check_out "pod=$POD" get "$A/namespaces/default/pods/http:$POD:http/proxy/"
check_out "pod=$POD" get "$A/namespaces/default/pods/$POD/proxy/"
check_out "version=" get "$A/namespaces/default/services/web/proxy/"
check_out "version=" get "$A/namespaces/default/services/http:web:80/proxy/"
check_out 503 code "$A/namespaces/default/services/web:81/proxy/"
check_out 400 code "$A/namespaces/default/pods/$POD:none/proxy/"
check_out 301 code "$A/namespaces/default/services/web/proxy"
for method in POST PUT PATCH DELETE OPTIONS; do
    check_out 200 code -X "$method" "$A/namespaces/default/services/web/proxy/"
done
check_out 200 code -I "$A/namespaces/default/services/web/proxy/"

step "a node's kubelet, and another port of the node"
check_out ok get "$A/nodes/node-1/proxy/healthz"
check_out "$POD" get "$A/nodes/node-1/proxy/pods"
check_out '"nodeName":"node-1"' get "$A/nodes/node-1/proxy/stats/summary"
check_out kubelet_ get "$A/nodes/node-1:10250/proxy/metrics"
check_out 503 code "$A/nodes/node-1:9/proxy/"

step "a backend that lies, on the node's own port 7777"
background "$TMP/backend.out" timeout 90 "$BIN/coracle" enter --name "$NAME" -- python3 "$LIB/hostile-backend.py" --host 10.89.0.2 --port 7777
N="$A/nodes/node-1:7777/proxy"
eventually 10 out_has 200 code "$N/"
check_out '"/a%2Fb?x=%26"' get "$N/a%2Fb?x=%26"
check_out '/api/v1/nodes/node-1:7777/proxy/login' get -o /dev/null -D - "$N/redirect?to=/login"
refute grep -qi 'x-hop\|access-control' <(get -D - -o /dev/null "$N/hop")
for lie in lie-101 endless-headers giant-header many-headers; do
    check_out 503 code "$N/$lie"
done
check_out 400 code --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' "$N/refuse"
check_out 500 code --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' "$N/upgrade-redirect"
check_out 'HTTP/1.1 101' sh -c "curl -sS -m 1 -o /dev/null -D - --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: echo' '$N/ws'; true"
check_out 200 code "$N/"
head -c 20000000 /dev/zero >"$TMP/big"
check_out 20000000 get -T "$TMP/big" "$N/count-body"

step "a service by TLS is shown no certificate of ours: the kubelet behind this one answers 401"
kubectl apply -f - >"$TMP/out" 2>&1 <<YAML
apiVersion: v1
kind: Service
metadata: {name: inner}
spec: {ports: [{port: 80, targetPort: 6443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: inner-1, labels: {kubernetes.io/service-name: inner}}
addressType: IPv4
ports: [{port: 10250}]
endpoints: [{addresses: ["10.89.0.2"], conditions: {ready: true}}]
YAML
check_out 401 code "$A/namespaces/default/services/https:inner:/proxy/pods"

step "exec over WebSocket and over SPDY"
for ws in true false; do
    export KUBECTL_REMOTE_COMMAND_WEBSOCKETS=$ws KUBECTL_PORT_FORWARD_WEBSOCKETS=$ws
    check_out "hello from $POD" kubectl exec "$POD" -- sh -c 'echo hello from $(hostname)'
    check_out "7" sh -c "printf 1234567 | '$KUBECTL' exec -i '$POD' -- wc -c"
    refute kubectl exec "$POD" -- sh -c 'exit 3'
    Q=$(free_port)
    background "$TMP/pf.out" timeout 20 "$KUBECTL" port-forward "$POD" "$Q:8080"
    eventually 5 out_has "pod=$POD" curl -sS -m 2 "http://127.0.0.1:$Q/"
done
unset KUBECTL_REMOTE_COMMAND_WEBSOCKETS KUBECTL_PORT_FORWARD_WEBSOCKETS

step "logs, followed"
kubectl run chatter --image=coracle.local/busybox:1 --restart=Never -- sh -c 'i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); sleep 0.2; done' >/dev/null
eventually 15 out_has Running kubectl get pod chatter
background "$TMP/follow.out" timeout 15 "$KUBECTL" logs -f chatter
eventually 10 grep -q 'line 9$' "$TMP/follow.out"
check_out "line 0" kubectl logs chatter --limit-bytes=10
refute kubectl logs chatter -c nobody

step "reading a node's proxy is not enough to run something"
kubectl create clusterrole node-reader --verb=get --resource=nodes/proxy,pods/exec >/dev/null
kubectl create clusterrolebinding node-reader --clusterrole=node-reader --user=bob >/dev/null
eventually 5 out_has ok kubectl --as=bob get --raw /api/v1/nodes/node-1/proxy/healthz
check_out 'cannot create resource "nodes/proxy"' sh -c "'$KUBECTL' --as=bob get --raw '/api/v1/nodes/node-1/proxy/exec/default/$POD/web?command=id&output=1' 2>&1; true"
check_out 403 code --http1.1 -H 'Impersonate-User: bob' -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
    -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "$A/nodes/node-1/proxy/healthz"
refute kubectl --as=bob exec "$POD" -- id

step "the kubernetes Service is put right"
check_out 10.89.0.2 kubectl get endpointslice kubernetes -o 'jsonpath={.endpoints[*].addresses[*]}'
check kubectl delete endpoints,endpointslice,service kubernetes
eventually 5 out_has 10.89.0.2 kubectl get endpoints kubernetes -o 'jsonpath={.subsets[*].addresses[*].ip}'
eventually 5 out_has 10.89.0.2 kubectl get endpointslice kubernetes -o 'jsonpath={.endpoints[*].addresses[*]}'
eventually 5 out_has 10.96.0.1 kubectl get service kubernetes
refute grep -q 'kubelet-certificate-authority' /var/lib/coracle/"$NAME"/logs/node-1/kube-apiserver.log
end_background
down

step "an API server behind Konnectivity (HTTP CONNECT, mutual TLS)"
cd "$TMP" || exit 1
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -subj /CN=ca -days 2 2>/dev/null
for name in server client; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr -subj /CN=$name 2>/dev/null
    printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=%sAuth\n' $name >$name.ext
    openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out $name.crt -days 2 -extfile $name.ext 2>/dev/null
done
openssl ecparam -name prime256v1 -genkey -noout -out sa.key
echo 'secret,admin,1,"system:masters"' >tokens
B=$(free_port) K=$(free_port) S=$(free_port)
background backend.out timeout 60 python3 "$LIB/hostile-backend.py" --port "$B"
background konnectivity.out timeout 60 python3 "$LIB/http-connect-proxy.py" --port "$K" --cert server.crt --key server.key --ca ca.crt --log connect.log --to "127.0.0.1:$B"
KONNECTIVITY=$LAST
cat >egress.yaml <<YAML
apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport: {tcp: {url: "https://127.0.0.1:$K", tlsConfig: {caBundle: "$TMP/ca.crt", clientCert: "$TMP/client.crt", clientKey: "$TMP/client.key"}}}
YAML
apiserver() {
    exec timeout 60 "$BIN/kube-apiserver" --store=memory --insecure-port=0 --cert-dir=. --bind-address=127.0.0.1 --secure-port="$S" --token-auth-file=tokens \
        --service-account-key-file=sa.key --service-account-signing-key-file=sa.key --advertise-address=192.0.2.1 "$@"
}
sed 's/HTTPConnect/GRPC/' egress.yaml >grpc.yaml
check_out "GRPC is not spoken here" sh -c "'$BIN/kube-apiserver' --store=memory --insecure-port=0 --cert-dir=. --token-auth-file=tokens --advertise-address=192.0.2.1 --secure-port=$S --egress-selector-config-file=grpc.yaml 2>&1; true"
check_out "contradict" sh -c "'$BIN/kube-apiserver' --store=memory --insecure-port=0 --cert-dir=. --token-auth-file=tokens --advertise-address=192.0.2.1 --secure-port=$S --egress-selector-config-file=egress.yaml --tunnel-socket=/run/x 2>&1; true"
background apiserver.out apiserver --egress-selector-config-file=egress.yaml --authorization-mode=RBAC
eventually 10 curl -fsSk -m 2 "https://127.0.0.1:$S/readyz"
eventually 10 grep -q ready konnectivity.out
api() { curl -sSk -m 10 -H 'Authorization: Bearer secret' -H "Content-Type: ${TYPE:-application/json}" "$@"; }
H=https://127.0.0.1:$S/api/v1
check grep -q 'kubelet-certificate-authority' apiserver.out
check api -d '{"metadata":{"name":"far"}}' "$H/nodes"
TYPE=application/merge-patch+json check api -X PATCH -d '{"status":{"addresses":[{"type":"InternalIP","address":"10.99.0.7"}]}}' "$H/nodes/far/status"
check_out '"/seen?yes"' api "$H/nodes/far:8080/proxy/seen?yes"
check grep -q 'CONNECT 10.99.0.7:8080' connect.log
check_out 'apiserver_egress_dialer_dial_start_total{protocol="http_connect",transport="tcp"}' api "https://127.0.0.1:$S/metrics"
kill "$KONNECTIVITY"
wait "$KONNECTIVITY" 2>/dev/null
check_out 'the egress proxy at https://127.0.0.1' api "$H/nodes/far:8081/proxy/seen"
check_out '"code":503' api "$H/nodes/far:8081/proxy/seen"
end_background

step "etcd and webhooks go their way too"
E=$(free_port) F=$(free_port) W=$(free_port)
background etcd.out timeout 60 etcd --data-dir "$TMP/etcd" --listen-client-urls "http://127.0.0.1:$E" --advertise-client-urls "http://127.0.0.1:$E" \
    --listen-peer-urls "http://127.0.0.1:$F" --initial-advertise-peer-urls "http://127.0.0.1:$F" --initial-cluster "default=http://127.0.0.1:$F"
background backend.out timeout 60 python3 "$LIB/hostile-backend.py" --port "$W"
background konnectivity.out timeout 60 python3 "$LIB/http-connect-proxy.py" --uds "$TMP/egress.sock" --log uds.log
cat >both.yaml <<YAML
apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- {name: etcd, connection: {proxyProtocol: HTTPConnect, transport: {uds: {udsName: "$TMP/egress.sock"}}}}
- {name: controlplane, connection: {proxyProtocol: HTTPConnect, transport: {uds: {udsName: "$TMP/egress.sock"}}}}
YAML
cat >webhook.yaml <<YAML
apiVersion: v1
kind: Config
clusters: [{name: w, cluster: {server: "http://127.0.0.1:$W"}}]
users: [{name: w, user: {}}]
contexts: [{name: w, context: {cluster: w, user: w}}]
current-context: w
YAML
eventually 5 test -S egress.sock
background apiserver.out timeout 60 "$BIN/kube-apiserver" --etcd-servers="http://127.0.0.1:$E" --insecure-port=0 --cert-dir=. --bind-address=127.0.0.1 \
    --secure-port="$S" --token-auth-file=tokens --service-account-key-file=sa.key --service-account-signing-key-file=sa.key \
    --advertise-address=192.0.2.1 --egress-selector-config-file=both.yaml --authentication-token-webhook-config-file=webhook.yaml
eventually 15 curl -fsSk -m 2 "https://127.0.0.1:$S/readyz"
check grep -q "CONNECT 127.0.0.1:$E" uds.log
check_out 401 curl -sSk -m 5 -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer who' "https://127.0.0.1:$S/api"
check grep -q "CONNECT 127.0.0.1:$W" uds.log
check_out '"192.0.2.1"' api "https://127.0.0.1:$S/api/v1/namespaces/default/endpoints/kubernetes"
end_background
