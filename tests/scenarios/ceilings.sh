# What requests cost, in units that are the same on every machine: allocations, bytes written, instructions, wake-ups. None may be above
# its ceiling in tests/data/ceilings.tsv (bench/ceilings says how they are counted, and how a ceiling is raised).
# limit: 240 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
[ -x "$ROOT/build/release/bench/coracle-bench" ] || skip "there is no release build"
step "nothing is above its ceiling"
check "$ROOT/bench/ceilings" "$BIN" "$ROOT/build/release"
cat "$TMP/out"
