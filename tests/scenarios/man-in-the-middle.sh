# Somebody else at the other end of every path, with each kind of certificate that is not the right one: refused before a word is said, and the log
# says why. The right certificate is tried as well, so that a refusal means something.
# limit: 90 s
. "$(dirname "$0")/../lib/alone.sh"
. "$LIB/certs.sh"
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy tunnel; do need_program $program; done

# ---- certificates ----
ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.crt" -days 10 -subj "/CN=cluster" 2>/dev/null; }
# cert NAME CA EXTENSIONS [x509 options]: the key's kind is in $KIND
KIND='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1'
cert() {
    # shellcheck disable=SC2086
    openssl req $KIND -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=${4:-127.0.0.1}" 2>/dev/null
    printf '%b\n' "$3" >"$1.ext"
    # shellcheck disable=SC2086
    openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -out "$1.crt" -extfile "$1.ext" ${5:--days 5 -sha256} 2>/dev/null
}
dated() { # NAME FROM TO
    # shellcheck disable=SC2086
    openssl req $KIND -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=127.0.0.1" 2>/dev/null
    printf 'extendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1\n' >"$1.ext"
    sign_dated "$1.csr" ca "$1.ext" "$2" "$3" "$1.crt"
}
HERE='extendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1,DNS:localhost'
ca ca
ca evil # of the same name
cert right ca "$HERE"
cert forged evil "$HERE"
cert other ca 'extendedKeyUsage=serverAuth\nsubjectAltName=IP:10.9.9.9,DNS:node-2' # another node's; the common name is no name
cert client ca 'extendedKeyUsage=clientAuth\nsubjectAltName=IP:127.0.0.1'
cert sha1 ca "$HERE" '' '-days 5 -sha1'
dated expired 20200101000000Z 20210101000000Z
dated future 20900101000000Z 20910101000000Z
KIND='-newkey rsa:1024'
cert weak ca "$HERE"
KIND='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1'
openssl req -x509 $KIND -nodes -keyout self.key -out self.crt -days 5 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2>/dev/null
cert server ca "$HERE"
cert admin ca extendedKeyUsage=clientAuth
openssl req $KIND -nodes -keyout admin.key -out admin.csr -subj /O=system:masters/CN=admin 2>/dev/null
openssl x509 -req -in admin.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out admin.crt -extfile <(echo extendedKeyUsage=clientAuth) -days 5 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out sa.key
# What the log must say of each.
reason() {
    case $1 in
    forged) echo 'certificate signature failure|unable to get local issuer certificate|unable to verify|self-signed certificate in certificate chain' ;;
    self) echo 'self-signed certificate' ;;
    other) echo 'IP address mismatch|hostname mismatch' ;;
    client) echo 'unsuitable certificate purpose|unsupported certificate purpose' ;;
    expired) echo 'certificate has expired' ;;
    future) echo 'certificate is not yet valid' ;;
    weak) echo 'EE certificate key too weak' ;;
    sha1) echo 'CA signature digest algorithm too weak|CA md too weak' ;;
    esac
}
WRONG="forged self other client expired future weak sha1"
port_of() { local i=20001 kind; for kind in $WRONG right elsewhere; do [ "$kind" = "$1" ] && echo $i; i=$((i + 1)); done; }
# shellcheck disable=SC2046
start impostor.out python3 "$LIB/tls-impostor.py" impostor.log "127.0.0.1:$(port_of elsewhere)" $(for kind in $WRONG right; do echo "$(port_of $kind)=$kind"; done) "$(port_of elsewhere)=right"
eventually 5 sh -c "ss -Hltn 'sport = :$(port_of elsewhere)' | grep -q ."

CANARY=canary-of-the-client
kubeconfig() { # FILE URL
    printf 'apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: "%s", certificate-authority: "%s/ca.crt"}}]\nusers: [{name: u, user: {token: %s}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n' "$2" "$TMP" "$CANARY" >"$1"
}
step "all clients of an API server, and an API server that asks others, against each"
P=30000
for kind in $WRONG right; do
    port=$(port_of "$kind")
    kubeconfig "$kind.conf" "https://127.0.0.1:$port"
    mkdir "$kind.d"
    # Towards the API server.
    start "$kind.kubelet" "$BIN/kubelet" --flag-defaults=secure --kubeconfig="$kind.conf" --root-dir="$TMP/$kind.d/kubelet" --cert-dir="$TMP/$kind.d/pki" --hostname-override=node-1 \
        --node-ip=127.0.0.1 --port=0 --healthz-port=0 --authorization-mode=AlwaysAllow --fail-swap-on=false --cgroups-per-qos=false --container-runtime-endpoint="unix://$TMP/none.sock"
    start "$kind.kube-proxy" "$BIN/kube-proxy" --flag-defaults=secure --kubeconfig="$kind.conf" --hostname-override=node-1 --healthz-bind-address= --metrics-bind-address=
    start "$kind.kube-scheduler" "$BIN/kube-scheduler" --flag-defaults=secure --kubeconfig="$kind.conf" --leader-elect=false --secure-port=0
    start "$kind.kube-controller-manager" "$BIN/kube-controller-manager" --flag-defaults=secure --kubeconfig="$kind.conf" --leader-elect=true --secure-port=0
    start "$kind.tunnel" "$BIN/coracle" tunnel --flag-defaults=secure --kubeconfig="$kind.conf" --socket="$TMP/$kind.d/sock" --ssh-user=root --ssh-keyfile="$TMP/$kind.d/sshkey"
    # From the API server: OpenID issuer, both webhooks, a kubelet.
    P=$((P + 1))
    eval "API_$kind=$P"
    start "$kind.apiserver" "$BIN/kube-apiserver" --flag-defaults=secure --store=memory --bind-address=127.0.0.1 --secure-port=$P --tls-cert-file=server.crt --tls-private-key-file=server.key \
        --data-dir="$TMP/$kind.d/data" --volatile-dir="$TMP/$kind.d/volatile" --cert-dir="$TMP/$kind.d/cert" --client-ca-file=ca.crt --service-account-signing-key-file=sa.key --service-account-key-file=sa.key \
        --authorization-mode=RBAC,Webhook --kubelet-certificate-authority=ca.crt --kubelet-client-certificate=admin.crt --kubelet-client-key=admin.key \
        --oidc-issuer-url="https://127.0.0.1:$port" --oidc-client-id=c --oidc-ca-file=ca.crt --authentication-token-webhook-config-file="$kind.conf" --authentication-token-webhook-cache-ttl=0s \
        --authorization-webhook-config-file="$kind.conf"
    # To etcd.
    P=$((P + 1))
    start "$kind.etcd" "$BIN/kube-apiserver" --flag-defaults=secure --bind-address=127.0.0.1 --secure-port=$P --tls-cert-file=server.crt --tls-private-key-file=server.key \
        --data-dir="$TMP/$kind.d/data2" --volatile-dir="$TMP/$kind.d/volatile2" --cert-dir="$TMP/$kind.d/cert2" --client-ca-file=ca.crt --service-account-signing-key-file=sa.key --service-account-key-file=sa.key \
        --etcd-servers="https://127.0.0.1:$port" --etcd-cafile=ca.crt --etcd-certfile=admin.crt --etcd-keyfile=admin.key
done
api() { local kind=$1; shift; local port; eval "port=\$API_$kind"; curl -s --max-time 12 --cacert ca.crt "$@" "https://127.0.0.1:$port$TARGET"; }
admin() { local kind=$1; shift; api "$kind" --cert admin.crt --key admin.key "$@"; }
for kind in $WRONG right; do
    TARGET=/readyz eventually 20 admin "$kind" -f
    TARGET=/api/v1/nodes admin "$kind" -H 'Content-Type: application/json' -d '{"metadata":{"name":"node-1"}}' -o out
    TARGET=/api/v1/nodes/node-1/status admin "$kind" -o out -X PATCH -H 'Content-Type: application/merge-patch+json' \
        -d "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"127.0.0.1\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":$(port_of "$kind")}}}}"
done

step "by hand too they confine themselves: --flag-defaults=secure means --sandbox"
confined() { # PID
    grep -q '^NoNewPrivs:.1$' "/proc/$1/status" && grep -q '^Seccomp:.2$' "/proc/$1/status" && grep -qE '^CapEff:.0000000000000(0|4|1)00$|^CapEff:.0000000000001000$' "/proc/$1/status"
}
n=0
for pid in $PIDS; do
    case $(tr '\0' ' ' <"/proc/$pid/cmdline") in
    */kubelet* | *python3*) continue ;; # the kubelet's core is root; what serves its port is confined, and tested with it
    esac
    cp "/proc/$pid/status" out
    check confined "$pid"
    n=$((n + 1))
done
check test "$n" = 54
mkdir "$TMP.elsewhere" && cp ca.crt "$TMP.elsewhere/"
sed "s|$TMP/ca.crt|$TMP.elsewhere/ca.crt|" right.conf >elsewhere.conf
scheduler() { timeout 3 "$BIN/kube-scheduler" --kubeconfig=elsewhere.conf --leader-elect=false --secure-port=0 "$@" >scheduler.out 2>&1; cat scheduler.out; }
if ! grep -q 'has no Landlock' right.kube-scheduler; then
    check_out 'Permission denied' scheduler --sandbox
    scheduler --sandbox --sandbox-paths="$TMP.elsewhere" >out
    refute grep 'Permission denied' out
    scheduler >out
    refute grep 'Permission denied' out
fi
rm -rf "$TMP.elsewhere"

step "from the API server: a kubelet, the issuer of tokens, the webhooks"
JWT=$(printf '{"alg":"RS256","kid":"k"}' | base64 -w 0 | tr -d = | tr '/+' '_-')
for kind in $WRONG right; do
    # At once: each may wait for its answer.
    {
        claims=$(printf '{"iss":"https://127.0.0.1:%s","aud":"c","sub":"%s","exp":4000000000}' "$(port_of "$kind")" "$CANARY" | base64 -w 0 | tr -d = | tr '/+' '_-')
        TARGET=/version api "$kind" -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $JWT.$claims.c2lnbmF0dXJl" >"$kind.1"
        TARGET=/version api "$kind" -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $CANARY-webhook" >"$kind.2"
        TARGET=/api/v1/secrets api "$kind" -o /dev/null -w '%{http_code}' >"$kind.3"
        TARGET=/api/v1/nodes/node-1/proxy/pods admin "$kind" >"$kind.4"
    } &
    waits="${waits:-} $!"
done
# shellcheck disable=SC2086
wait $waits
for kind in $WRONG right; do
    check_out 401 cat "$kind.1"
    check_out 401 cat "$kind.2"
    check_out 500 cat "$kind.3" # no webhook, no verdict: upstream's answer, too
    cp "$kind.4" out
    [ $kind = right ] || check grep -qE "certificate is refused.*($(reason $kind))" "$kind.4"
done

step "every log says what was wrong with the certificate"
for kind in $WRONG; do
    for component in kubelet kube-proxy kube-scheduler kube-controller-manager tunnel etcd; do
        eventually 10 grep -qE "certificate is refused.*($(reason $kind))" "$kind.$component"
    done
    for what in 'oidc|OpenID|issuer' 'webhook|TokenReview|token' 'SubjectAccessReview|authori'; do
        eventually 10 grep -qiE "($what).*certificate is refused.*($(reason $kind))" "$kind.apiserver"
    done
done

step "nobody said a word to the wrong one"
for kind in $WRONG; do
    check grep -q "^$(port_of $kind) refused" impostor.log
    refute grep "^$(port_of $kind) GOT" impostor.log
done

step "the right one was spoken to, and its redirects were not followed"
for word in "$CANARY" "/.well-known/openid-configuration" "$CANARY-webhook" "POST" "/pods HTTP"; do eventually 10 grep -qF -- "$word" <(grep "^$(port_of right) GOT" impostor.log); done
check test "$(grep -c "^$(port_of right) GOT" impostor.log)" -ge 8
refute grep "^$(port_of elsewhere) " impostor.log

step "the secrets that were to be sent are in no log"
refute grep -lF "$CANARY" ./*.kubelet ./*.kube-proxy ./*.kube-scheduler ./*.kube-controller-manager ./*.tunnel ./*.apiserver ./*.etcd
