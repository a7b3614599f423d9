# Who is it, and may they: every way to authenticate and every mode of authorisation, at a bare kube-apiserver, by real peers and clients.
# limit: 120 s
. "$(dirname "$0")/../lib/alone.sh"
. "$LIB/certs.sh"
need_program kube-apiserver
PEERS=$LIB/auth-peers.py

# ---- certificates ----
ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.crt" -days 10 -subj "/CN=$1" 2>/dev/null; }
# cert NAME CA SUBJECT [EXTENSIONS [x509 options]]
cert() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "$3" 2>/dev/null
    printf '%b\n' "${4:-extendedKeyUsage=clientAuth}" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -out "$1.crt" -extfile "$1.ext" ${5:--days 5} 2>/dev/null
}
# dated NAME CA SUBJECT FROM TO: with dates of one's own.
dated() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "$3" 2>/dev/null
    echo extendedKeyUsage=clientAuth >"$1.ext"
    sign_dated "$1.csr" "$2" "$1.ext" "$4" "$5" "$1.crt"
}
ca client-ca
ca proxy-ca
ca other-ca
ca server-ca
cert server server-ca /CN=localhost 'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1'
cert admin client-ca /O=system:masters/CN=admin
cert alice client-ca /O=devs/CN=alice
cert nobody client-ca /O=devs
cert wrong-use client-ca /CN=alice extendedKeyUsage=serverAuth
cert stranger other-ca /O=system:masters/CN=alice
cert proxy proxy-ca /CN=front-proxy
cert proxy-other proxy-ca /CN=somebody
dated expired client-ca /CN=alice 20200101000000Z 20210101000000Z
dated future client-ca /CN=alice 20900101000000Z 20910101000000Z

# ---- keys, files, peers ----
openssl genrsa -out rsa1.pem 2048 2>/dev/null
openssl genrsa -out rsa2.pem 2048 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out ec1.pem
openssl ecparam -name secp384r1 -genkey -noout -out ec384.pem
openssl ecparam -name prime256v1 -genkey -noout -out sa-new.pem
openssl genrsa -out sa-old.pem 2048 2>/dev/null
openssl rsa -in sa-old.pem -pubout -out sa-old.pub 2>/dev/null
openssl pkey -in sa-new.pem -pubout -out sa-new.pub
openssl pkey -in rsa1.pem -pubout -out rsa1.pub
echo 'file-token-1,carol,c1,"devs,ops"' >tokens.csv
PORT=$(free_port) PEER=$(free_port) PORT2=$(free_port)
ISSUER=https://localhost:$PEER
printf '{"issuer":"%s","jwks_uri":"%s/jwks"}' "$ISSUER" "$ISSUER" >discovery.json
"$PEERS" jwks rsa1.pem=one ec1.pem=e1 >jwks.json
"$PEERS" serve "$TMP" "$PEER" &
PIDS="$PIDS $!"
# hook NAME PATH: a kubeconfig of a webhook.
hook() {
    printf 'apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: "%s%s", certificate-authority: "%s/server-ca.crt"}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n' \
        "$ISSUER" "$2" "$TMP" >"$1"
}
hook tokenreview.kubeconfig /tokenreview
hook access.kubeconfig /access
cat >policy.jsonl <<'END'
# who may do what
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"carol","namespace":"*","resource":"pods","apiGroup":"*","readonly":true}}
{"group":"devs","resource":"services","readonly":true}
END
common() {
    echo --store=memory --insecure-port=0 --bind-address=127.0.0.1 --tls-cert-file=server.crt --tls-private-key-file=server.key --client-ca-file=client-ca.crt \
        --service-account-signing-key-file=sa-new.pem --service-account-key-file=sa-new.pub --service-cluster-ip-range=10.96.0.0/16
}
# shellcheck disable=SC2046
"$BIN/kube-apiserver" $(common) --secure-port="$PORT" --token-auth-file=tokens.csv --enable-bootstrap-token-auth \
    --service-account-key-file=sa-old.pub --service-account-issuer=https://new.example --service-account-issuer=https://old.example \
    --api-audiences=https://new.example,api --oidc-issuer-url="$ISSUER" --oidc-client-id=coracle --oidc-ca-file=server-ca.crt \
    --oidc-username-claim=email --oidc-username-prefix=oidc: --oidc-groups-claim=groups --oidc-groups-prefix=oidc: \
    --oidc-required-claim=hd=example.com --oidc-signing-algs=RS256,ES256,PS256,RS512,ES384 \
    --authentication-token-webhook-config-file=tokenreview.kubeconfig --authentication-token-webhook-version=v1 \
    --authentication-token-webhook-cache-ttl=1s --requestheader-client-ca-file=proxy-ca.crt --requestheader-allowed-names=front-proxy \
    --requestheader-username-headers=X-Remote-User --requestheader-uid-headers=X-Remote-Uid --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- --authorization-mode=Node,RBAC,ABAC,Webhook --authorization-policy-file=policy.jsonl \
    --authorization-webhook-config-file=access.kubeconfig --authorization-webhook-version=v1beta1 >apiserver.log 2>&1 &
PIDS="$PIDS $!"
URL=https://127.0.0.1:$PORT
get() { curl -s --max-time 10 --cacert server-ca.crt "$@"; }
with() { local c=$1; shift; get --cert "$c.crt" --key "$c.key" "$@"; }
SELF=/apis/authentication.k8s.io/v1/selfsubjectreviews
# who CURL-OPTIONS: name, uid and groups that the server sees, or the code of its refusal.
who() {
    get -X POST -H 'Content-Type: application/json' -d '{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}' "$@" "$URL$SELF" |
        jq -r 'if (.status | type) == "object" then .status.userInfo | "\(.username) uid=\(.uid // "") groups=\(.groups | join(",")) extra=\(.extra // {} | del(."authentication.kubernetes.io/credential-id") | tojson)" else .code end'
}
by_cert() { local c=$1; shift; who --cert "$c.crt" --key "$c.key" "$@"; }
by_token() { local t=$1; shift; who -H "Authorization: Bearer $t" "$@"; }
is() { local want=$1; shift; if [ "$("$@" 2>&1 | tee "$TMP/out")" = "$want" ]; then _passed; else _failed "\"$want\" was expected from: $(printf '%.150s' "$*")"; fi; }
# code WANT CURL-OPTIONS
code() { local want=$1; shift; is "$want" get -o answer -w '%{http_code}' "$@"; }
as_admin() { with admin "$@"; }
post() { as_admin -f -X POST -H 'Content-Type: application/json' -d "$2" -o answer "$URL$1"; }
step "a bare kube-apiserver with every authenticator and four modes is ready"
eventually 20 as_admin -f -o answer "$URL/readyz"

step "client certificates"
is 'alice uid= groups=devs,system:authenticated extra={}' by_cert alice
is 'admin uid= groups=system:masters,system:authenticated extra={}' by_cert admin
for bad in expired future wrong-use stranger; do is 401 by_cert "$bad"; done
is 401 by_cert proxy # of the front proxies' CA, which speaks for nobody by itself
is 403 by_cert nobody # without a common name one is anonymous, who may not ask
code 403 "$URL/api/v1/pods"
code 200 "$URL/version"
check grep -q 'certificate has expired' apiserver.log
check grep -q 'certificate signed by unknown authority' apiserver.log

step "static tokens; a bad one is never anonymous"
is 'carol uid=c1 groups=devs,ops,system:authenticated extra={}' by_token file-token-1
is 401 by_token file-token-2
code 401 -H 'Authorization: Bearer nonsense' "$URL/version"

step "front proxies are believed by their certificate alone, and only the allowed ones"
is 'dora uid=d1 groups=a,b,system:authenticated extra={"acme.com/project":["x","y"]}' by_cert proxy -H 'X-Remote-User: dora' -H 'X-Remote-Uid: d1' \
    -H 'X-Remote-Group: a' -H 'X-Remote-Group: b' -H 'X-Remote-Extra-Acme.com%2fproject: x' -H 'X-Remote-Extra-Acme.com%2Fproject: y'
is 'alice uid= groups=devs,system:authenticated extra={}' by_cert alice -H 'X-Remote-User: dora' -H 'X-Remote-Group: system:masters'
is 403 who -H 'X-Remote-User: admin' -H 'X-Remote-Group: system:masters'
is 401 by_cert proxy-other -H 'X-Remote-User: dora'
is 'carol uid=c1 groups=devs,ops,system:authenticated extra={}' by_token file-token-1 -H 'X-Remote-User: dora'
check_out front-proxy as_admin "$URL/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
check jq -e '.data | (."client-ca-file" | contains("BEGIN CERTIFICATE")) and (."requestheader-client-ca-file" | contains("BEGIN CERTIFICATE")) and ."requestheader-username-headers" == "[\"X-Remote-User\"]" and ."requestheader-allowed-names" == "[\"front-proxy\"]"' out

step "bootstrap tokens"
# bootstrap ID SECRET DATA...
bootstrap() {
    local id=$1 secret=$2
    shift 2
    jq -n --arg id "$id" --arg s "$secret" --argjson more "$*" '{kind:"Secret",apiVersion:"v1",metadata:{name:("bootstrap-token-"+$id)},
        type:"bootstrap.kubernetes.io/token",stringData:({"token-id":$id,"token-secret":$s}+$more)}' >secret.json
    post /api/v1/namespaces/kube-system/secrets @secret.json
}
ON='"usage-bootstrap-authentication":"true"'
check bootstrap aaaaaa 0123456789abcdef "{$ON,\"auth-extra-groups\":\"system:bootstrappers:lab\",\"expiration\":\"2099-01-01T00:00:00Z\"}"
check bootstrap bbbbbb 0123456789abcdef "{$ON,\"expiration\":\"2020-01-01T00:00:00Z\"}"
check bootstrap cccccc 0123456789abcdef '{"usage-bootstrap-signing":"true"}'
check bootstrap dddddd 0123456789abcdef "{$ON,\"auth-extra-groups\":\"system:masters\"}"
check bootstrap eeeeee 0123456789abcdef "{$ON,\"expiration\":\"soon\"}"
is 'system:bootstrap:aaaaaa uid= groups=system:bootstrappers,system:bootstrappers:lab,system:authenticated extra={}' by_token aaaaaa.0123456789abcdef
for id in aaaaaa.0123456789abcdee bbbbbb.0123456789abcdef cccccc.0123456789abcdef dddddd.0123456789abcdef eeeeee.0123456789abcdef ffffff.0123456789abcdef; do
    is 401 by_token "$id"
done

step "service-account tokens: several keys and issuers, audiences, forgeries"
check post /api/v1/namespaces/default/serviceaccounts '{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"web"}}'
UID_=$(as_admin "$URL/api/v1/namespaces/default/serviceaccounts/web" | jq -r .metadata.uid)
# request SPEC: a token by TokenRequest.
request() { as_admin -X POST -H 'Content-Type: application/json' -d "{\"kind\":\"TokenRequest\",\"apiVersion\":\"authentication.k8s.io/v1\",\"spec\":$1}" "$URL/api/v1/namespaces/default/serviceaccounts/web/token" | jq -r '.status.token // .message'; }
WEB="system:serviceaccount:default:web uid=$UID_ groups=system:serviceaccounts,system:serviceaccounts:default,system:authenticated extra={}"
TOKEN=$(request '{}')
is "$WEB" by_token "$TOKEN"
is "$WEB" by_token "$(request '{"audiences":["other","api"]}')"
is 401 by_token "$(request '{"audiences":["vault"]}')"
is 401 by_token "${TOKEN%????????}AAAAAAAA"
now=$(date +%s)
# claims ISSUER AUDIENCE EXP [SUBJECT]
claims() {
    printf '{"iss":"%s","aud":["%s"],"exp":%d,"iat":%d,"nbf":%d,"sub":"%s","kubernetes.io":{"namespace":"default","serviceaccount":{"name":"web","uid":"%s"}}}' \
        "$1" "$2" "$3" "$now" "$now" "${4:-system:serviceaccount:default:web}" "$UID_"
}
forge() { "$PEERS" sign "$@"; }
is "$WEB" by_token "$(forge sa-old.pem RS256 '' "$(claims https://old.example api $((now + 600)))")"
is 401 by_token "$(forge rsa1.pem RS256 '' "$(claims https://old.example api $((now + 600)))")"           # another key
is 401 by_token "$(forge sa-old.pem RS256 '' "$(claims https://evil.example api $((now + 600)))")"        # another issuer
is 401 by_token "$(forge sa-old.pem RS256 '' "$(claims https://old.example api $((now - 600)))")"         # over
is 401 by_token "$(forge sa-old.pem RS256 '' "$(claims https://old.example api $((now + 600)) admin)")"   # another subject
is 401 by_token "$(forge sa-old.pub HS256 '' "$(claims https://old.example api $((now + 600)))")"         # the public key as a secret
is 401 by_token "$(forge sa-old.pem none '' "$(claims https://old.example api $((now + 600)))")x"
is 401 by_token "$(forge sa-old.pem ES256 '' "$(claims https://old.example api $((now + 600)))" 2>/dev/null || echo a.b.c)"
check post /api/v1/namespaces/default/secrets '{"kind":"Secret","apiVersion":"v1","metadata":{"name":"web-token","annotations":{"kubernetes.io/service-account.name":"web"}},"type":"kubernetes.io/service-account-token"}'
LEGACY=$(forge sa-old.pem RS256 '' "{\"iss\":\"kubernetes/serviceaccount\",\"kubernetes.io/serviceaccount/namespace\":\"default\",\"kubernetes.io/serviceaccount/secret.name\":\"web-token\",\"kubernetes.io/serviceaccount/service-account.name\":\"web\",\"kubernetes.io/serviceaccount/service-account.uid\":\"$UID_\",\"sub\":\"system:serviceaccount:default:web\"}")
is 401 by_token "$LEGACY" # the Secret does not hold it
patch() { as_admin -f -X PATCH -H 'Content-Type: application/merge-patch+json' -d "$2" -o answer "$URL$1"; }
check patch /api/v1/namespaces/default/secrets/web-token "{\"stringData\":{\"token\":\"$LEGACY\"}}"
is "$WEB" by_token "$LEGACY"
last_used() { as_admin "$URL/api/v1/namespaces/default/secrets/web-token" | jq -r '.metadata.labels."kubernetes.io/legacy-token-last-used"' | grep -x "$(date -u +%F)"; }
eventually 5 last_used
check post /api/v1/namespaces/default/serviceaccounts '{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"gone"}}'
GONE=$(as_admin -X POST -H 'Content-Type: application/json' -d '{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1"}' "$URL/api/v1/namespaces/default/serviceaccounts/gone/token" | jq -r .status.token)
check as_admin -f -X DELETE -o answer "$URL/api/v1/namespaces/default/serviceaccounts/gone"
is 401 by_token "$GONE"
check_out '"issuer":"https://new.example"' as_admin "$URL/.well-known/openid-configuration"
check_out '"kty":"RSA"' as_admin "$URL/openid/v1/jwks"
check_out '"crv":"P-256"' as_admin "$URL/openid/v1/jwks"

step "keys and tokens are read again when their files change"
cat sa-old.pub rsa1.pub >new.pub && mv new.pub sa-old.pub
echo 'file-token-3,zoe,z1' >>tokens.csv
read_again() { [ "$(by_token file-token-3)" = 'zoe uid=z1 groups=system:authenticated extra={}' ] && [ "$(by_token "$(forge rsa1.pem RS256 '' "$(claims https://old.example api $((now + 601)))")")" = "$WEB" ]; }
eventually 15 read_again

step "OpenID Connect: names, groups, algorithms, rotation, forgeries"
# id [JQ]: claims of an ID token, changed by the filter.
id() { jq -cn --arg i "$ISSUER" --argjson now "$now" "{iss:\$i,aud:\"coracle\",exp:(\$now+600),sub:\"1\",email:\"eve@example.com\",email_verified:true,groups:[\"ops\"],hd:\"example.com\"}${1:+ | $1}"; }
EVE='oidc:eve@example.com uid= groups=oidc:ops,system:authenticated extra={}'
is "$EVE" by_token "$(forge rsa1.pem RS256 one "$(id)")"
is "$EVE" by_token "$(forge rsa1.pem RS256 '' "$(id .)")"
is "$EVE" by_token "$(forge rsa1.pem PS256 one "$(id)")"
is "$EVE" by_token "$(forge rsa1.pem RS512 one "$(id)")"
is "$EVE" by_token "$(forge ec1.pem ES256 e1 "$(id '.groups="ops"')")"
is 401 by_token "$(forge rsa1.pem RS384 one "$(id)")" # not among the algorithms
for change in '.aud="other"' '.iss="https://evil.example"' '.exp=1' 'del(.exp)' '.nbf=($now+3600)' '.hd="evil.com"' 'del(.hd)' '.email_verified=false' \
    'del(.email)' '.email=7' '.groups={}' 'del(.groups)|._claim_names={"groups":"x"}'; do
    is 401 by_token "$(forge rsa1.pem RS256 one "$(id "$change")")"
done
is 401 by_token "$(forge rsa2.pem RS256 one "$(id)")"   # another key under a known name
is 401 by_token "$(forge rsa1.pub HS256 one "$(id)")"   # the public key as a secret
is 401 by_token "$(forge rsa1.pem none one "$(id)")"
is 401 by_token "$(forge rsa1.pem none one "$(id)")AAAA"
is 401 by_token "$(forge ec384.pem ES384 one "$(id)")"  # another kind of key
before=$(grep -c 'GET /jwks' requests)
for i in 1 2 3 4 5 6 7 8; do is 401 by_token "$(forge rsa2.pem RS256 "new-$i" "$(id)")"; done
check test $(($(grep -c 'GET /jwks' requests) - before)) -le 6 # strangers' tokens do not hammer the issuer
"$PEERS" jwks rsa2.pem=two ec384.pem=e384 >jwks.json
rotated() { [ "$(by_token "$(forge rsa2.pem RS256 two "$(id)")")" = "$EVE" ]; }
eventually 15 rotated
is "$EVE" by_token "$(forge ec384.pem ES384 e384 "$(id)")"
is 401 by_token "$(forge rsa1.pem RS256 one "$(id '.jti="again"')")" # the old key is no longer shown

step "webhook TokenReview"
is 'hooky uid=h1 groups=hooks,system:authenticated extra={"scope":["a","b"]}' by_token hook-good
check grep -q '"apiVersion":"authentication.k8s.io/v1".*"audiences":\["https://new.example","api"\]' requests
is 401 by_token hook-audience
is 401 by_token hook-error
check grep -q 'the directory is on fire' apiserver.log
is 401 by_token hook-parrot-secret # it repeats the token in its reason, which the log leaves out

for i in 1 2 3 4; do get --max-time 0.3 -H 'Authorization: Bearer hook-slow' -o answer "$URL/version" & done # who asks may go away meanwhile
refute get --max-time 0.5 -H 'Authorization: Bearer hook-slow' -o answer "$URL/version"
is 'late uid= groups=system:authenticated extra={}' by_token hook-slow

step "TokenReview and its audiences"
review() { as_admin -X POST -H 'Content-Type: application/json' -d "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\",\"spec\":$1}" "$URL/apis/authentication.k8s.io/v1/tokenreviews" | jq -c '[.status.authenticated // false, .status.user.username, .status.audiences]'; }
is '[true,"carol",["https://new.example","api"]]' review '{"token":"file-token-1"}'
is '[true,"carol",["api"]]' review '{"token":"file-token-1","audiences":["api","vault"]}'
is '[false,null,null]' review '{"token":"file-token-1","audiences":["vault"]}'
is '[true,"system:serviceaccount:default:web",["vault"]]' review "{\"token\":\"$(request '{"audiences":["vault"]}')\",\"audiences\":[\"vault\"]}"
is '[false,null,null]' review "{\"token\":\"$(request '{"audiences":["vault"]}')\"}"
is '[true,"hooky",["vault"]]' review '{"token":"hook-audience","audiences":["vault"]}'
is '[false,null,null]' review '{"token":"bad"}'

step "modes in their order: RBAC, ABAC, Webhook"
carol() { get -H 'Authorization: Bearer file-token-1' "$@"; }
hooky() { get -H 'Authorization: Bearer hook-good' "$@"; }
may() { local want=$1 who=$2; shift 2; is "$want" $who -o answer -w '%{http_code}' "$@"; }
may 200 carol "$URL/api/v1/pods"                                   # line 2 of the policy file
may 200 carol "$URL/api/v1/namespaces/default/services"            # line 3
may 403 carol -X DELETE "$URL/api/v1/namespaces/default/services/kubernetes" # read only
may 403 carol "$URL/api/v1/nodes"
check_out 'No policy matched.' cat answer
may 200 hooky "$URL/api/v1/namespaces/default/configmaps"          # the webhook says so
may 403 hooky "$URL/api/v1/namespaces/default/secrets"             # and denies
check_out 'nobody reads secrets' cat answer
check grep -q '"apiVersion":"authorization.k8s.io/v1beta1".*"group":\["hooks"' requests
n=$(grep -c 'POST /access' requests)
may 200 hooky "$URL/api/v1/namespaces/default/configmaps"
check test "$(grep -c 'POST /access' requests)" = "$n"             # remembered
touch broken
may 500 carol "$URL/api/v1/endpoints"                              # nobody decides: no
rm broken

step "reviews of access, by kubectl too"
sar() { as_admin -X POST -H 'Content-Type: application/json' -d "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"spec\":$1}" "$URL/apis/authorization.k8s.io/v1/subjectaccessreviews" | jq -c '[.status.allowed, .status.denied // false, .status.reason]'; }
is '[true,false,"ABAC: allowed by line 2 of the policy file"]' sar '{"user":"carol","resourceAttributes":{"verb":"list","resource":"pods"}}'
is '[true,false,"the hook likes hooky"]' sar '{"user":"hooky","groups":["hooks"],"resourceAttributes":{"verb":"get","resource":"configmaps","name":"x"}}'
is '[false,true,"nobody reads secrets"]' sar '{"user":"carol","resourceAttributes":{"verb":"list","resource":"secrets"}}'
is '[true,false,null]' sar '{"user":"x","groups":["system:masters"],"nonResourceAttributes":{"verb":"get","path":"/metrics"}}'
NODE='"user":"system:node:n1","groups":["system:nodes"]'
is '[false,true,"nobody reads secrets"]' sar "{$NODE,\"resourceAttributes\":{\"verb\":\"list\",\"resource\":\"secrets\"}}"
sar_allowed() { sar "$1" | jq '.[0]'; }
is true sar_allowed "{$NODE,\"resourceAttributes\":{\"verb\":\"list\",\"resource\":\"pods\",\"fieldSelector\":{\"requirements\":[{\"key\":\"spec.nodeName\",\"operator\":\"In\",\"values\":[\"n1\"]}]}}}"
is true sar_allowed "{$NODE,\"resourceAttributes\":{\"verb\":\"list\",\"resource\":\"pods\",\"fieldSelector\":{\"rawSelector\":\"spec.nodeName=n1\"}}}"
is false sar_allowed "{$NODE,\"resourceAttributes\":{\"verb\":\"list\",\"resource\":\"pods\",\"fieldSelector\":{\"rawSelector\":\"spec.nodeName=n2\"}}}"
lsar() { as_admin -X POST -H 'Content-Type: application/json' -d "{\"kind\":\"LocalSubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"spec\":{\"user\":\"carol\",\"resourceAttributes\":{\"verb\":\"get\",\"resource\":\"pods\",\"namespace\":\"$1\"}}}" "$URL/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews" | jq -c '.status.allowed? // .code'; }
is true lsar default
is 422 lsar other

step "impersonation: each attribute is a right of its own, forged headers are refused"
as() { by_cert "$@"; }
is 'bob uid= groups=system:authenticated extra={}' as admin -H 'Impersonate-User: bob'
is 'bob uid=7 groups=devs,ops,system:authenticated extra={"scopes":["a","b"],"x/y":["c"]}' as admin -H 'Impersonate-User: bob' -H 'Impersonate-Uid: 7' \
    -H 'Impersonate-Group: devs' -H 'Impersonate-Group: ops' -H 'Impersonate-Extra-Scopes: a' -H 'Impersonate-Extra-scopes: b' -H 'Impersonate-Extra-x%2fy: c'
is 'system:serviceaccount:default:web uid= groups=system:serviceaccounts,system:serviceaccounts:default,system:authenticated extra={}' as admin \
    -H 'Impersonate-User: system:serviceaccount:default:web'
is 403 as admin -H 'Impersonate-User: system:anonymous' # who may not ask who one is
code 200 --cert admin.crt --key admin.key -H 'Impersonate-User: system:anonymous' "$URL/version"
is 403 as alice -H 'Impersonate-User: bob'
is 400 as admin -H 'Impersonate-Group: system:masters'
is 400 as admin -H 'Impersonate-Extra-Scopes: a'
is 400 as admin -H 'Impersonate-User: bob' -H 'Impersonate-User: root'
check post /apis/rbac.authorization.k8s.io/v1/clusterroles '{"kind":"ClusterRole","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"name":"as-bob"},"rules":[{"apiGroups":[""],"resources":["users"],"verbs":["impersonate"],"resourceNames":["bob"]},{"apiGroups":[""],"resources":["groups"],"verbs":["impersonate"],"resourceNames":["devs"]}]}'
check post /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{"kind":"ClusterRoleBinding","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"name":"as-bob"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"as-bob"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"alice"}]}'
is 'bob uid= groups=devs,system:authenticated extra={}' as alice -H 'Impersonate-User: bob' -H 'Impersonate-Group: devs'
is 403 as alice -H 'Impersonate-User: bob' -H 'Impersonate-Group: system:masters'
is 403 as alice -H 'Impersonate-User: bob' -H 'Impersonate-Uid: 1'
is 403 as alice -H 'Impersonate-User: bob' -H 'Impersonate-Extra-Scopes: a'
is 403 as alice -H 'Impersonate-User: admin'

step "nobody grants what they have not: escalation and binding"
check post /apis/rbac.authorization.k8s.io/v1/clusterroles '{"kind":"ClusterRole","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"name":"roles"},"rules":[{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings"],"verbs":["get","list","create"]}]}'
check post /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{"kind":"ClusterRoleBinding","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"name":"roles"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"roles"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"alice"}]}'
alice_post() { with alice -o answer -w '%{http_code}' -X POST -H 'Content-Type: application/json' -d "$2" "$URL$1"; }
RBAC=/apis/rbac.authorization.k8s.io/v1/namespaces/default
is 201 alice_post "$RBAC/roles" '{"kind":"Role","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"name":"same"},"rules":[{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"],"verbs":["get"]}]}'
is 403 alice_post "$RBAC/roles" '{"kind":"Role","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"name":"more"},"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}'
check grep -q 'attempting to grant RBAC permissions not currently held' answer
# bind KIND NAME: alice gives herself a role.
bind() { alice_post "$RBAC/rolebindings" "{\"kind\":\"RoleBinding\",\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"metadata\":{\"generateName\":\"b-\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"$1\",\"name\":\"$2\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"alice\"}]}"; }
is 201 bind Role same
is 403 bind ClusterRole cluster-admin
check post /apis/rbac.authorization.k8s.io/v1/clusterroles '{"kind":"ClusterRole","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"name":"binder"},"rules":[{"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],"verbs":["bind"],"resourceNames":["view"]}]}'
check post /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{"kind":"ClusterRoleBinding","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"name":"binder"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"binder"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"alice"}]}'
is 201 bind ClusterRole view
is 403 bind ClusterRole admin

if [ -x "$CACHE/kubectl-1.35" ] || _fetch_kubectl_1_35; then
    step "kubectl 1.35: auth can-i, --list, whoami"
    kubectl_1_35
    # kc TOKEN ARGS
    kc() { local t=$1; shift; timeout 20 "$KUBECTL" --kubeconfig=/dev/null --server="$URL" --certificate-authority=server-ca.crt --token="$t" "$@"; }
    check_out yes kc file-token-1 auth can-i list pods
    is 'no - No policy matched.' kc file-token-1 auth can-i delete pods
    check_out services kc file-token-1 auth can-i --list
    check kc file-token-1 auth whoami
    cp out whoami
    check grep -q 'Username *carol' whoami
    check grep -q 'Groups *\[devs ops system:authenticated\]' whoami
    check_out 'system:serviceaccount:default:web' kc "$TOKEN" auth whoami
else
    SKIPPED=$((SKIPPED + 1))
fi

step "no token is in the log"
for secret in file-token-1 file-token-2 0123456789abcdef hook-good hook-error hook-parrot "${TOKEN##*.}" "${LEGACY##*.}" "${GONE##*.}"; do refute grep -qF -- "$secret" apiserver.log; done

step "flags that contradict each other are errors"
# wrong TEXT FLAGS: the program ends with the text.
wrong() {
    local text=$1
    shift
    # shellcheck disable=SC2046
    timeout 10 "$BIN/kube-apiserver" $(common) --secure-port="$PORT2" "$@" >out 2>&1
    if grep -qF -- "$text" out; then _passed; else _failed "\"$text\" was expected from: $*"; fi
}
wrong "authorization-mode ABAC's authorization policy file not passed" --authorization-mode=ABAC
wrong 'cannot specify --authorization-policy-file without mode ABAC' --authorization-mode=RBAC --authorization-policy-file=policy.jsonl
wrong "authorization-mode Webhook's authorization config file not passed" --authorization-mode=Webhook
wrong 'without mode Webhook' --authorization-mode=RBAC --authorization-webhook-config-file=access.kubeconfig
wrong 'has mode specified more than once' --authorization-mode=RBAC,RBAC
wrong 'is not a valid mode' --authorization-mode=rbac
wrong 'must be specified together' --oidc-issuer-url="$ISSUER"
wrong 'must be an https URL' --oidc-issuer-url=http://x --oidc-client-id=c
wrong 'unsupported signing alg: "HS256"' --oidc-issuer-url="$ISSUER" --oidc-client-id=c --oidc-signing-algs=HS256
wrong 'requires https scheme' --service-account-jwks-uri=http://x
wrong 'between 1 hour and 2^32 seconds' --service-account-max-token-expiration=10m
wrong 'is already specified' --service-account-issuer=https://a --service-account-issuer=https://a
wrong 'unsupported webhook authorizer version "v2"' --authorization-mode=Webhook --authorization-webhook-config-file=access.kubeconfig --authorization-webhook-version=v2
printf '{"user":"a"}\n{"user":\n' >bad.jsonl
wrong 'line 2' --authorization-mode=ABAC --authorization-policy-file=bad.jsonl
wrong 'nonsense.kubeconfig' --authentication-token-webhook-config-file=nonsense.kubeconfig
wrong 'authentication-config' --authentication-config=x

step "AlwaysDeny allows nobody but system:masters; without --anonymous-auth nobody is anonymous"
# shellcheck disable=SC2046
ASAN_OPTIONS=detect_leaks=0 "$BIN/kube-apiserver" $(common) --secure-port="$PORT2" --authorization-mode=AlwaysDeny --anonymous-auth=false >second.log 2>&1 &
PIDS="$PIDS $!"
eventually 20 as_admin -f -o answer "https://127.0.0.1:$PORT2/readyz"
may 403 'with alice' "https://127.0.0.1:$PORT2/version"
code 401 "https://127.0.0.1:$PORT2/version"

step "both end while somebody is asked"
get -H 'Authorization: Bearer hook-slow' -o answer "$URL/version" &
sleep 0.3
kill $PIDS 2>/dev/null
for pid in $PIDS; do wait "$pid"; status=$?; [ $status = 0 ] || [ $status = 143 ] && _passed || _failed "process $pid ended with $status"; done
refute grep -A 30 'Sanitizer' apiserver.log second.log
