# The long form of faults.sh: hundreds of deaths, a stall of ten seconds, and etcd with its members killed, paused and cut off.
# limit: 1800 s
. "$(dirname "$0")/../lib/scenario.sh"
[ -z "${REPORT:-}" ] || printf '# What became of the store\n\n%s, %s, %s cores, load %s\n\n' "$(date -u +%F)" "$(uname -sr)" "$(nproc)" "$(cut -d' ' -f1 /proc/loadavg)" >"$REPORT"
. "$ROOT/tests/faults/runs.sh"
ROUNDS=${ROUNDS:-200}

step "the judge finds what is wrong in histories that are"
check "$BUILD/tests/faults/test-verify"

step "kill -9 at random moments, and ends in order"
hurt "kill" kill,kill,kill,end $ROUNDS
step "the same, with many keys and clients"
hurt "kill, many keys" kill,end $((ROUNDS / 4)) --keys 300 --leases 40 --clients 32

step "kill -9 between the steps of a commit, of a start and of an end"
hurt "failpoints" failpoint $ROUNDS --failpoints $FAILPOINTS

step "power is lost: unsynced writes are lost, torn, and made in another order"
with_lossy "power" power $ROUNDS
with_lossy "power, clocks and kills" power,clock,kill $((ROUNDS / 2))

step "a stalled disk"
with_lossy "stalls of 10 s" stall,kill 6

step "a full disk"
mkdir "$TMP/small"
if unshare -m "$ROOT/tests/faults/small-disk" "$TMP/small" 20m true 2>/dev/null; then
    WRAP="unshare -m $ROOT/tests/faults/small-disk $TMP/small 20m" DATA=$TMP/small/store hurt "full disk" full,kill $((ROUNDS / 10))
fi

step "etcd: members are killed, paused and cut off, servers killed"
if [ -x /usr/bin/etcd ] && etcd_up; then
    trap 'etcd_down; rm -rf "$MEMORY"; _end' EXIT
    hurt_etcd "etcd" $((ROUNDS / 4))
fi
