# What people and attackers send by mistake or on purpose: each gets a clear answer, the API server lives on and stays small.
# limit: 180 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kube-apiserver
apiserver_pid() { coracle status --name "$NAME" | sed -nE 's/^kube-apiserver .* 127\.0\.0\.1:6443 +([0-9]+) .*/\1/p'; }
pss_kb() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"; }

up --wait 0 --without=containerd,images,kube-controller-manager,kube-scheduler,kubelet,kube-proxy
PORT=$(sed -n 's/^port=//p' "/var/lib/coracle/$NAME/config")
PKI=/var/lib/coracle/$NAME/pki
URL=https://127.0.0.1:$PORT
CM=/api/v1/namespaces/default/configmaps
JSON=application/json YAML=application/yaml PROTOBUF=application/vnd.kubernetes.protobuf
as_admin() { curl -s --max-time 20 --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key" "$@"; }
eventually 20 as_admin -f "$URL/readyz"

# send METHOD PATH TYPE BODY [curl options]: the answer is in $TMP/answer, its code in $CODE. BODY may be @FILE.
send() {
    local method=$1 path=$2 type=$3 body=$4
    shift 4
    CODE=$(as_admin -X "$method" -H "Content-Type: $type" --data-binary "$body" -o "$TMP/answer" -w '%{http_code}' "$@" "$URL$path")
}
# refused CODE TEXT METHOD PATH TYPE BODY: the answer is a Status with that code, and its message contains the text.
refused() {
    local code=$1 text=$2
    shift 2
    send "$@"
    cp "$TMP/answer" "$TMP/out" 2>/dev/null
    if [ "$CODE" = "$code" ] && jq -e --arg text "$text" --argjson code "$code" \
        '.kind == "Status" and .status == "Failure" and .code == $code and (.message | contains($text))' "$TMP/answer" >/dev/null 2>&1; then
        _passed
    else
        _failed "$code with \"$text\" was expected, not $CODE, from: $(printf '%.120s' "$*")"
    fi
}
accepted() {
    send "$@"
    cp "$TMP/answer" "$TMP/out" 2>/dev/null
    case $CODE in 20?) _passed ;; *) _failed "$CODE from: $(printf '%.120s' "$*")" ;; esac
}
# alive: the same process as in the beginning answers, with at most 40 MB.
alive() {
    check as_admin -f "$URL/readyz"
    check test "$(apiserver_pid)" = "$PID"
    check test "$(pss_kb "$PID")" -lt 40000
}
cm() { printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s"}%s}' "$1" "${2:-}"; }
# repeat N TEXT
repeat() { head -c "$1" /dev/zero | sed "s/\\x0/$2/g"; }

PID=$(apiserver_pid)
accepted POST $CM $JSON "$(cm kept ',"data":{"a":"1"}')"

step "broken text"
refused 400 "unexpected end of JSON input" POST $CM $JSON '{"kind":'
refused 400 "after top-level value" POST $CM $JSON "$(cm x) x"
refused 400 "cannot unmarshal array" POST $CM $JSON '[]'
refused 400 "unexpected end of JSON input" POST $CM $JSON ''
refused 400 "yaml: line 1" POST $CM $YAML 'a: [ b: '
refused 400 "more than one document" POST $CM $YAML "$(printf 'kind: ConfigMap\n---\nkind: ConfigMap')"
refused 400 "does not appear to be a protobuf message" POST $CM $PROTOBUF 'garbage'
printf 'k8s\0\n\377\377\377\377\377\377\377\377\177' >"$TMP/pb"
refused 400 "unexpected EOF" POST $CM $PROTOBUF "@$TMP/pb"
printf 'k8s\0\n\017\n\002v1\022\011ConfigMap\022\005\n\003\n\177A' >"$TMP/pb"
refused 400 "cannot be handled as a ConfigMap" POST $CM $PROTOBUF "@$TMP/pb"
{ printf 'k8s\0\n\017\n\002v1\022\011ConfigMap\022\200\200\100'; repeat 1048576 '\x0b'; } >"$TMP/pb"
refused 400 "" POST $CM $PROTOBUF "@$TMP/pb"
refused 415 "" POST $CM application/xml '<a/>'

step "bytes that are no UTF-8 become replacement characters, and never go out again"
printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"utf"},"data":{"a":"\377\300\257\355\240\200"}}' >"$TMP/utf"
accepted POST $CM $JSON "@$TMP/utf"
as_admin "$URL$CM/utf" >"$TMP/utf.out"
check iconv -f UTF-8 -t UTF-8 -o /dev/null "$TMP/utf.out"
refused 400 "UTF-8" POST $CM $YAML "$(printf 'a: "\377"')"

step "unknown fields: Strict, Warn, Ignore"
wrong='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"f","foo":1},"wrong":1}'
refused 400 'unknown field "metadata.foo", unknown field "wrong"' POST "$CM?fieldValidation=Strict&dryRun=All" $JSON "$wrong"
accepted POST "$CM?fieldValidation=Warn&dryRun=All" $JSON "$wrong" -D "$TMP/headers"
check test "$(grep -ci '^warning: 299 - "unknown field' "$TMP/headers")" = 2
accepted POST "$CM?fieldValidation=Ignore&dryRun=All" $JSON "$wrong" -D "$TMP/headers"
refute grep -qi '^warning' "$TMP/headers"
refused 422 'Unsupported value: "Bogus"' POST "$CM?fieldValidation=Bogus" $JSON "$wrong"
{ printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"f"}'; seq -f ',"u%.0f":1' 150000 | tr -d '\n'; printf '}'; } >"$TMP/many"
refused 400 'unknown field "u1"' POST "$CM?fieldValidation=Strict" $JSON "@$TMP/many"
accepted POST "$CM?fieldValidation=Warn&dryRun=All" $JSON "@$TMP/many" -D "$TMP/headers"
check test "$(wc -c <"$TMP/headers")" -lt 8000
alive

step "wrong types, names and versions"
refused 400 "cannot unmarshal number into Go struct field ConfigMap.data of type string" POST $CM $JSON "$(cm x ',"data":{"a":1}')"
refused 400 "ConfigMap.metadata" POST $CM $JSON '{"apiVersion":"v1","kind":"ConfigMap","metadata":"x"}'
refused 400 "" POST $CM $JSON '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}'
refused 400 "" POST $CM $JSON '{"apiVersion":"v9","kind":"ConfigMap","metadata":{"name":"x"}}'
refused 422 "name or generateName is required" POST $CM $JSON "$(cm '')"
for name in A 'a b' ../x -a a. "$(repeat 300 a)"; do refused 422 "metadata.name: Invalid value" POST $CM $JSON "$(cm "$name")"; done
refused 404 "not found" GET "$CM/%2e%2e" $JSON ''
refused 400 "path of the request is not valid" GET "$CM/a%00b" $JSON ''
refused 409 "the object has been modified" PUT $CM/kept $JSON '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept","resourceVersion":"1"}}'
refused 500 "invalid syntax" PUT $CM/kept $JSON '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept","resourceVersion":"-5"}}'
refused 409 "UID in the precondition" DELETE $CM/kept $JSON '{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"x"}}'

step "4 MB: 413 in Kubernetes' words, and an HTTP/2 connection survives it"
{ printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"'; repeat 4194304 a; printf '"}}'; } >"$TMP/big"
refused 413 "Request entity too large: limit is 3145728" POST $CM $JSON "@$TMP/big"
refused 413 "Request entity too large: limit is 3145728" POST $CM $JSON "@$TMP/big" --http1.1
refused 413 "Request entity too large: limit is 3145728" POST $CM $JSON "@$TMP/big" -H 'Transfer-Encoding: chunked' --http1.1
check_out "413 1 200 0 " as_admin -o /dev/null -w '%{http_code} %{num_connects} ' -H "Content-Type: $JSON" --data-binary "@$TMP/big" "$URL$CM" \
    --next -s --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key" -o /dev/null -w '%{http_code} %{num_connects} ' "$URL/version"
{ printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"'; repeat 1500000 a; printf '"}}'; } >"$TMP/big"
refused 422 "may not be more than 1048576 bytes" POST $CM $JSON "@$TMP/big"
alive

step "bombs: depth, aliases, patches"
{ printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":'; repeat 1000000 '['; } >"$TMP/deep"
refused 400 "exceeded max depth" POST $CM $JSON "@$TMP/deep"
{ printf 'data: '; repeat 100000 '['; } >"$TMP/deep"
refused 400 "exceeded max depth" POST $CM $YAML "@$TMP/deep"
{ echo 'a0: &a0 [l,l,l,l,l,l,l,l,l,l]'; for i in $(seq 1 12); do echo "a$i: &a$i [$(yes "*a$((i - 1))" | head -n 10 | paste -sd,)]"; done; } >"$TMP/laughs"
refused 400 "excessive aliasing" POST $CM $YAML "@$TMP/laughs"
refused 400 "excessive aliasing" PATCH "$CM/kept?fieldManager=x" application/apply-patch+yaml "@$TMP/laughs"
{ printf '{"data":'; for _ in $(seq 20000); do printf '{"a":'; done; } >"$TMP/deep"
refused 400 "exceeded max depth" PATCH $CM/kept application/merge-patch+json "@$TMP/deep"
refused 400 "exceeded max depth" PATCH $CM/kept application/strategic-merge-patch+json "@$TMP/deep"
jq -n '[range(20000) | {op: "add", path: "/data/a", value: "x"}]' >"$TMP/patch"
refused 413 "maximum operations in a JSON patch is 10000" PATCH $CM/kept application/json-patch+json "@$TMP/patch"
jq -n '[{op: "add", path: "/data/a", value: ("x" * 50000)}] + [range(60) | {op: "copy", from: "/data", path: "/data/k\(.)"}]' >"$TMP/patch"
refused 422 "" PATCH $CM/kept application/json-patch+json "@$TMP/patch"
jq -n '[range(40) | {op: "copy", from: "", path: "/data/k\(.)"}]' >"$TMP/patch"
refused 422 "" PATCH $CM/kept application/json-patch+json "@$TMP/patch"
refused 400 "cannot unmarshal object" PATCH $CM/kept application/json-patch+json '{}'
refused 415 "" PATCH $CM/kept application/x-patch '{}'
alive

step "queries: selectors, continue tokens, versions, numbers"
refused 400 "expected" GET "$CM?labelSelector=((((" $JSON ''
refused 400 "not a known field selector" GET "$CM?fieldSelector=spec.nothing=1" $JSON ''
accepted GET "$CM?labelSelector=k%20in%20($(seq -s, 4000))" $JSON ''
check_out 414 as_admin -o /dev/null -w '%{http_code}' "$URL$CM?labelSelector=k%20in%20($(seq -s, 12000))"
for token in abc "$(printf '{"v":"meta.k8s.io/v1","rv":1,"start":"../../secrets/"}' | base64 -w 0)"; do
    refused 400 "continue" GET "$CM?limit=1&continue=$token" $JSON ''
done
refused 400 "invalid syntax" GET "$CM?limit=abc" $JSON ''
refused 400 "invalid resource version" GET "$CM?resourceVersion=abc" $JSON ''
refused 504 "Too large resource version" GET "$CM?resourceVersion=999999999" $JSON ''
refused 504 "Too large resource version" GET "$CM?watch=1&timeoutSeconds=1&resourceVersion=999999999" $JSON ''
refused 500 "invalid syntax" GET "$CM?watch=1&resourceVersion=-1" $JSON ''
refused 406 "" GET "$CM" $JSON '' -H 'Accept: text/html'

step "methods that do not belong there"
refused 405 "does not allow this method" PUT $CM $JSON "$(cm x)"
refused 405 "does not allow this method" POST $CM/kept $JSON "$(cm kept)"
refused 405 "does not allow this method" DELETE /api/v1/namespaces $JSON ''
refused 405 "does not allow this method" PATCH /api $JSON '{}'
refused 403 "may not be deleted" DELETE /api/v1/namespaces/kube-system $JSON ''

step "requests that two parsers could read differently are refused, and the connection ends"
# raw TEXT: the bytes on a TLS connection of their own; what comes back.
raw() { { printf "$1"; sleep 2; } | timeout 4 openssl s_client -quiet -verify_quiet -connect "127.0.0.1:$PORT" -CAfile "$PKI/ca.crt" \
    -cert "$PKI/admin.crt" -key "$PKI/admin.key" 2>/dev/null; true; }
POST="POST $CM HTTP/1.1\r\nHost: x\r\nContent-Type: $JSON\r\n"
smuggled="GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
i=0
for request in \
    "400 ${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$smuggled" \
    "400 ${POST}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd$smuggled" \
    "400 ${POST}Content-Length: +4\r\n\r\nabcd$smuggled" \
    "400 ${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n$smuggled" \
    "501 ${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n$smuggled" \
    "400 ${POST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n$smuggled" \
    "400 ${POST}Transfer-Encoding: chunked\r\n\r\n4\r\nabcdXX0\r\n\r\n$smuggled" \
    "400 ${POST}Transfer-Encoding: chunked\r\n\r\n0x4\r\nabcd\r\n0\r\n\r\n$smuggled" \
    "400 ${POST}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabcd\r\n0\r\n\r\n$smuggled" \
    "400 ${POST}X: a\r\n b\r\n\r\n$smuggled" \
    "400 GET /version HTTP/1.1\nHost: x\n\n$smuggled" \
    "400 GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n$smuggled" \
    "400 GET /version HTTP/1.1\r\n\r\n$smuggled" \
    "505 GET /version HTTP/9.9\r\nHost: x\r\n\r\n$smuggled" \
    "431 GET /version HTTP/1.1\r\nHost: x\r\nX: $(repeat 100000 a)\r\n\r\n$smuggled" \
    "431 GET /version HTTP/1.1\r\nHost: x\r\n$(seq -f 'X%.0f: a\r\n' 1000 | tr -d '\n')\r\n$smuggled"; do
    i=$((i + 1))
    { raw "${request#* }" >"$TMP/raw.$i"; printf '%s\n' "${request%% *}" >"$TMP/want.$i"; } &
done
wait
for n in $(seq $i); do
    cp "$TMP/raw.$n" "$TMP/out"
    check grep -qa "^HTTP/1.1 $(cat "$TMP/want.$n") " "$TMP/raw.$n"
    refute grep -qa gitVersion "$TMP/raw.$n"
done
head -c 100000 /dev/urandom >/dev/tcp/127.0.0.1/"$PORT"
alive

step "credentials that are none"
openssl ecparam -name prime256v1 -genkey -noout -out "$TMP/k" 2>/dev/null
openssl req -new -key "$TMP/k" -subj /O=system:masters/CN=evil -out "$TMP/csr"
sign() { openssl x509 -req -in "$TMP/csr" -CA "$PKI/$2.crt" -CAkey "$PKI/$2.key" -set_serial 77 -days "$3" -extfile <(echo "extendedKeyUsage=$4") -out "$TMP/$1.crt" 2>/dev/null; }
sign right ca 1 clientAuth
sign expired ca -1 clientAuth
sign usage ca 1 serverAuth
sign other front-proxy-ca 1 clientAuth
openssl req -x509 -key "$TMP/k" -days 1 -subj /O=system:masters/CN=evil -out "$TMP/self.crt"
code_of() { curl -s --max-time 10 --cacert "$PKI/ca.crt" -o /dev/null -w '%{http_code}' "$@" "$URL/api/v1/secrets"; }
check_out 200 code_of --cert "$TMP/right.crt" --key "$TMP/k"
for cert in expired usage other self; do check_out 401 code_of --cert "$TMP/$cert.crt" --key "$TMP/k"; done
none=$(printf '{"alg":"none"}' | base64 -w 0 | tr -d =).$(printf '{"sub":"system:serviceaccount:kube-system:default"}' | base64 -w 0 | tr -d =).
for token in nonsense a.b.c "$none" "$(repeat 40000 a)"; do check_out 401 code_of -H "Authorization: Bearer $token"; done
check_out 403 code_of -H 'X-Remote-User: admin' -H 'X-Remote-Group: system:masters'
check_out 403 code_of -H 'Impersonate-User: admin'

step "sockets that are held open and say nothing do not keep others out"
ulimit -n 4096
held=()
for _ in $(seq 400); do
    exec {fd}<>/dev/tcp/127.0.0.1/"$PORT" && held+=("$fd")
done
for fd in "${held[@]:0:100}"; do printf '\026\003\001' >&"$fd" 2>/dev/null; done
eventually 5 as_admin -f "$URL/readyz"
check test "$(pss_kb "$PID")" -lt 60000
for fd in "${held[@]}"; do exec {fd}>&-; done

step "lists that nobody reads hold a bounded amount of memory"
for i in $(seq 60); do cm "big-$i" ",\"data\":{\"a\":\"$(repeat 90000 x)\"}" >"$TMP/big"; send POST $CM $JSON "@$TMP/big"; done
readers=
for _ in $(seq 60); do
    curl -s --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key" --limit-rate 1k --max-time 30 -o /dev/null "$URL$CM?pretty=true" &
    readers="$readers $!"
done
sleep 3
check test "$(pss_kb "$PID")" -lt 150000
refused 429 "Too many requests" GET "$CM?pretty=true" $JSON ''
check as_admin -f -o "$TMP/list" -H 'Accept: application/json' "$URL$CM?pretty=false"
kill $readers 2>/dev/null # some were refused and have ended
wait $readers 2>/dev/null
eventually 10 as_admin -f -o "$TMP/list" "$URL$CM?pretty=true"
small_again() { [ "$(pss_kb "$PID")" -lt 60000 ]; }
eventually 20 small_again
accepted DELETE "$CM?fieldSelector=metadata.name!=kept,metadata.name!=utf,metadata.name!=kube-root-ca.crt" $JSON ''

step "after all that: the same process, small, and nothing was lost"
alive
check test "$(as_admin "$URL$CM/kept" | jq -r .data.a)" = 1
check test "$(as_admin "$URL$CM" | jq '.items | length')" = 2
refute grep -qE 'assert|Sanitizer|panic' "/var/lib/coracle/$NAME/logs/node-1/kube-apiserver.log"
down
