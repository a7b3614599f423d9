# coracle paths: every communication path of a running cluster, judged; and what it says of programs with unsafe flags.
# limit: 120 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
kubectl_1_35
# status WANTED COMMAND...: the exit status.
status() {
    local want=$1
    shift
    "$@"
    [ $? = "$want" ]
}
# row ID FILTER: the catalog has a row of that kind for which the filter of jq is true.
row() { coracle paths -o json | jq -e --arg id "$1" "any(.paths[]; .id == \$id and ($2))"; }

up
step "a cluster that coracle made is safe, and says so"
eventually 20 status 0 coracle paths
check_out 'safe on an untrusted network' coracle paths
check_out '"unsafe":false' coracle paths -o json
check_out 'kind: CommunicationPaths' coracle paths -o yaml
check_out 'seen by: kubelet of node-1' coracle paths -o wide
check status 0 coracle paths --name "$NAME"
check_out 'expires' env COLUMNS=80 "$BIN/coracle" paths

step "each program reports, none of them an unsafe flag"
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet 'kubelet server' kube-proxy; do
    check sh -c "'$BIN/coracle' paths -o json | jq -e --arg p '$program' 'any(.programs[]; .name == \$p and .error == null and .unsafeFlags == [])'"
done

step "the rows have what the connections are"
far='.openConnections > 0 and .bytesSent > 0 and .bytesReceived > 0 and .tls == "TLSv1.3" and .http == "HTTP/2"'
certificate='(.serverCertificate.subject == "CN=kube-apiserver") and (.serverCertificate.notAfter > (now | todate))'
for program in kubelet kube-proxy kube-controller-manager kube-scheduler; do
    check row component-apiserver ".from.name == \"$program\" and .verdict == \"safe\" and .server == \"verified\" and .authentication == \"x509\"
        and .authorization == \"Node,RBAC\" and $far and $certificate"
done
check row component-apiserver '.from.name == "kubelet" and .from.node == "node-1" and (.clientCertificate.subject | contains("system:node:node-1"))'
check row apiserver-users ".authentication == \"x509\" and .verdict == \"safe\" and .tls == \"TLSv1.3\""
check row apiserver-kubelet ".to.node == \"node-1\" and .verdict == \"safe\" and .server == \"verified\" and .authorization == \"Webhook\" and $far
    and (.address | endswith(\":10250\")) and (.clientCertificate.subject | contains(\"kube-apiserver-kubelet-client\"))"
check row kubelet-port '.authentication == "x509 tokens" and .authorization == "Webhook" and .verdict == "safe"'
check row kubelet-runtime '.verdict == "local" and .transport == "unix" and .bytesSent > 0 and .openConnections > 0'
check row apiserver-pods '.address == "10.96.0.1:443"'
check row apiserver-bootstrap '.connections == 0'
check row apiserver-backends '.verdict == "unused"'
check row health-port '.to.name == "kubelet" and .verdict == "local" and .address == "127.0.0.1:10248"'
refute row read-only-port true
refute row apiserver-insecure-port true

step "the page is for those whom a role lets in, and brings its own policy"
port=$(sed -n 's/^port=//p' "/var/lib/coracle/$NAME/config")
check_out 403 curl -sk -o /dev/null -w '%{http_code}' "https://127.0.0.1:$port/paths"
check_out Forbidden sh -c "'$KUBECTL' --as=somebody get --raw /paths 2>&1; true"
check kubectl create clusterrole watcher-of-paths --verb=get --non-resource-url=/paths
check kubectl create clusterrolebinding watcher-of-paths --clusterrole=watcher-of-paths --user=somebody
check_out CommunicationPaths kubectl --as=somebody get --raw /paths
kubectl config view --raw -o 'jsonpath={.users[0].user.client-certificate-data}' | base64 -d >"$TMP/crt"
kubectl config view --raw -o 'jsonpath={.users[0].user.client-key-data}' | base64 -d >"$TMP/key"
page() { curl -sk --cert "$TMP/crt" --key "$TMP/key" --max-time 20 "$@" "https://127.0.0.1:$port/paths"; }
check_out "default-src 'none'" page -D - -o /dev/null -H 'Accept: text/html'
check_out '<title>Communication paths</title>' page -H 'Accept: text/html,application/xhtml+xml'
check_out '{"kind":"CommunicationPaths"' page
check_out 'data: {"kind":"CommunicationPaths"' sh -c "curl -sNk --cert '$TMP/crt' --key '$TMP/key' --max-time 3 -H 'Accept: text/event-stream' 'https://127.0.0.1:$port/paths?watch=true'; true"
timeout 5 "$BIN/coracle" paths --watch -o json >"$TMP/watch" 2>&1
check sh -c "[ \$(grep -c CommunicationPaths '$TMP/watch') -ge 2 ]"

step "a node cannot put markup into the page"
printf 'apiVersion: v1\nkind: Node\nmetadata: {name: liar}\nstatus: {addresses: [{type: InternalIP, address: "<script>alert(1)</script>"}]}\n' >"$TMP/node.yaml"
check kubectl create -f "$TMP/node.yaml"
sleep 1.2
check_out '&lt;script&gt;alert(1)' page -H 'Accept: text/html'
refute sh -c "curl -sk --cert '$TMP/crt' --key '$TMP/key' -H 'Accept: text/html' https://127.0.0.1:$port/paths | grep -F '<script>alert'"
check kubectl delete node liar

step "a pod that is proxied to in the clear is unsafe from then on"
check kubectl run web --image=coracle.local/demo:1 --port=8080
check kubectl wait --for=condition=Ready --timeout=30s pod/web
check kubectl get --raw /api/v1/namespaces/default/pods/web:8080/proxy/
sleep 1.2
check status 1 coracle paths
check_out '--ssh-user' sh -c "'$BIN/coracle' paths --unsafe; true"
check row apiserver-backends '.verdict == "unsafe" and .transport == "plain" and (.address | startswith("10.244.")) and .bytesReceived > 0'

step "what cannot be said is status 2"
check status 2 "$BIN/coracle" paths --kubeconfig "$TMP/none"
check status 2 "$BIN/coracle" paths --name no-such-cluster
check status 2 "$BIN/coracle" paths -o nonsense

# Programs with the document's defaults, beside each other in a network of their own: what they open and do not verify is found.
step "programs by hand, with unsafe flags"
NS=$NAME
ip netns add "$NS" && ip -n "$NS" link set lo up && ip -n "$NS" link add br0 type bridge &&
    ip -n "$NS" addr add 10.77.0.1/24 dev br0 && ip -n "$NS" link set br0 up
PIDS=
# shellcheck disable=SC2086
tidy() { kill $PIDS 2>/dev/null; wait $PIDS 2>/dev/null; ip netns del "$NS" 2>/dev/null; }
trap 'code=$?; tidy; (exit $code); _end' EXIT
pki=/var/lib/coracle/$NAME/pki
mkdir -p "$TMP/hand"
ip netns exec "$NS" "$BIN/kube-apiserver" --store=memory --secure-port=6443 --cert-dir="$TMP/hand" --client-ca-file="$pki/ca.crt" \
    --insecure-bind-address=127.0.0.1 --insecure-port=8080 --authorization-mode=Node,RBAC --service-account-key-file="$pki/sa.pub" \
    --service-account-signing-key-file="$pki/sa.key" --service-account-issuer=https://x --kubelet-preferred-address-types=InternalIP >"$TMP/hand/apiserver.log" 2>&1 &
PIDS="$PIDS $!"
at() { ip netns exec "$NS" env KUBECONFIG="$TMP/hand/kubeconfig" HOME="$TMP" "$@"; }
cat >"$TMP/hand/kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:8080"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
current-context: c
YAML
eventually 15 at "$KUBECTL" get --raw /readyz
printf 'apiVersion: v1\nkind: Node\nmetadata: {name: far}\nstatus: {addresses: [{type: InternalIP, address: 10.77.0.9}]}\n' | at "$KUBECTL" create -f - >/dev/null
by_hand() { at "$BIN/coracle" paths "$@"; }
check status 1 by_hand
check_out '--kubelet-certificate-authority' sh -c "ip netns exec $NS env KUBECONFIG=$TMP/hand/kubeconfig HOME=$TMP '$BIN/coracle' paths; true"
check_out '--insecure-port' sh -c "ip netns exec $NS env KUBECONFIG=$TMP/hand/kubeconfig HOME=$TMP '$BIN/coracle' paths; true"
by_hand -o json >"$TMP/hand/json"
check jq -e 'any(.paths[]; .id == "apiserver-kubelet" and .to.node == "far" and .verdict == "unsafe")' "$TMP/hand/json"
check jq -e 'any(.paths[]; .id == "apiserver-insecure-port" and .verdict == "local" and .address == "127.0.0.1:8080")' "$TMP/hand/json"
check jq -e 'any(.programs[]; .name == "kubelet" and .node == "far" and .error != null)' "$TMP/hand/json"

step "a scheduler and a kubelet with the document's defaults"
ip netns exec "$NS" "$BIN/kube-scheduler" --kubeconfig="$TMP/hand/kubeconfig" --leader-elect=false >"$TMP/hand/scheduler.log" 2>&1 &
PIDS="$PIDS $!"
ip netns exec "$NS" "$BIN/kubelet" --kubeconfig="$TMP/hand/kubeconfig" --hostname-override=hand --node-ip=10.77.0.1 --root-dir="$TMP/hand/kubelet" \
    --cert-dir="$TMP/hand/kubelet-pki" --pod-logs-dir="$TMP/hand/logs" --container-runtime-endpoint="unix://$TMP/none.sock" --cni-conf-dir="$TMP/hand/cni" \
    --fail-swap-on=false >"$TMP/hand/kubelet.log" 2>&1 &
PIDS="$PIDS $!"
eventually 10 ip netns exec "$NS" curl -sf http://127.0.0.1:10251/healthz
eventually 10 at "$KUBECTL" get node hand
eventually 10 ip netns exec "$NS" curl -s -o /dev/null http://10.77.0.1:10255/healthz
sleep 1.2
check status 1 by_hand
found() { ip netns exec "$NS" env KUBECONFIG="$TMP/hand/kubeconfig" HOME="$TMP" "$BIN/coracle" paths --unsafe | grep -F -- "$1"; }
for flag in --kubelet-certificate-authority --anonymous-auth=false --read-only-port=0 --cadvisor-port=0 --port=0 --authorization-mode=Webhook; do
    check found "$flag"
done
by_hand -o json >"$TMP/hand/json"
for id in apiserver-kubelet kubelet-port read-only-port cadvisor-port metrics-port; do
    check jq -e --arg id $id 'any(.paths[]; .id == $id and .verdict == "unsafe" and (.mend | length > 0))' "$TMP/hand/json"
done
check jq -e 'any(.programs[]; .name == "kube-scheduler" and .error == null)' "$TMP/hand/json"
# Others on the network are not told.
check_out 404 ip netns exec "$NS" curl -s -o /dev/null -w '%{http_code}' http://10.77.0.1:10251/paths

step "the end"
tidy
PIDS=
down
