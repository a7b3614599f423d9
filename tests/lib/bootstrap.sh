# A node that joins with a token, for scenarios: `. "$ROOT/tests/lib/bootstrap.sh"` after scenario.sh. The cluster is made without its kubelet.
STATE=/var/lib/coracle/$NAME
CONF=$STATE/nodes/node-1/conf
PKI=$STATE/nodes/node-1/var/lib/kubelet/pki

# The token abcdef.0123456789abcdef, the right to ask for a node's certificate with it, and the kubeconfig $CONF/bootstrap that holds it.
bootstrap_token() {
    check kubectl -n kube-system create secret generic bootstrap-token-abcdef --type=bootstrap.kubernetes.io/token \
        --from-literal=token-id=abcdef --from-literal=token-secret=0123456789abcdef --from-literal=usage-bootstrap-authentication=true \
        --from-literal=auth-extra-groups=system:bootstrappers:nodes
    check kubectl create clusterrolebinding nodes-ask --clusterrole=system:node-bootstrapper --group=system:bootstrappers:nodes
    cat >"$CONF/bootstrap" <<YAML
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {server: "https://10.89.0.2:6443", certificate-authority: "$CONF/ca.crt"}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
users: [{name: u, user: {token: abcdef.0123456789abcdef}}]
YAML
    chmod 600 "$CONF/bootstrap"
}
# What the kubelet's port shows, as openssl tells it.
kubelet_shows() { enter timeout 5 openssl s_client -connect 10.89.0.2:10250 -CAfile "$CONF/ca.crt" </dev/null 2>/dev/null; }
