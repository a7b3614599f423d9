#!/bin/bash
# limit: 100 s
# A node joins with nothing but a token; its certificates live for seconds and are renewed while streams and a watch go on; the
# apiserver's certificate is replaced under an open watch.
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kubelet
kubectl_1_35

. "$ROOT/tests/lib/bootstrap.sh"
. "$ROOT/tests/lib/certs.sh"
PORT=$(free_port)

step "a control plane without its own kubelet and controller manager"
up --port "$PORT" --without kubelet,kube-controller-manager --wait 0
eventually 20 out_has ok kubectl get --raw /readyz

# Certificates that are signed live for 12 seconds: each is renewed after 8 to 11 of them.
start_manager() {
    enter "$STATE/bin/kube-controller-manager" --flag-defaults=secure --bind-address=127.0.0.1 --leader-elect=false \
        --kubeconfig="$STATE/kube/controller-manager/kubeconfig" \
        --root-ca-file="$STATE/kube/controller-manager/ca.crt" \
        --cluster-signing-cert-file="$STATE/kube/controller-manager/ca.crt" \
        --cluster-signing-key-file="$STATE/kube/controller-manager/ca.key" --cluster-signing-duration=12s \
        --service-account-private-key-file="$STATE/kube/controller-manager/sa.key" --use-service-account-credentials=true \
        --controllers='*,kubelet-serving-csr-approving-controller' --allocate-node-cidrs=true \
        --cluster-cidr=10.244.0.0/16 --service-cluster-ip-range=10.96.0.0/16 >"$TMP/manager.log" 2>&1 &
}
start_kubelet() {
    enter "$STATE/bin/kubelet" --flag-defaults=secure --bootstrap-kubeconfig="$CONF/bootstrap" \
        --kubeconfig=/var/lib/kubelet/kubeconfig --rotate-certificates --rotate-server-certificates \
        --hostname-override=node-1 --node-ip=10.89.0.2 --cni-conf-dir="$CONF/cni" --cni-masquerade=false \
        --pod-infra-container-image=coracle.local/pause:1 --fail-swap-on=false --client-ca-file="$CONF/ca.crt" \
        --anonymous-auth=false --authentication-token-webhook=true --authorization-mode=Webhook >"$TMP/kubelet.log" 2>&1 &
}

# The rest says nothing when this failed.
or_end() { "$@" || { tail -n 15 "$TMP/kubelet.log" "$TMP/manager.log" | cut -c1-300; exit 1; }; }

step "a token that may ask for a node's certificate, and rules that let it be approved"
bootstrap_token
check kubectl create clusterrolebinding nodes-first --group=system:bootstrappers:nodes \
    --clusterrole=system:certificates.k8s.io:certificatesigningrequests:nodeclient
check kubectl create clusterrolebinding nodes-again --group=system:nodes \
    --clusterrole=system:certificates.k8s.io:certificatesigningrequests:selfnodeclient

step "a kubelet that waits for its certificate"
start_kubelet
or_end eventually 15 out_has system:bootstrap:abcdef kubectl get csr
check_out Pending kubectl get csr
refute kubectl get node node-1

step "the node joins once there is somebody who approves and signs"
start_manager
or_end eventually 20 kubectl wait --for=condition=Ready node/node-1 --timeout=1s
check_out kubelet-client-current.pem grep client-certificate "$STATE/nodes/node-1/var/lib/kubelet/kubeconfig"
eventually 10 test -L "$PKI/kubelet-server-current.pem"
check_out "600 root" stat -L -c '%a %U' "$PKI/kubelet-client-current.pem"
refute test -e "$PKI/kubelet-client.key.tmp"

serial() { openssl x509 -noout -serial -in "$PKI/kubelet-$1-current.pem"; }
client_before=$(serial client) server_before=$(serial server)
check_out "O = system:nodes, CN = system:node:node-1" openssl x509 -noout -subject -in "$PKI/kubelet-client-current.pem"
check_out "IP Address:10.89.0.2" openssl x509 -noout -ext subjectAltName -in "$PKI/kubelet-server-current.pem"
# What the port shows now.
shown() { kubelet_shows | openssl x509 -noout -serial; }
shown_before=$(shown)
check_out "Verify return code: 0" kubelet_shows

step "streams and a watch are opened"
cat >"$TMP/pod.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "coracle.local/busybox:1", command: [sh, -c, "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.5; done"]}
YAML
check kubectl apply -f "$TMP/pod.yaml"
or_end eventually 20 kubectl wait --for=condition=Ready pod/talker --timeout=1s
kubectl logs -f talker >"$TMP/logs" 2>"$TMP/logs.err" &
LOGS=$!
kubectl exec talker -- sh -c 'i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.5; done' >"$TMP/exec" 2>"$TMP/exec.err" &
EXEC=$!
kubectl get --raw "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=300" >"$TMP/watch" 2>"$TMP/watch.err" &
WATCH=$!
eventually 5 grep -q line "$TMP/logs"
eventually 5 grep -q tick "$TMP/exec"
kubelet_pid=$(enter pidof -s kubelet)

step "the apiserver's certificate is replaced on disk: new connections get the new one"
A=$STATE/kube/apiserver
api_shown() { timeout 5 openssl s_client -connect "127.0.0.1:$PORT" </dev/null 2>/dev/null | openssl x509 -noout -serial; }
api_before=$(api_shown)
openssl ecparam -name prime256v1 -genkey -noout -out "$TMP/new.key" 2>/dev/null
openssl req -new -key "$TMP/new.key" -subj /CN=kube-apiserver -out "$TMP/new.csr" 2>/dev/null
sign() { # DAYS OUT
    openssl x509 -req -in "$TMP/new.csr" -CA "$STATE/pki/ca.crt" -CAkey "$STATE/pki/ca.key" -set_serial "0x$(openssl rand -hex 12)" -days "$1" \
        -extfile <(printf 'subjectAltName=DNS:localhost,DNS:kubernetes,IP:127.0.0.1,IP:10.89.0.2,IP:10.96.0.1\nextendedKeyUsage=serverAuth\n') \
        -out "$2" 2>/dev/null
}
check sign 30 "$TMP/new.crt"
# Half of the pair first: the old one stays in force, and the log says why.
install -m 400 -o "$(stat -c %u "$A/apiserver.crt")" "$TMP/new.crt" "$A/x" && mv "$A/x" "$A/apiserver.crt"
eventually 5 grep -q "the old one stays: cannot use the private key" "$STATE/logs/node-1/kube-apiserver.log"
check test "$(api_shown)" = "$api_before"
install -m 400 -o "$(stat -c %u "$A/apiserver.key")" "$TMP/new.key" "$A/x" && mv "$A/x" "$A/apiserver.key"
changed_api() { local now; now=$(api_shown); [ -n "$now" ] && [ "$now" != "$api_before" ]; }
eventually 5 changed_api

step "both certificates of the node are renewed several times in the same process"
renewed() { [ "$(grep -c "the $1 is good until" "$TMP/kubelet.log")" -ge "$2" ]; }
eventually 40 renewed "client certificate" 4
eventually 20 renewed "serving certificate" 4
refute test "$(serial client)" = "$client_before"
refute test "$(serial server)" = "$server_before"
shows_another() { local now; now=$(shown); [ -n "$now" ] && [ "$now" != "$shown_before" ]; }
check shows_another
check test "$(enter pidof -s kubelet)" = "$kubelet_pid"
check test "$(find "$PKI" -name 'kubelet-client-2*' | wc -l)" = 2

step "the streams and the watch never broke"
check kill -0 $LOGS
check kill -0 $EXEC
check kill -0 $WATCH
check kubectl create configmap late --from-literal=a=b
eventually 5 grep -q '"name":"late"' "$TMP/watch"
n=$(wc -l <"$TMP/logs") m=$(wc -l <"$TMP/exec")
grew() { [ "$(wc -l <"$TMP/logs")" -gt "$n" ] && [ "$(wc -l <"$TMP/exec")" -gt "$m" ]; }
eventually 5 grew
check_out "line" kubectl logs --tail=1 talker
check kubectl wait --for=condition=Ready node/node-1 --timeout=1s

step "the kubelet tells how long its certificates live"
metrics() { kubectl get --raw /api/v1/nodes/node-1/proxy/metrics; }
check_out kubelet_certificate_manager_client_ttl_seconds metrics
check_out kubelet_certificate_manager_server_ttl_seconds metrics

step "an expired certificate is refused, and said so"
kill $LOGS $EXEC $WATCH
check sign -1 "$TMP/old.crt"
install -m 400 -o "$(stat -c %u "$A/apiserver.crt")" "$TMP/old.crt" "$A/x" && mv "$A/x" "$A/apiserver.crt"
expired() { timeout 5 openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$STATE/pki/ca.crt" </dev/null 2>/dev/null | grep -q "certificate has expired"; }
eventually 5 expired
enter "$STATE/bin/kubelet" --flag-defaults=secure --kubeconfig=/var/lib/kubelet/kubeconfig --root-dir=/tmp/k2 --hostname-override=node-1 \
    --node-ip=10.89.0.2 --port=0 --healthz-port=0 --authorization-mode=AlwaysAllow --fail-swap-on=false --register-node=false >"$TMP/second.log" 2>&1 &
eventually 10 grep -q "the server's certificate is refused: certificate has expired" "$TMP/second.log"

step "one that is not valid yet is refused, and said so"
printf 'subjectAltName=IP:127.0.0.1,IP:10.89.0.2\nextendedKeyUsage=serverAuth\n' >"$TMP/early.ext"
check sign_dated "$TMP/new.csr" "$STATE/pki/ca" "$TMP/early.ext" 20400101000000Z 20410101000000Z "$TMP/early.crt"
install -m 400 -o "$(stat -c %u "$A/apiserver.crt")" "$TMP/early.crt" "$A/x" && mv "$A/x" "$A/apiserver.crt"
eventually 15 grep -q "the server's certificate is refused: certificate is not yet valid" "$TMP/second.log"
down
