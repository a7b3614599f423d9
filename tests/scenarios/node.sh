# A node by itself: containerd answers, a container from our own pause image runs, down leaves nothing.
# limit: 90 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
WITHOUT=--without=kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy
ctr() { enter ctr -a /run/containerd/containerd.sock -n k8s.io "$@"; }
containerd_lives() { local pid; pid=$(coracle status --name "$NAME" | grep '^containerd .* ok ' | grep -oE 'sock +[0-9]+' | grep -oE '[0-9]+'); [ -n "$pid" ] && [ "$pid" != "${1:-}" ]; }
find_pid() { coracle status --name "$NAME" | grep '^containerd ' | grep -oE 'sock +[0-9]+' | grep -oE '[0-9]+'; }

before=$(host_state)

step "a cluster of one node starts"
up --wait 0 $WITHOUT
eventually 10 containerd_lives

step "the node is a host of its own"
check_out node-1 enter hostname
check_out "10.89.0.2/24" enter ip -4 addr show eth0
check_out "default via 10.89.0.1" enter ip route
refute enter touch /etc/coracle-was-here /usr/coracle-was-here
check enter touch /var/lib/here /tmp/here /run/here

step "the images are there and run"
eventually 20 out_has coracle.local/demo:2 ctr images ls -q
check ctr run -d coracle.local/pause:1 hold
eventually 5 out_has RUNNING ctr task ls
check ctr run --rm coracle.local/busybox:1 hello sh -c 'echo "it runs as $(id -u)"'

step "killed containerd comes back, and the container lived on"
pid=$(find_pid)
hold=$(ctr task ls | awk '$1 == "hold" { print $2 }')
check kill -9 "$pid"
eventually 10 containerd_lives "$pid"
eventually 10 out_has "$hold" ctr task ls
check_out RUNNING ctr task ls

step "pause reaps and ends on SIGTERM"
check ctr task kill -s SIGTERM hold
eventually 5 out_has STOPPED ctr task ls

step "up again changes nothing, and up after a crash works"
check coracle up --name "$NAME" --wait 0
supervisor=$(cat "/run/coracle/$NAME/lock")
check kill -9 "$supervisor"
eventually 5 sh -c "! kill -0 $supervisor 2>/dev/null"
check coracle up --name "$NAME" --wait 0
eventually 10 containerd_lives

step "nothing is left"
down
down
eventually 5 same_state "$before"

step "what is wrong is said"
check_out 'is no name for a cluster' sh -c "! '$BIN/coracle' up --name Bad_Name"
check_out 'no cluster' sh -c "! '$BIN/coracle' status --name $NAME"
check_out 'unknown flag: --what' sh -c "! '$BIN/coracle' up --what"
