# Certificates by the API: requests made by openssl are approved, signed and used; those that break a rule are not. Bootstrap tokens
# sign cluster-info; tokens of accounts in Secrets.
# limit: 90 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kube-apiserver
up --without=containerd,images,kube-scheduler,kubelet,kube-proxy --wait 0
kubectl_1_35
eventually 20 kubectl get --raw /readyz
port=$(sed -n 's/^port=//p' "/var/lib/coracle/$NAME/config")
cd "$TMP" || exit 1
kubectl config view --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' | base64 -d >ca.crt
me=https://127.0.0.1:$port/apis/authentication.k8s.io/v1/selfsubjectreviews
whoami() { curl -s --max-time 5 --cacert ca.crt "$@" -H 'Content-Type: application/json' -d '{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}' "$me"; }
key() { openssl req -new -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" ${3:+-addext "subjectAltName=$3"} 2>/dev/null; }
# request NAME SIGNER "usages" [kubectl flags]: from NAME.csr.
request() {
    local name=$1 signer=$2 usages=$3
    shift 3
    printf 'apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {name: %s}\nspec: {request: %s, signerName: "%s", expirationSeconds: 3600, usages: [%s]}\n' \
        "$name" "$(base64 -w0 <"$name.csr")" "$signer" "$usages" | kubectl "$@" create -f -
}
condition() { kubectl get csr "$1" --no-headers | awk '{print $NF}'; }
is() { [ "$(condition "$1")" = "$2" ] || { condition "$1"; return 1; }; }

step "a request is approved, signed, and its certificate is a user's"
check key bob /O=devs/CN=bob
check request bob kubernetes.io/kube-apiserver-client '"client auth"'
check_out Pending kubectl get csr bob
check_out 'kubernetes.io/kube-apiserver-client' kubectl get csr bob
check kubectl certificate approve bob
eventually 10 is bob Approved,Issued
kubectl get csr bob -o 'jsonpath={.status.certificate}' | base64 -d >bob.crt
check openssl verify -purpose sslclient -CAfile ca.crt bob.crt
refute openssl verify -purpose sslserver -CAfile ca.crt bob.crt
check_out 'O = devs, CN = bob' openssl x509 -in bob.crt -noout -subject
check openssl x509 -in bob.crt -noout -checkend 3500
refute openssl x509 -in bob.crt -noout -checkend 3700
check_out '"username": "bob"' whoami --cert bob.crt --key bob.key
check_out '"devs"' whoami --cert bob.crt --key bob.key

step "a denied request gets nothing, and a decision stands"
cp bob.csr dora.csr
check request dora kubernetes.io/kube-apiserver-client '"client auth"'
check kubectl certificate deny dora
check_out Denied kubectl get csr dora
refute kubectl certificate approve dora
check is dora Denied

step "what breaks a signer's rules"
fails() { ! "$@"; }
check key root /O=system:masters/CN=root
check_out 'system:masters group is not allowed' fails request root kubernetes.io/kube-apiserver-client '"client auth"'
cp bob.csr server.csr
check request server kubernetes.io/kube-apiserver-client '"server auth"'
check kubectl certificate approve server
eventually 10 is server Approved,Failed
check_out 'invalid usage for client certificate: server auth' kubectl get csr server -o 'jsonpath={.status.conditions[*].message}'
check_out 'PEM block type must be CERTIFICATE REQUEST' fails kubectl create -f - <<<'{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"x"},"spec":{"request":"eA==","signerName":"a.b/c","usages":["client auth"]}}'

step "a bootstrapper's request for a node is approved when its rights say so"
check kubectl create clusterrolebinding boot --clusterrole=system:node-bootstrapper --group=boot
check key node /O=system:nodes/CN=system:node:n1
usages='"digital signature","client auth"'
check request node kubernetes.io/kube-apiserver-client-kubelet "$usages" --as=boot --as-group=boot
sleep 1
check is node Pending
check kubectl create clusterrolebinding boot-approve --clusterrole=system:certificates.k8s.io:certificatesigningrequests:nodeclient --group=boot
eventually 20 is node Approved,Issued
kubectl get csr node -o 'jsonpath={.status.certificate}' | base64 -d >node.crt
check_out '"system:node:n1"' whoami --cert node.crt --key node.key
as_node() {
    kubectl --kubeconfig=node.kc config set-cluster c --server="https://127.0.0.1:$port" --certificate-authority=ca.crt
    kubectl --kubeconfig=node.kc config set-credentials n --client-certificate=node.crt --client-key=node.key
    kubectl --kubeconfig=node.kc config set-context x --cluster=c --user=n
    kubectl --kubeconfig=node.kc config use-context x
}
check as_node

step "a node renews its own client certificate with no more rights than a node's"
check kubectl create clusterrolebinding renew --clusterrole=system:certificates.k8s.io:certificatesigningrequests:selfnodeclient --group=system:nodes
cp node.csr again.csr
check request again kubernetes.io/kube-apiserver-client-kubelet "$usages" --kubeconfig=node.kc
eventually 10 is again Approved,Issued
check key other /O=system:nodes/CN=system:node:n2
check request other kubernetes.io/kube-apiserver-client-kubelet "$usages" --kubeconfig=node.kc

step "a serving certificate names the node's own addresses alone"
check kubectl create -f - <<<'{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}}'
check kubectl create -f - <<<'{"apiVersion":"v1","kind":"Node","metadata":{"name":"n2"}}'
addresses() { kubectl patch node "$1" --subresource=status -p "{\"status\":{\"addresses\":[{\"type\":\"Hostname\",\"address\":\"$1\"},{\"type\":\"InternalIP\",\"address\":\"$2\"}]}}"; }
check addresses n1 10.9.9.1
check addresses n2 10.9.9.2
usages='"digital signature","server auth"'
check key good /O=system:nodes/CN=system:node:n1 DNS:n1,IP:10.9.9.1
check request good kubernetes.io/kubelet-serving "$usages" --kubeconfig=node.kc
eventually 10 is good Approved,Issued
kubectl get csr good -o 'jsonpath={.status.certificate}' | base64 -d >good.crt
check openssl verify -purpose sslserver -verify_ip 10.9.9.1 -CAfile ca.crt good.crt
check key foreign /O=system:nodes/CN=system:node:n1 DNS:n1,IP:10.9.9.2
check request foreign kubernetes.io/kubelet-serving "$usages" --kubeconfig=node.kc
check key service /O=system:nodes/CN=system:node:n1 DNS:kubernetes.default.svc
check request service kubernetes.io/kubelet-serving "$usages" --kubeconfig=node.kc
cp good.csr stranger.csr
check request stranger kubernetes.io/kubelet-serving "$usages"
sleep 1
check is foreign Pending
check is service Pending
check is stranger Pending
check is other Pending

step "cluster-info is signed by a bootstrap token"
token() {
    kubectl create -f - <<<"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"bootstrap-token-$1\",\"namespace\":\"kube-system\"},\"type\":\"bootstrap.kubernetes.io/token\",
        \"stringData\":{\"token-id\":\"$1\",\"token-secret\":\"0123456789abcdef\",\"expiration\":\"$2\",\"usage-bootstrap-signing\":\"true\"}}"
}
check kubectl -n kube-public create configmap cluster-info --from-literal=kubeconfig="clusters: []"
check token abcdef "$(date -u -d '+1 hour' +%FT%TZ)"
jws() { kubectl -n kube-public get configmap cluster-info -o "jsonpath={.data.jws-kubeconfig-$1}" | grep .; }
eventually 10 jws abcdef
url64() { base64 -w0 | tr +/ -_ | tr -d =; }
header=$(printf '{"alg":"HS256","kid":"abcdef"}' | url64)
mac=$(printf '%s.%s' "$header" "$(printf 'clusters: []' | url64)" | openssl dgst -sha256 -hmac 0123456789abcdef -binary | url64)
check_out "$header..$mac" jws abcdef
check token qwerty "$(date -u -d '+3 seconds' +%FT%TZ)"
eventually 5 jws qwerty
eventually 10 fails jws qwerty
eventually 5 fails kubectl -n kube-system get secret bootstrap-token-qwerty

step "the token of an account in a Secret"
check kubectl create serviceaccount robot
check kubectl create -f - <<<'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"robot-token","annotations":{"kubernetes.io/service-account.name":"robot"}},"type":"kubernetes.io/service-account-token"}'
filled() { kubectl get secret robot-token -o "jsonpath={.data.$1}" | grep .; }
eventually 10 filled token
check_out '"username": "system:serviceaccount:default:robot"' whoami -H "Authorization: Bearer $(filled token | base64 -d)"
check cmp ca.crt <(filled 'ca\.crt' | base64 -d)
check kubectl delete serviceaccount robot
eventually 10 fails kubectl get secret robot-token

step "roles made of others"
check kubectl create -f - <<<'{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"look","labels":{"rbac.authorization.k8s.io/aggregate-to-view":"true"}},"rules":[{"apiGroups":["example.com"],"resources":["things"],"verbs":["get"]}]}'
eventually 10 out_has things kubectl get clusterrole view -o 'jsonpath={.rules[*].resources}'
eventually 10 out_has things kubectl get clusterrole admin -o 'jsonpath={.rules[*].resources}'

step "no secret is in a log"
refute grep -rqE '0123456789abcdef|BEGIN [A-Z ]*PRIVATE KEY|eyJhbGciOi' "/var/lib/coracle/$NAME/logs"
refute grep -rq 'forbidden' "/var/lib/coracle/$NAME/logs/node-1/kube-controller-manager.log"
down
