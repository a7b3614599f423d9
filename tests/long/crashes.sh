# The store is killed a hundred times while it writes, and the rooms with threads run under the thread sanitizer.
# limit: 900 s
. "$(dirname "$0")/../lib/scenario.sh"

step "kill -9 at random moments: every acknowledged write is there"
check env CORACLE_CRASH_ROUNDS=100 "$BUILD/src/store/test-store" kill

step "the thread sanitizer finds nothing in loop and store"
tsan=$ROOT/build/tsan
check "$ROOT/tools/build" "$tsan" 2 -Dbuildtype=debug -Doptimization=1 -Db_sanitize=thread -Db_lundef=false
check "$tsan/src/store/test-store"
check "$tsan/src/net/test-net" loop
