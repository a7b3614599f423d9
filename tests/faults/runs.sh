# What the short form (tests/scenarios/faults.sh) and the long form (tests/long/faults.sh) share: runs of store-checker, each under a name
# that ends up in the report. After ". tests/lib/scenario.sh".
CHECKER=$BUILD/tests/faults/store-checker
LOSSY=$BUILD/tests/faults/lossy.so
# The sanitized server: it has the failpoints.
SERVER=$BUILD/src/cmd/kube-apiserver
FAILPOINTS=group-taken,begun,rows-written,committed,published,volatile-logged,superseded,flush-begun,log-rewritten,before-checkpoint,checkpointed,wal-extended,open-checked,open-log-made,open-begun,close-flushed,close-ended
REPORT=${REPORT:-}
MEMORY=/dev/shm/$NAME
export CORACLE_WAL_PAGES=300 # so that the write-ahead log is copied often
trap 'rm -rf "$MEMORY"; _end' EXIT
mkdir -p "$MEMORY"
[ -x "$CHECKER" ] && [ -x "$SERVER" ] || skip "store-checker is not built"

# hurt NAME FAULTS ROUNDS [checker's flags]: over SQLite in $DATA (a folder of $TMP by default).
hurt() {
    local name=$1 faults=$2 rounds=$3 data=${DATA:-$TMP/store}
    shift 3
    mkdir -p "$MEMORY/lossy"
    # shellcheck disable=SC2086
    check timeout 1200 ${WRAP:-} "$CHECKER" --name "$name" --faults "$faults" --rounds "$rounds" --data-dir "$data" --volatile-dir "$MEMORY/volatile" \
        --log "$TMP/server.log" --port "$(free_port)" "$@" -- "$SERVER" --store=sqlite --data-dir="$data" --volatile-dir="$MEMORY/volatile" \
        --secure-port=0 --authorization-mode=AlwaysAllow || tail -n 5 "$TMP/server.log"
    told
    rm -rf "$data" "$MEMORY/volatile"
}
with_lossy() { hurt "$@" --lossy-lib "$LOSSY" --lossy-dir "$MEMORY/lossy"; }
# The summary of the last run goes to the screen and into the report.
told() {
    grep -E 'rounds in .* wrong$' "$TMP/out" | sed 's/^/   /'
    [ -z "$REPORT" ] || grep -E 'rounds in .* wrong$|WRONG|store-checker:' "$TMP/out" | sed 's/^/- /' >>"$REPORT"
}

# ---- three members of etcd in network namespaces of their own, and a fourth for the servers and the checker ----

MEMBERS="1 2 3"
etcd_up() {
    local i cluster=
    ETCD=$TMP/etcd
    mkdir -p "$ETCD"
    ip netns add "$NAME-sw" && ip -n "$NAME-sw" link add br0 type bridge && ip -n "$NAME-sw" link set br0 up || return 1
    for i in $MEMBERS 9; do
        ip netns add "$NAME-$i" || return 1
        ip -n "$NAME-$i" link set lo up
        ip -n "$NAME-sw" link add "p$i" type veth peer name eth0 netns "$NAME-$i" || return 1
        ip -n "$NAME-sw" link set "p$i" master br0 up
        ip -n "$NAME-$i" addr add "10.77.0.$i/24" dev eth0
        ip -n "$NAME-$i" link set eth0 up
        [ "$i" = 9 ] || cluster=$cluster,m$i=http://10.77.0.$i:2380
    done
    CLUSTER=${cluster#,}
    for i in $MEMBERS; do etcd_member "$i" new; done
}
etcd_member() {
    local i=$1
    ip netns exec "$NAME-$i" etcd --name "m$i" --data-dir "$ETCD/m$i" --listen-client-urls "http://10.77.0.$i:2379,http://127.0.0.1:2379" \
        --advertise-client-urls "http://10.77.0.$i:2379" --listen-peer-urls "http://10.77.0.$i:2380" \
        --initial-advertise-peer-urls "http://10.77.0.$i:2380" --initial-cluster "$CLUSTER" --initial-cluster-state "$2" \
        --heartbeat-interval 50 --election-timeout 500 >>"$ETCD/m$i.log" 2>&1 &
    echo $! >"$ETCD/m$i.pid"
}
etcd_down() {
    local i
    for i in $MEMBERS; do
        [ ! -s "$ETCD/m$i.pid" ] || kill -9 "$(cat "$ETCD/m$i.pid")" 2>/dev/null
    done
    for i in $MEMBERS 9 sw; do ip netns del "$NAME-$i" 2>/dev/null; done
}
# hurt_etcd NAME ROUNDS [checker's flags]: two servers; members are killed, paused and cut off, one at a time, and the servers killed.
hurt_etcd() {
    local name=$1 rounds=$2 hook=$TMP/hook
    shift 2
    export NAME TMP ETCD CLUSTER
    cat >"$hook" <<HOOK
#!/bin/bash
. "$ROOT/tests/faults/etcd-hook.sh"
HOOK
    chmod +x "$hook"
    check timeout 1200 ip netns exec "$NAME-9" "$CHECKER" --name "$name" --faults hurt,hurt,hurt,kill --rounds "$rounds" --servers 2 --port 18300 \
        --data-dir "$TMP/certs" --log "$TMP/server.log" --lives-go-on --hurt "$hook" "$@" -- \
        "$SERVER" --etcd-servers=http://10.77.0.1:2379,http://10.77.0.2:2379,http://10.77.0.3:2379 --secure-port=0 \
        --authorization-mode=AlwaysAllow --endpoint-reconciler-type=none || tail -n 5 "$TMP/server.log"
    told
}
