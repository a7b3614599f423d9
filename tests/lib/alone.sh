# For scenarios of single programs, without a cluster: `. "$(dirname "$0")/../lib/alone.sh"` in place of scenario.sh.
#
# The scenario runs in a network namespace with a loopback of its own, in the folder $TMP; what it starts with start() ends with it.
#
#   start LOG COMMAND...    in the background
#   PIDS="$PIDS $!"         for what was started by hand
#   $LIB                    this folder
[ -n "${CORACLE_NETNS:-}" ] || [ "$(id -u)" != 0 ] || exec unshare -n env CORACLE_NETNS=1 bash "$0"
. "$(dirname "${BASH_SOURCE[0]}")/scenario.sh"
need_root
for program in python3 openssl curl jq; do command -v "$program" >/dev/null || skip "there is no $program"; done
ip link set lo up
LIB=$ROOT/tests/lib
PIDS=
trap 'status=$?; kill $PIDS 2>/dev/null; wait 2>/dev/null; (exit $status); _end' EXIT
cd "$TMP" || exit 1
start() { local log=$1; shift; "$@" >"$log" 2>&1 & PIDS="$PIDS $!"; }
