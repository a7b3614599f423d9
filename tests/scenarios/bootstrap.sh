#!/bin/bash
# limit: 90 s
# The kubelet's way to its certificates when it is not the straight one: started again while it waits, denied, an address that is
# added, a certificate that ended while the node was off, and a serving certificate that nobody approves.
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kubelet
kubectl_1_35

. "$ROOT/tests/lib/bootstrap.sh"
. "$ROOT/tests/lib/certs.sh"
LOG=$TMP/kubelet.log

step "a control plane without its own kubelet and controller manager, and a token"
up --without kubelet,kube-controller-manager,kube-proxy --wait 0
eventually 20 out_has ok kubectl get --raw /readyz
bootstrap_token
# The settings come from a file here, as kubeadm gives them.
cat >"$CONF/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
rotateCertificates: true
serverTLSBootstrap: true
failSwapOn: false
staticPodPath: $CONF/static
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $CONF/ca.crt}}
authorization: {mode: Webhook}
YAML
mkdir "$CONF/static"
cat >"$CONF/static/early.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: early}
spec:
  hostNetwork: true
  containers: [{name: c, image: "coracle.local/busybox:1", command: [sleep, "1000"]}]
YAML
start_kubelet() {
    enter "$STATE/bin/kubelet" --config="$CONF/kubelet.yaml" --bootstrap-kubeconfig="$CONF/bootstrap" \
        --kubeconfig=/var/lib/kubelet/kubeconfig --hostname-override=node-1 --node-ip=10.89.0.2 --cni-conf-dir="$CONF/cni" \
        --pod-cidr=10.244.0.0/24 --cni-masquerade=false --pod-infra-container-image=coracle.local/pause:1 >>"$LOG" 2>&1 &
}
stop_kubelet() {
    enter sh -c 'kill $(pidof kubelet)'
    eventually 5 gone
}
gone() { ! enter pidof kubelet; }
or_end() { "$@" || { tail -n 25 "$LOG" | cut -c1-300; exit 1; }; }
# The newest request of a signer that has no answer yet.
open_request() {
    kubectl get csr --no-headers --sort-by=.metadata.creationTimestamp | awk -v s="$1" '$3 == s && $NF == "Pending" { n = $1 } END { if (!n) exit 1; print n }'
}
CLIENT=kubernetes.io/kube-apiserver-client-kubelet SERVING=kubernetes.io/kubelet-serving

step "a kubelet that is started again while it waits finds its request; static pods run meanwhile"
start_kubelet
or_end eventually 15 open_request $CLIENT
FIRST=$(open_request $CLIENT)
or_end eventually 20 out_has "coracle.local/busybox:1" enter ctr --address /run/containerd/containerd.sock -n k8s.io containers list
stop_kubelet
start_kubelet
eventually 10 eval '[ "$(grep -c "asked for by the request $FIRST" "$LOG")" = 2 ]'
check test "$(kubectl get csr --no-headers | wc -l)" = 1

step "a request that is denied is followed by another one"
check kubectl certificate deny "$FIRST"
eventually 5 grep -q "was denied" "$LOG"
another() { local now; now=$(open_request $CLIENT) && [ "$now" != "$FIRST" ]; }
or_end eventually 15 another
refute kubectl get node node-1

# A signer of ours: what a person and openssl do instead of the controllers.
sign() { # REQUEST SECONDS
    kubectl certificate approve "$1" >/dev/null || return 1
    kubectl get csr "$1" -o jsonpath='{.spec.request}' | base64 -d >"$TMP/csr.pem"
    local eku=clientAuth san=
    kubectl get csr "$1" -o jsonpath='{.spec.usages}' | grep -q "server auth" && eku=serverAuth
    san=$(openssl req -in "$TMP/csr.pem" -noout -text | grep -A1 "Subject Alternative Name" | tail -n 1 | sed 's/ //g; s/IPAddress/IP/g')
    { echo "extendedKeyUsage=$eku"; [ "$eku" = clientAuth ] || echo "subjectAltName=$san"; } >"$TMP/ext"
    sign_dated "$TMP/csr.pem" "$STATE/pki/ca" "$TMP/ext" "-5 seconds" "+$2 seconds" "$TMP/signed.pem" || return 1
    printf '[{"op":"add","path":"/status/certificate","value":"%s"}]' "$(base64 -w0 "$TMP/signed.pem")" >"$TMP/patch"
    kubectl patch csr "$1" --subresource=status --type=json --patch-file="$TMP/patch"
}

step "signed, the node joins; its port waits for a certificate of its own"
check sign "$(open_request $CLIENT)" 3600
or_end eventually 20 kubectl wait --for=condition=Ready node/node-1 --timeout=1s
or_end eventually 10 open_request $SERVING
eventually 15 out_has "early-node-1" kubectl get pods
refute test -e "$PKI/kubelet-server-current.pem"
check sign "$(open_request $SERVING)" 3600
eventually 10 test -e "$PKI/kubelet-server-current.pem"
eventually 5 out_has "Verify return code: 0" kubelet_shows

step "an address that is added to the Node is asked for"
check kubectl patch node node-1 --subresource=status --type=strategic -p '{"status":{"addresses":[{"type":"ExternalIP","address":"192.0.2.7"}]}}'
or_end eventually 10 open_request $SERVING
# Another one while the request still waits: it is given up, and one for both follows.
STALE=$(open_request $SERVING)
check kubectl patch node node-1 --subresource=status --type=strategic -p '{"status":{"addresses":[{"type":"ExternalDNS","address":"n.example"}]}}'
# Times have whole seconds, so the two are told apart by name.
newer() { kubectl get csr --no-headers | awk -v s=$SERVING -v old="$STALE" '$3 == s && $NF == "Pending" && $1 != old { n = $1 } END { if (!n) exit 1; print n }'; }
eventually 10 newer
check sign "$(newer)" 3600
eventually 10 out_has n.example eval 'kubelet_shows | openssl x509 -noout -ext subjectAltName'
has_address() { kubelet_shows | openssl x509 -noout -ext subjectAltName | grep -q 192.0.2.7; }
eventually 10 has_address

step "a certificate that ended while the node was off is replaced with the token"
stop_kubelet
rm "$STATE/nodes/node-1/var/lib/kubelet/pki/kubelet-client-current.pem"
openssl x509 -in "$STATE/pki/nodes/node-1/kubelet-client.crt" -x509toreq -signkey "$STATE/pki/nodes/node-1/kubelet-client.key" -out "$TMP/csr.pem" 2>/dev/null
echo extendedKeyUsage=clientAuth >"$TMP/ext"
check sign_dated "$TMP/csr.pem" "$STATE/pki/ca" "$TMP/ext" "-5 seconds" "-1 seconds" "$TMP/signed.pem"
cat "$TMP/signed.pem" "$STATE/pki/nodes/node-1/kubelet-client.key" >"$PKI/kubelet-client-2000-01-01-00-00-00.pem"
ln -s kubelet-client-2000-01-01-00-00-00.pem "$PKI/kubelet-client-current.pem"
start_kubelet
or_end eventually 10 open_request $CLIENT
check_out "system:bootstrap:abcdef" kubectl get csr "$(open_request $CLIENT)"
check sign "$(open_request $CLIENT)" 3600
eventually 10 eval '[ "$(grep -c "new credentials for" "$LOG")" -ge 2 ]'
check_out "early-node-1" kubectl get pods
down
