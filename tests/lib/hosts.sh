# Bare hosts for scenarios of `coracle server` and `coracle join`: `. "$(dirname "$0")/../lib/hosts.sh"` after scenario.sh.
#
# The nodes of a cluster of which nothing but the namespaces is started: each has network, mounts, pids, control groups, /var, /run and /tmp
# of its own, and an /etc of its own besides. Host N is 10.89.0.(N+1), all on one switch with no way out; host 1 is left alone, as
# the supervisor of the namespaces has the API's port there.
#
#   hosts 4                       makes hosts 1 to 4
#   on 2 COMMAND...               runs a command there
#   start_on 2 NAME COMMAND...    the same in the background; its output is $TMP/NAME.log
#   stop_on NAME                  ends it, and waits
#   state_on 2                    what is there, as text to compare
hosts() {
    check coracle up --name "$NAME" --port "$(free_port)" --nodes "$1" --wait 0 --kubeconfig none \
        --without kube-apiserver,kube-controller-manager,kube-scheduler,containerd,images,kubelet,kube-proxy || exit 1
    HOST_BIN=/var/lib/coracle/$NAME/bin
    local n
    for n in $(seq 1 "$1"); do
        check on "$n" sh -c 'cp -a /etc /run/etc && mount --bind /run/etc /etc &&
            rm -rf /etc/coracle && rmdir /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers' || exit 1
    done
}
on() {
    local n=$1
    shift
    env -u KUBECONFIG "$BIN/coracle" enter --name "$NAME" --node "node-$n" -- "$@"
}
start_on() {
    local n=$1 name=$2
    shift 2
    on "$n" "$@" >"$TMP/$name.log" 2>&1 &
    echo $! >"$TMP/$name.pid"
}
# What we started are shells and nsenter; what they run is further down.
stop_on() {
    local job pid next
    job=$(cat "$TMP/$1.pid")
    pid=$job
    while next=$(cut -d' ' -f1 "/proc/$pid/task/$pid/children" 2>/dev/null) && [ -n "$next" ] &&
        grep -qE '^(bash|sh|env|nsenter|coracle)$' "/proc/$pid/comm" && [ "$(readlink "/proc/$pid/ns/pid")" = "$(readlink /proc/self/ns/pid)" ]; do
        pid=$next
    done
    kill "$pid" 2>/dev/null
    wait "$job" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
}
# What a host could be left with, as text to compare.
state_on() {
    on "$1" sh -c 'ip -o link | cut -d: -f2 | cut -d@ -f1; ip route; nft list ruleset; findmnt -rn -o TARGET | grep -v ^/run/netns; ps -eo comm=
        find /sys/fs/cgroup -maxdepth 2 -name "kubepods*"
        find /etc /opt /usr/local /var /run -path /run/etc -prune -o -type s -printf "socket %p\n" -o -printf "%p\n"' 2>/dev/null | grep -vxE 'ps|sh|find|nsenter|sort|.*/nodes/.*' | sort
}
