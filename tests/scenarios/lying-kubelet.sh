# A kubelet with the right certificate that lies: by headers, bodies, chunks, redirects, upgrades and silence, by logs, exec and proxy. Each lie is
# bounded in memory and time, said to whoever asked, and nobody else notices.
# limit: 90 s
. "$(dirname "$0")/../lib/alone.sh"
need_program kube-apiserver
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca 2>/dev/null
cert() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -extfile <(printf '%b' "$3") -days 1 2>/dev/null
}
cert server /CN=server 'extendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1'
cert admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
openssl ecparam -name prime256v1 -genkey -noout -out sa.key
python3 "$LIB/hostile-backend.py" --cert server.crt --key server.key --log kubelet.log --port 11250 >kubelet.out 2>&1 &
PIDS="$PIDS $!"
# Another that takes connections and never says a word, not even of TLS.
python3 -c 'import socket, time; s = socket.create_server(("127.0.0.1", 11251)); time.sleep(100)' &
PIDS="$PIDS $!"
"$BIN/kube-apiserver" --flag-defaults=secure --store=memory --bind-address=127.0.0.1 --secure-port=16443 --tls-cert-file=server.crt --tls-private-key-file=server.key \
    --data-dir="$TMP/data" --volatile-dir="$TMP/volatile" --cert-dir="$TMP/cert" --client-ca-file=ca.crt --service-account-signing-key-file=sa.key --service-account-key-file=sa.key --kubelet-certificate-authority=ca.crt \
    --kubelet-client-certificate=admin.crt --kubelet-client-key=admin.key --kubelet-timeout=2s >apiserver.log 2>&1 &
SERVER=$!
PIDS="$PIDS $SERVER"
URL=https://127.0.0.1:16443/api/v1
ask() { curl -s --max-time "${LONG:-12}" --cacert ca.crt --cert admin.crt --key admin.key "$@"; }
json() { ask -H 'Content-Type: application/json' "$@"; }
peak_kb() { awk '/^VmHWM:/ { print $2 }' /proc/$SERVER/status; }
now_kb() { awk '/^Pss:/ { print $2 }' /proc/$SERVER/smaps_rollup; }
eventually 10 ask -f https://127.0.0.1:16443/readyz
LIES="redirect-away lie-101 endless-headers giant-header many-headers endless-100 giant-length endless-extension endless-trailers bad-chunk reset"
check json -f -d '{"metadata":{"name":"default"}}' "$URL/namespaces/default/serviceaccounts"
node() { json -o out -d "{\"metadata\":{\"name\":\"$1\"}}" "$URL/nodes" && ask -f -o out -X PATCH -H 'Content-Type: application/merge-patch+json' \
    -d "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"127.0.0.1\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":$2}}}}" "$URL/nodes/$1/status"; }
check node liar 11250
check node mute 11251
pod() { # NAME NODE CONTAINERS...
    local name=$1 node=$2
    shift 2
    json -f -o out -d "$(jq -n --arg name "$name" --arg node "$node" '{metadata: {name: $name}, spec: {nodeName: $node, containers: [$ARGS.positional[] | {name: ., image: "x"}]}}' --args "$@")" "$URL/namespaces/default/pods"
}
check pod liar liar $LIES drip silent endless-body
check pod mute mute c
POD=$URL/namespaces/default/pods/liar
before=$(peak_kb)
# While all this happens somebody else is served, quickly.
(while sleep 0.2; do ask --max-time 2 -o /dev/null -w '%{http_code} %{time_total}\n' "$URL/namespaces"; done) >others &
OTHERS=$!
PIDS="$PIDS $OTHERS"

step "what takes until a time is over begins first: a header that drips, silence, a kubelet that is mute"
LONG=45
for slow in "drip $POD/log?container=drip" "silent $POD/log?container=silent"; do
    ask -o "${slow%% *}.answer" -w '%{http_code} %{time_total}' "${slow#* }" >"${slow%% *}.took" & SLOW="${SLOW:-} $!"
done
ask -o mute.answer -w '%{http_code} %{time_total}' "$URL/namespaces/default/pods/mute/log" >mute.took & SLOW="$SLOW $!"
LONG=

step "each lie as a log, ten at once, and as a page of the node's proxy"
for lie in $LIES; do
    took=$(date +%s)
    for n in 1 2 3 4 5 6 7 8 9 10; do ask -o "$lie.$n" -w '%{http_code} %{exitcode}\n' "$POD/log?container=$lie" >>"$lie.codes" & WAIT="${WAIT:-} $!"; done
    ask -o "$lie.proxy" -w '%{http_code} %{exitcode}\n' "$URL/nodes/liar/proxy/$lie" >>"$lie.proxied" & WAIT="$WAIT $!"
    # shellcheck disable=SC2086
    wait $WAIT
    WAIT=
    sort "$lie.codes" "$lie.proxied" | uniq -c >out
    check test $(($(date +%s) - took)) -le 10
    check test "$(wc -l <"$lie.codes")" = 10
    case $lie in
    # The body had begun with 200 when the lie came: the answer breaks off, which HTTP/2 says of the stream.
    endless-extension | endless-trailers | bad-chunk | reset) refute grep -vE '^(200 (92|18)|50[0-9] 0)$' "$lie.codes" ;;
    *) refute grep -vE '^50[0-9] 0$' "$lie.codes" ;;
    esac
    refute grep -E '^(000|101) ' "$lie.proxied"
    check ask -f -o out "$URL/nodes/liar/proxy/healthz"
done
check grep -q 'attempted to redirect' redirect-away.1
check grep -qi 'switched protocols' lie-101.1
refute grep -q stolen kubelet.log
refute grep -q LEAK kubelet.log

step "exec whose answer is no upgrade"
for lie in $LIES; do
    ask --http1.1 -X POST -H 'Connection: Upgrade' -H 'Upgrade: SPDY/3.1' -H 'X-Stream-Protocol-Version: v4.channel.k8s.io' -o out -w '%{http_code}\n' "$POD/exec?container=$lie&command=id&stdout=1" >>exec.codes
done
cp exec.codes out
refute grep -v '^50[0-9]$' exec.codes
check test "$(wc -l <exec.codes)" = "$(echo "$LIES" | wc -w)"
refute grep -q LEAK kubelet.log

step "a body without end: the reader gets it, who does not read holds little, and the kubelet is not read either"
ask --max-time 2 -o /dev/null -w '%{size_download}' "$POD/log?container=endless-body" >out
check test "$(cat out)" -gt 10000000
eventually 5 grep -q "^SENT" kubelet.log
: >kubelet.log
for n in 1 2 3 4 5 6 7 8; do ask --max-time 4 --limit-rate 1k -o /dev/null "$POD/log?container=endless-body" & WAIT="$WAIT $!"; done
sleep 3
check test "$(now_kb)" -lt 60000
# shellcheck disable=SC2086
wait $WAIT
sent() { [ "$(grep -c '^SENT' kubelet.log)" = 8 ]; }
eventually 5 sent
cp kubelet.log out
check test -z "$(awk '/^SENT/ && $2 > 24000000' kubelet.log)"

step "the catalog of paths is answered though kubelets lie"
check ask -f --max-time 6 -H 'Accept: application/json' -o out https://127.0.0.1:16443/paths

step "time was over for the slow ones"
# shellcheck disable=SC2086
wait $SLOW
for slow in drip silent; do
    read -r code took <$slow.took
    cat $slow.took $slow.answer >out
    check test "$code" = 500
    check test "${took%%.*}" -ge 25
    check test "${took%%.*}" -le 35
done
read -r code took <mute.took
cat mute.took mute.answer >out
check test "${code%?}" = 50
check test "${took%%.*}" -le 12

step "nobody else noticed, and nothing is held"
kill $OTHERS
check test "$(wc -l <others)" -ge 50
cp others out
refute grep -v '^200 [01]\.' others
check kill -0 $SERVER
echo "peak before $before kB, after $(peak_kb) kB" >out
check test $(($(peak_kb) - before)) -lt 40000
check test "$(ls /proc/$SERVER/fd | wc -l)" -lt 100
