# The store is hurt while many clients use it, in every way once or twice; a checker says whether anything was lost, came back or was seen out of order.
# limit: 180 s
. "$(dirname "$0")/../lib/scenario.sh"
. "$ROOT/tests/faults/runs.sh"

step "the judge finds what is wrong in histories that are"
check "$BUILD/tests/faults/test-verify"

step "kill -9 at random moments, and ends in order"
hurt "kill" kill,kill,end 5

step "kill -9 between the steps of a commit, of a start and of an end"
hurt "failpoints" failpoint 17 --failpoints $FAILPOINTS --seconds 13

step "power is lost: unsynced writes are lost, torn, and made in another order"
with_lossy "power" power 6

step "a store that does not wait for the disk is found out"
unsynced() { ! "$CHECKER" --faults power --rounds 6 --max-ms 1500 --data-dir "$TMP/store" --volatile-dir "$MEMORY/volatile" --log "$TMP/server.log" --port "$(free_port)" \
    --lossy-lib "$LOSSY" --lossy-dir "$MEMORY/lossy" -- "$SERVER" --store=sqlite --data-dir="$TMP/store" --volatile-dir="$MEMORY/volatile" \
    --secure-port=0 --authorization-mode=AlwaysAllow --unsafe-no-sync; }
check unsynced
rm -rf "$TMP/store" "$MEMORY/volatile"

step "a stalled disk, and a clock that jumps"
with_lossy "stall and clock" stall,clock,clock 3 --stall-ms 3000

step "a full disk"
mkdir "$TMP/small"
if unshare -m "$ROOT/tests/faults/small-disk" "$TMP/small" 20m true 2>/dev/null; then
    WRAP="unshare -m $ROOT/tests/faults/small-disk $TMP/small 20m" DATA=$TMP/small/store hurt "full disk" full 1
fi
