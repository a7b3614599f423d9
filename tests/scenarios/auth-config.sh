# Two files in place of flags, --authentication-config and --authorization-config: what they say, that a change counts, and that a mistake
# changes nothing. An issuer and two webhooks are real peers.
# limit: 90 s
. "$(dirname "$0")/../lib/alone.sh"
need_program kube-apiserver
PEERS=$LIB/auth-peers.py
ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.crt" -days 10 -subj "/CN=$1" 2>/dev/null; }
cert() { # cert NAME CA SUBJECT [EXTENSIONS]
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "$3" 2>/dev/null
    printf '%b\n' "${4:-extendedKeyUsage=clientAuth}" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -out "$1.crt" -extfile "$1.ext" -days 5 2>/dev/null
}
ca client-ca
ca server-ca
cert server server-ca /CN=localhost 'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1'
cert admin client-ca /O=system:masters/CN=admin
openssl genrsa -out rsa1.pem 2048 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out sa.pem
PORT=$(free_port) PEER=$(free_port) PORT2=$(free_port) DEAD=$(free_port)
ISSUER=https://localhost:$PEER
printf '{"issuer":"%s","jwks_uri":"%s/jwks"}' "$ISSUER" "$ISSUER" >discovery.json
"$PEERS" jwks rsa1.pem=one >jwks.json
"$PEERS" serve "$TMP" "$PEER" &
PIDS="$PIDS $!"
hook() { # hook NAME SERVER
    printf 'apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: "%s", certificate-authority: "%s/server-ca.crt"}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n' \
        "$2" "$TMP" >"$1"
}
hook access.kubeconfig "$ISSUER/access"
hook dead.kubeconfig "https://localhost:$DEAD/access"
authn() { # authn PREFIX PATHS AUDIENCES
    cat <<END
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous: {enabled: true, conditions: [$2]}
jwt:
- issuer:
    url: $ISSUER
    audiences: [$3]
    audienceMatchPolicy: MatchAny
    certificateAuthority: |
$(sed 's/^/      /' server-ca.crt)
  claimMappings:
    username: {claim: email, prefix: "$1"}
    groups: {claim: groups, prefix: ""}
    uid: {claim: sub}
  claimValidationRules:
  - {claim: hd, requiredValue: example.com}
END
}
webhook() { # webhook NAME FILE POLICY
    printf -- '- {type: Webhook, name: %s, webhook: {timeout: 3s, subjectAccessReviewVersion: v1beta1, failurePolicy: %s, cacheUnauthorizedRequests: false, connectionInfo: {type: KubeConfigFile, kubeConfigFile: %s/%s}}}\n' \
        "$1" "$3" "$TMP" "$2"
}
authz() { printf 'apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {type: Node, name: node}\n- {type: RBAC, name: rbac}\n'; }
authn file: '{path: /livez}' 'other, coracle' >authn.yaml
{ authz; webhook first dead.kubeconfig NoOpinion; webhook second access.kubeconfig NoOpinion; } >authz.yaml
common() {
    echo --store=memory --insecure-port=0 --bind-address=127.0.0.1 --tls-cert-file=server.crt --tls-private-key-file=server.key --client-ca-file=client-ca.crt \
        --service-account-signing-key-file=sa.pem --service-cluster-ip-range=10.96.0.0/16
}
# shellcheck disable=SC2046
"$BIN/kube-apiserver" $(common) --secure-port="$PORT" --authentication-config="$TMP/authn.yaml" --authorization-config="$TMP/authz.yaml" >apiserver.log 2>&1 &
PIDS="$PIDS $!"
URL=https://127.0.0.1:$PORT
get() { curl -s --max-time 10 --cacert server-ca.crt "$@"; }
is() { local want=$1; shift; if [ "$("$@" 2>&1 | tee "$TMP/out")" = "$want" ]; then _passed; else _failed "\"$want\" was expected from: $(printf '%.150s' "$*")"; return 1; fi; }
code() { get -o answer -w '%{http_code}' "$@"; }
ready() { [ "$(code --cert admin.crt --key admin.key "$URL/readyz")" = 200 ]; }
forge() { "$PEERS" sign rsa1.pem RS256 one "$1"; }
id() { jq -nc --arg iss "$ISSUER" "{iss:\$iss,aud:\"coracle\",sub:\"77\",exp:(now+3600|floor),email:\"eve@example.com\",hd:\"example.com\",groups:[\"hooks\"]} | ${1:-.}"; }
who() {
    get -X POST -H 'Content-Type: application/json' -H "Authorization: Bearer $1" -d '{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}' \
        "$URL/apis/authentication.k8s.io/v1/selfsubjectreviews" |
        jq -r 'if (.status | type) == "object" then .status.userInfo | "\(.username) uid=\(.uid // "") groups=\(.groups | join(","))" else .code end'
}
eventually 20 ready

step "an issuer of the file"
GOOD=$(forge "$(id)")
known() { [ "$(who "$GOOD")" = 'file:eve@example.com uid=77 groups=hooks,system:authenticated' ]; }
eventually 10 known
is 'file:eve@example.com uid=77 groups=hooks,system:authenticated' who "$(forge "$(id '.aud=["x","other"]')")"
is 401 who "$(forge "$(id '.aud="third"')")"
is 401 who "$(forge "$(id '.hd="evil.com"')")"
is 401 who "$(forge "$(id 'del(.sub)')")"
is 200 code "$URL/livez"
is 401 code "$URL/version"

step "authorizers of the file: a webhook that is away has no opinion, the next one is asked"
configmaps() { code -H "Authorization: Bearer $GOOD" "$URL/api/v1/namespaces/default/configmaps"; }
secrets() { code -H "Authorization: Bearer $GOOD" "$URL/api/v1/namespaces/default/secrets"; }
is 403 secrets
check grep -q 'nobody reads secrets' answer
check grep -q 'POST /access' requests

step "changes count, mistakes do not"
{ authz; webhook first dead.kubeconfig Deny; webhook second access.kubeconfig NoOpinion; } >new.yaml && mv new.yaml authz.yaml
authn new: '{path: /version}' coracle >new.yaml && mv new.yaml authn.yaml
renamed() { [ "$(who "$GOOD")" = 'new:eve@example.com uid=77 groups=hooks,system:authenticated' ]; }
eventually 12 renamed
is 200 code "$URL/version"
is 401 code "$URL/livez"
is 401 who "$(forge "$(id '.aud=["x","other"]')")"
denied() { n=$(grep -c 'POST /access' requests); [ "$(secrets)" = 403 ] && [ "$(grep -c 'POST /access' requests)" = "$n" ]; }
eventually 12 denied # the first one denies now: the second is not asked
echo 'kind: AuthenticationConfiguration' >authn.yaml
eventually 12 grep -q 'authentication-config: apiVersion and kind must be' apiserver.log
check renamed

step "what is wrong, or needs expressions, is told with its field"
wrong() { # wrong TEXT FLAG FILE [FLAGS]
    local text=$1 flag=$2 file=$3
    shift 3
    # shellcheck disable=SC2046
    timeout 10 "$BIN/kube-apiserver" $(common) --secure-port="$PORT2" "--$flag=$file" "$@" >out 2>&1
    if grep -qF -- "$text" out; then _passed; else _failed "\"$text\" was expected from $flag"; fi
}
authn x: '{path: /livez}' a >good.yaml
with() { sed "$1" good.yaml >bad.yaml; }
with 's/{claim: email, prefix: "x:"}/{expression: claims.email}/'
wrong 'jwt[0].claimMappings.username.expression: expressions (CEL)' authentication-config bad.yaml
with 's/{claim: hd, requiredValue: example.com}/{expression: "claims.hd == 1"}/'
wrong 'jwt[0].claimValidationRules[0].expression: expressions (CEL)' authentication-config bad.yaml
with 's/, prefix: "x:"//'
wrong 'jwt[0].claimMappings.username.prefix: Required value' authentication-config bad.yaml
with 's/audiences: \[a\]/audiences: []/'
wrong 'jwt[0].issuer.audiences: Required value' authentication-config bad.yaml
with 's/url: .*/url: http:\/\/x/'
wrong 'URL scheme must be https' authentication-config bad.yaml
with 's/audiences:/audience:/'
wrong 'unknown field "audience"' authentication-config bad.yaml
wrong 'flag cannot be set when anonymous field is configured' authentication-config good.yaml --anonymous-auth=false
wrong 'mutually exclusive' authentication-config good.yaml --oidc-issuer-url=https://x --oidc-client-id=x
{ authz; webhook a dead.kubeconfig Deny | sed 's/timeout: 3s/timeout: 3s, matchConditions: [{expression: "true"}]/'; } >bad.yaml
wrong 'authorizers[2].webhook.matchConditions: expressions (CEL)' authorization-config bad.yaml
{ authz; webhook rbac dead.kubeconfig Deny; } >bad.yaml
wrong 'authorizers[2].name: Duplicate value: "rbac"' authorization-config bad.yaml
{ authz; webhook a dead.kubeconfig Maybe; } >bad.yaml
wrong 'failurePolicy: Unsupported value: "Maybe"' authorization-config bad.yaml
wrong 'can not be specified when --authorization-mode' authorization-config authz.yaml --authorization-mode=RBAC

step "it ends cleanly"
kill $PIDS 2>/dev/null
for pid in $PIDS; do wait "$pid"; status=$?; [ $status = 0 ] || [ $status = 143 ] && _passed || _failed "process $pid ended with $status"; done
refute grep -A 30 Sanitizer apiserver.log
