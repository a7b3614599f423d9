# What goes wrong on machines: each failure says what it is and what to do, and nothing that was acknowledged is lost.
# limit: 240 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler; do need_program $program; done
STORE_ONLY=--without=containerd,images,kube-controller-manager,kube-scheduler,kubelet,kube-proxy
CONTROL_PLANE=--without=containerd,images,kubelet,kube-proxy
STATE=/var/lib/coracle/$NAME
COMPONENTS="kube-apiserver kube-controller-manager kube-scheduler"
PORT=$(free_port)
API=https://127.0.0.1:$PORT
CM=$API/api/v1/namespaces/default/configmaps

# fails TEXT up-flags...: up ends with an error that contains the text; all it said is in $TMP/up.
fails() {
    local want=$1
    shift
    if coracle up --name "$NAME" --port "$PORT" --kubeconfig none "$@" >"$TMP/up" 2>&1; then
        _failed "this up should have failed: $*"
    elif grep -qF -- "$want" "$TMP/up"; then
        _passed
    else
        cp "$TMP/up" "$TMP/out"
        _failed "\"$want\" was expected from up $*"
    fi
}
# elsewhere COMMAND...: with mounts of its own, made by the lines in $MOUNTS.
elsewhere() { MOUNTS=$1 unshare -m --propagation private sh -c 'eval "$MOUNTS" && exec "$@"' sh "${@:2}"; }
fails_elsewhere() {
    local want=$1 mounts=$2
    check_out "$want" elsewhere "$mounts" sh -c "'$BIN/coracle' up --name '$NAME' --port $PORT --kubeconfig none --wait 0 2>&1; test \$? = 1"
}
ask() { curl -s --max-time 15 --cacert "$STATE/pki/ca.crt" --cert "$STATE/pki/admin.crt" --key "$STATE/pki/admin.key" -H 'Content-Type: application/json' "$@"; }
cm() { printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s"},"data":{"a":"%s"}}' "$1" "$(head -c "${2:-10}" /dev/zero | tr '\0' x)"; }
create() { [ "$(cm "$@" | ask "$CM" --data-binary @- -o "$TMP/answer" -w '%{http_code}')" = 201 ]; }
pid_of() { coracle status --name "$NAME" | sed -nE "s/^$1 +node-1 .* 127\.0\.0\.1:[0-9]+ +([0-9]+) .*/\1/p"; }
is_ok() { coracle status --name "$NAME" | grep -qE "^$1 +node-1 +ok "; }
comes_back() { local pid; pid=$(pid_of "$1"); [ -n "$pid" ] && [ "$pid" != "$2" ] && is_ok "$1"; }
before=$(host_state)

step "before anything is started"
check_out "needs root" sh -c "setpriv --reuid 65534 --regid 65534 --clear-groups '$BIN/coracle' up --name '$NAME' 2>&1; true"
check_out "only root can end a cluster" sh -c "setpriv --reuid 65534 --regid 65534 --clear-groups '$BIN/coracle' down --name '$NAME' 2>&1; true"
check_out "nodes need 5.12 or later" sh -c "setarch --uname-2.6 '$BIN/coracle' up --name '$NAME' 2>&1; true"
fails_elsewhere "containerd is missing: apt-get install containerd" "mount --bind /dev/null /usr/bin/containerd"
fails_elsewhere "must be writable" "mkdir -p /var/lib/coracle && mount -t tmpfs -o ro none /var/lib/coracle"
fails_elsewhere "less than 128 MB free: make room there" "mkdir -p /var/lib/coracle && mount -t tmpfs -o size=100m none /var/lib/coracle"
fails "--store is sqlite, memory or etcd" --store floppy
fails "takes 1 to" --nodes 0
python3 -c "import socket, time; s = socket.create_server(('127.0.0.1', $PORT)); time.sleep(60)" &
taken=$!
eventually 5 sh -c "ss -Hltn 'sport = :$PORT' | grep -q ."
fails "port $PORT of 127.0.0.1 is taken: end what listens there" --wait 0
kill $taken
down
check test ! -e "$STATE"

step "up twice, and who the programs are"
check coracle up --name "$NAME" --port "$PORT" --wait 0 $CONTROL_PLANE
for component in $COMPONENTS; do eventually 20 is_ok "$component"; done
check_out "is running" coracle up --name "$NAME" --wait 0
users=
for component in $COMPONENTS; do
    status=/proc/$(pid_of "$component")/status
    cp "$status" "$TMP/out"
    check grep -qE '^Uid:\s+([0-9]{5})\s+\1\s+\1\s+\1$' "$status"
    check grep -qE '^CapEff:\s+0000000000000000$' "$status"
    check grep -qE '^CapPrm:\s+0000000000000000$' "$status"
    check grep -qE '^NoNewPrivs:\s+1$' "$status"
    check grep -qE '^Seccomp:\s+2$' "$status"
    check grep -qE '^Seccomp_filters:\s+2$' "$status" # the supervisor's, and its own: it runs no other program
    users="$users $(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "$status")"
done
check test "$(printf '%s\n' $users | sort -u | wc -l)" = 3

step "kill -9 of each: it comes back, and what was acknowledged is there"
n=0
for component in $COMPONENTS; do
    pid=$(pid_of "$component")
    (for i in $(seq 200); do create "$component-$i" && echo "$component-$i"; done >"$TMP/acknowledged") &
    writer=$!
    sleep 0.3
    check kill -9 "$pid"
    eventually 15 comes_back "$component" "$pid"
    wait $writer
    check test -s "$TMP/acknowledged"
    ask "$CM" | jq -r '.items[].metadata.name' | sort >"$TMP/there"
    check test -z "$(sort "$TMP/acknowledged" | comm -23 - "$TMP/there")"
done

step "kill -9 of everything at once, the supervisor too"
pids="$(cat "/run/coracle/$NAME/lock") $(for component in $COMPONENTS; do pid_of "$component"; done)"
check kill -9 $pids
eventually 5 sh -c "! kill -0 $(echo $pids | cut -d' ' -f1) 2>/dev/null"
check coracle up --name "$NAME" --wait 0
eventually 20 ask -f "$API/readyz"
ask "$CM" | jq -r '.items[].metadata.name' | sort >"$TMP/there.again"
check cmp "$TMP/there" "$TMP/there.again"

step "two clusters side by side do not know each other"
check coracle up --name "$NAME-2" --kubeconfig none --wait 0 $STORE_ONLY
second=$(sed -n 's/^port=//p' "/var/lib/coracle/$NAME-2/config")
check test "$second" != "$PORT"
eventually 20 curl -sf --cacert "/var/lib/coracle/$NAME-2/pki/ca.crt" "https://127.0.0.1:$second/readyz"
refute ask -f "https://127.0.0.1:$second/readyz"
check_out 401 curl -sk -o /dev/null -w '%{http_code}' --cert "$STATE/pki/admin.crt" --key "$STATE/pki/admin.key" "https://127.0.0.1:$second/api/v1/secrets"
check coracle down --name "$NAME-2" --kubeconfig none
check ask -f "$API/readyz"

step "a store that is damaged, or of a newer version, is not touched, and up says so within seconds"
check coracle down --name "$NAME" --keep-state
cp -a "$STATE/store" "$TMP/store"
rm -f "$STATE/store/coracle.db-wal" "$STATE/store/coracle.db-shm"
head -c 20000 /dev/urandom | dd of="$STATE/store/coracle.db" conv=notrunc status=none
sum=$(sha256sum <"$STATE/store/coracle.db")
begin=$(date +%s)
fails "kube-apiserver on node-1 keeps ending" $STORE_ONLY
check grep -qF "is not a store of ours" "$TMP/up"
check grep -qF "coracle down --name $NAME" "$TMP/up"
check test $(($(date +%s) - begin)) -lt 20
check test "$(sha256sum <"$STATE/store/coracle.db")" = "$sum"
check coracle down --name "$NAME" --keep-state
cp -a "$TMP/store/." "$STATE/store/"
python3 -c "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute('PRAGMA user_version=99'); d.commit()" "$STATE/store/coracle.db"
chown -R --reference="$STATE/store" "$STATE/store"
fails "kube-apiserver on node-1 keeps ending" $STORE_ONLY
check grep -qF "was written by a newer Coracle" "$TMP/up"
check coracle down --name "$NAME" --keep-state
rm -rf "$STATE/store"
cp -a "$TMP/store" "$STATE/store"
check coracle up --name "$NAME" --wait 0 $STORE_ONLY
eventually 20 ask -f "$API/readyz"
check test "$(ask "$CM" | jq '.items | length')" = "$(wc -l <"$TMP/there")"
down
down

step "a full disk: writes say so, reads go on, and room is all it needs"
unshare -m --propagation private sleep 60 &
space=$!
sleep 0.3
on_small_disk() { nsenter -t $space -m "$@"; }
check on_small_disk sh -c "mkdir -p /var/lib/coracle && mount -t tmpfs -o size=160m none /var/lib/coracle"
check on_small_disk "$BIN/coracle" up --name "$NAME" --port "$PORT" --kubeconfig none --wait 0 $STORE_ONLY
mkdir -p "$TMP/pki"
for file in ca.crt admin.crt admin.key; do on_small_disk cat "$STATE/pki/$file" >"$TMP/pki/$file"; done
ask() { curl -s --max-time 15 --cacert "$TMP/pki/ca.crt" --cert "$TMP/pki/admin.crt" --key "$TMP/pki/admin.key" -H 'Content-Type: application/json' "$@"; }
eventually 20 ask -f "$API/readyz"
check create first
on_small_disk dd if=/dev/zero of=/var/lib/coracle/fill bs=64k status=none 2>/dev/null
n=1
while [ $n -lt 100 ] && create "big-$n" 90000; do n=$((n + 1)); done
cp "$TMP/answer" "$TMP/out"
check jq -e '.kind == "Status" and (.message | contains("disk"))' "$TMP/answer"
check test $n -lt 100
check ask -f -o "$TMP/out" "$CM/first"
check on_small_disk grep -q "writes fail until there is room" "$STATE/logs/node-1/kube-apiserver.log"
check on_small_disk rm /var/lib/coracle/fill
eventually 10 create last
check test "$(ask "$CM" | jq '[.items[] | select(.metadata.name | test("^(first|last|big-)"))] | length')" = $((n + 1))
check on_small_disk "$BIN/coracle" down --name "$NAME" --kubeconfig none
kill $space

step "nothing is left"
eventually 10 same_state "$before"
