# A control plane with a thousand hollow nodes and ten thousand pods: filled, rolled, a tenth of its nodes lost; objectives are met.
# HOLLOW_NODES, HOLLOW_PODS and HOLLOW_OUT (a folder, for the plot) make it another size.
# limit: 600 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
nodes=${HOLLOW_NODES:-1000}
step "$nodes nodes, ${HOLLOW_PODS:-10000} pods"
check "$ROOT/bench/ramp" "$BIN" --nodes "$nodes" --pods "${HOLLOW_PODS:-10000}" --out "${HOLLOW_OUT:-$TMP}"
cat "$TMP/out"
check test -s "${HOLLOW_OUT:-$TMP}/ramp.svg"
