# Tunnels to nodes. First a node behind NAT that opens its own (reverse), and two sshd on loopback; then a cluster whose API server reaches
# its kubelets by SSH alone.
# limit: 180 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy tunnel; do need_program $program; done
[ -x /usr/sbin/sshd ] || skip "there is no sshd"
kubectl_1_35
LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")/../lib" && pwd)

# ---- three hosts: master --- router (NAT) --- node ----
M=$NAME-m R=$NAME-r N=$NAME-n
PIDS=
in_ns() { local ns=$1; shift; ip netns exec "$ns" "$@"; }
# start NAME NAMESPACE COMMAND...: in the background; its output is $TMP/NAME.log
start() {
    local name=$1 ns=$2
    shift 2
    ip netns exec "$ns" "$@" >"$TMP/$name.log" 2>&1 &
    echo $! >"$TMP/$name.pid"
    PIDS="$PIDS $!"
}
# A process and all that it started, the last ones first.
kill_tree() {
    local child
    for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do kill_tree "$child"; done
    kill "$1" 2>/dev/null
}
stop() { kill "$(cat "$TMP/$1.pid")" 2>/dev/null; wait "$(cat "$TMP/$1.pid")" 2>/dev/null; }
leave() {
    local status=$?
    for pid in $PIDS; do kill_tree "$pid"; done
    for ns in "$M" "$R" "$N"; do ip netns del "$ns" 2>/dev/null; done
    if [ "$FAILED" != 0 ]; then for log in "$TMP"/*.log; do say "--- $log"; tail -n 12 "$log" | cut -c1-300; done; fi
    (exit $status)
    _end
}
trap leave EXIT

step "hosts"
for ns in "$M" "$R" "$N"; do check ip netns add "$ns"; ip -n "$ns" link set lo up; done
ip link add m0 netns "$M" type veth peer name m1 netns "$R"
ip link add n0 netns "$N" type veth peer name n1 netns "$R"
for where in "$M m0 198.51.100.1/24" "$R m1 198.51.100.2/24" "$R n1 192.168.77.1/24" "$N n0 192.168.77.2/24"; do
    set -- $where
    ip -n "$1" addr add "$3" dev "$2" && ip -n "$1" link set "$2" up
done
ip -n "$N" route add default via 192.168.77.1
in_ns "$R" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
printf '%s\n' 'table ip nat { chain post { type nat hook postrouting priority 100; oifname "m1" masquerade; }; }' \
    'table ip f { chain pass { type filter hook forward priority 0; policy drop; iifname "n1" accept; ct state established,related accept; }; }' |
    in_ns "$R" nft -f -
check in_ns "$M" ip route show
refute in_ns "$M" ip route get 192.168.77.2

step "certificates"
cd "$TMP" || exit 1
ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout "$1.key" -out "$1.crt" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,digitalSignature 2>/dev/null; }
# cert NAME SUBJECT USAGE SAN [CA]
cert() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    printf 'extendedKeyUsage=%s\nsubjectAltName=%s\n' "$3" "$4" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "${5:-ca}.crt" -CAkey "${5:-ca}.key" -CAcreateserial -days 1 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}
ca ca && ca forged
cert api /CN=kube-apiserver serverAuth IP:127.0.0.1,IP:198.51.100.1
cert hub /CN=tunnel serverAuth IP:198.51.100.1
cert admin /O=system:masters/CN=admin clientAuth DNS:admin
cert tunnel /CN=coracle-tunnel clientAuth DNS:tunnel
for n in nat-node ssh-node; do cert $n /O=system:nodes/CN=system:node:$n clientAuth DNS:$n; done
cert stranger /O=system:nodes/CN=system:node:nat-node clientAuth DNS:x forged
openssl genrsa -out sa.key 2048 2>/dev/null
kubeconfig() {
    "$KUBECTL" --kubeconfig="$1.conf" config set-cluster c --server="https://$2:6443" --certificate-authority=ca.crt --embed-certs >/dev/null
    "$KUBECTL" --kubeconfig="$1.conf" config set-credentials u --client-certificate="$1.crt" --client-key="$1.key" --embed-certs >/dev/null
    "$KUBECTL" --kubeconfig="$1.conf" config set-context d --cluster=c --user=u >/dev/null
    "$KUBECTL" --kubeconfig="$1.conf" config use-context d >/dev/null
}
kubeconfig admin 198.51.100.1
kubeconfig tunnel 127.0.0.1
for n in nat-node ssh-node stranger; do kubeconfig $n 198.51.100.1; done
fails() { ! "$@"; }
as() { local who=$1; shift; in_ns "$M" "$KUBECTL" --kubeconfig="$TMP/$who.conf" "$@"; }

step "an API server and a tunnel process"
start api "$M" "$BIN/kube-apiserver" --flag-defaults=secure --store=memory --data-dir="$TMP/store" --bind-address=0.0.0.0 --advertise-address=198.51.100.1 --tls-cert-file=api.crt \
    --tls-private-key-file=api.key --client-ca-file=ca.crt --service-account-key-file=sa.key --service-account-signing-key-file=sa.key \
    --service-account-issuer=https://x --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --kubelet-certificate-authority=ca.crt --kubelet-client-certificate=admin.crt \
    --kubelet-client-key=admin.key --tunnel-socket="$TMP/tunnel.sock"
eventually 10 as admin get --raw /readyz
check as admin create clusterrole tunnel --verb=get,list,watch --resource=nodes
check as admin create clusterrolebinding tunnel --clusterrole=tunnel --user=coracle-tunnel
check_out "SSH Tunnel Check failed" fails as admin get --raw '/healthz?verbose'
node() { # NAME ADDRESS KUBELET-PORT CIDR
    printf '{"apiVersion":"v1","kind":"Node","metadata":{"name":"%s"},"spec":{"podCIDR":"%s","podCIDRs":["%s"]}}' "$1" "$4" "$4" | as admin create -f - &&
        as admin patch node "$1" --subresource=status --type=merge -p "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"$2\"},{\"type\":\"Hostname\",\"address\":\"$1\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":$3}}}}"
}
check node nat-node 192.168.77.2 10250 10.1.1.0/24
check node ssh-node 198.51.100.1 10250 10.1.2.0/24

# sshd in the master's namespace plays the node ssh-node
mkdir -p /run/sshd && ssh-keygen -q -t ed25519 -N '' -f hostkey && ssh-keygen -q -t ed25519 -N '' -f hostkey2
sshd_config() {
    printf '%s\n' "Port 2222" "ListenAddress 198.51.100.1" "HostKey $TMP/$1" "AuthorizedKeysFile $TMP/authorized" "StrictModes no" "UsePAM no" \
        "PasswordAuthentication no" "KbdInteractiveAuthentication no" "PermitRootLogin prohibit-password" "PidFile none" >sshd.conf
}
start_sshd() { sshd_config "$1"; start sshd "$M" /usr/sbin/sshd -D -e -f "$TMP/sshd.conf"; }
# Connections that are open have sshd processes of their own, children of the first.
stop_sshd() { kill_tree "$(cat sshd.pid)"; wait "$(cat sshd.pid)" 2>/dev/null; }
: >known_hosts
start tunnel "$M" "$BIN/coracle" tunnel --kubeconfig=tunnel.conf --socket="$TMP/tunnel.sock" --ssh-user=root --ssh-keyfile="$TMP/sshkey" \
    --ssh-known-hosts-file="$TMP/known_hosts" --ssh-port=2222 --reverse-address=198.51.100.1:8132 --reverse-tls-cert-file=hub.crt \
    --reverse-tls-private-key-file=hub.key --reverse-client-ca-file=ca.crt
eventually 10 out_has "SSH Tunnel Check ok" curl -s --unix-socket tunnel.sock http://t/healthz
check test "$(stat -c %a sshkey)" = 600
check test "$(stat -c %a tunnel.sock)" = 600
through() { python3 "$LIB/connect-through.py" "$TMP/tunnel.sock" "$@"; }
paths() { curl -s --unix-socket "$TMP/tunnel.sock" http://t/paths; }
of() { paths | jq -r ".tunnels[] | select(.node == \"$1\" and .direction == \"$2\") | .$3"; }

step "what belongs to no node is not connected to"
check_out "belongs to no node" fails through 203.0.113.9:80
check_out "belongs to no node" fails through 127.0.0.1:6443
check_out "503" fails through 192.168.77.2:8000

step "a node behind NAT opens its tunnel"
mkdir www && echo "page of the node" >www/index.html
start web "$N" python3 -m http.server --bind 192.168.77.2 --directory www 8000
agent() { start agent "$N" "$BIN/coracle" tunnel --reverse --server=198.51.100.1:8132 --kubeconfig="$1.conf" --node-name=nat-node --allow-loopback-ports=8000; }
agent stranger
sleep 1
check test "$(of nat-node reverse state)" = waiting
check grep -q "is refused" tunnel.log
stop agent
agent nat-node
eventually 10 out_has open of nat-node reverse state
check_out "page of the node" through 192.168.77.2:8000
check_out "page of the node" through nat-node:8000
check_out "page of the node" as admin get --raw /api/v1/nodes/http:nat-node:8000/proxy/index.html
check test "$(of nat-node reverse trust)" = certificate

step "the agent is away: 503; it comes back"
stop agent
eventually 5 out_has waiting of nat-node reverse state
refute through 192.168.77.2:8000
check_out "503" fails through 192.168.77.2:8000
refute as admin get --raw /api/v1/nodes/http:nat-node:8000/proxy/index.html
agent nat-node
eventually 10 through 192.168.77.2:8000

step "SSH: our key must be authorized, the host key pinned"
start_sshd hostkey
start web2 "$M" python3 -m http.server --bind 198.51.100.1 --directory www 8001
eventually 15 out_has "HOST KEY UNKNOWN" of ssh-node ssh lastError
check "$BIN/coracle" tunnel pin --host=198.51.100.1 --ssh-port=2222 --public-key-file=hostkey.pub --ssh-known-hosts-file="$TMP/known_hosts"
check test "$(cat known_hosts)" = "[198.51.100.1]:2222 $(cut -d' ' -f1,2 hostkey.pub)"
eventually 20 out_has "authorized_keys" of ssh-node ssh lastError
check "$BIN/coracle" tunnel authorize --public-key-file=sshkey.pub --authorized-keys-file="$TMP/authorized" --permit-open=198.51.100.1:8001
check grep -q '^restrict,port-forwarding,permitopen="198.51.100.1:8001" ssh-ed25519 ' authorized
echo "# again" >>known_hosts # tried at once, whatever the back-off
eventually 20 out_has open of ssh-node ssh state
check test "$(of ssh-node ssh trust)" = pinned
check_out "page of the node" through 198.51.100.1:8001
check_out "page of the node" as admin get --raw /api/v1/nodes/http:ssh-node:8001/proxy/index.html
check_out "did not connect" fails through 198.51.100.1:6443

step "metrics and health at the API server"
check_out "[+]SSH Tunnel Check ok" as admin get --raw '/healthz?verbose'
eventually 10 out_has 'ssh_tunnel_open_count ' as admin get --raw /metrics
check_out "ssh_tunnel_open_fail_count " as admin get --raw /metrics
check_out "apiserver_proxy_tunnel_sync_latency_secs " as admin get --raw /metrics

step "sshd is killed and comes back"
stop_sshd
eventually 5 out_has waiting of ssh-node ssh state
check_out "503" fails through 198.51.100.1:8001
start_sshd hostkey
eventually 20 through 198.51.100.1:8001

step "a forged host key is refused"
stop_sshd
start_sshd hostkey2
eventually 20 out_has "HOST KEY CHANGED" of ssh-node ssh lastError
check grep -q "HOST KEY CHANGED" tunnel.log
refute through 198.51.100.1:8001
stop_sshd

step "a node names its host key once"
check as ssh-node annotate node ssh-node coracle.local/ssh-host-keys="$(cut -d' ' -f1,2 hostkey2.pub)"
check_out "once it is set" fails as ssh-node annotate --overwrite node ssh-node coracle.local/ssh-host-keys=other
: >known_hosts
sleep 0.1
start_sshd hostkey2
eventually 40 out_has annotation of ssh-node ssh trust
eventually 20 through 198.51.100.1:8001

step "tunnels outlive the API server; a Node that is gone takes its tunnel along"
stop api
sleep 1
check_out "page of the node" through 198.51.100.1:8001
check_out "page of the node" through 192.168.77.2:8000

# ---- a cluster whose API server reaches kubelets by SSH alone ----
step "a cluster"
for name in agent tunnel web web2; do stop $name; done
stop_sshd
cd / || exit 1
up --nodes 2
STATE=/var/lib/coracle/$NAME
enter_node() { local n=$1; shift; coracle enter --name "$NAME" --node "$n" -- "$@"; }
export KUBECONFIG=$TMP/kubeconfig
check kubectl create clusterrole tunnel --verb=get,list,watch --resource=nodes
check kubectl create clusterrolebinding tunnel --clusterrole=tunnel --user=coracle-tunnel
kubectl run one --image=coracle.local/demo:1 --overrides='{"spec":{"nodeName":"node-1"}}' >/dev/null
kubectl run two --image=coracle.local/demo:1 --overrides='{"spec":{"nodeName":"node-2"}}' >/dev/null
check kubectl wait --for=condition=Ready pod/one pod/two --timeout=60s

step "its API server is started with --ssh-user"
A=$STATE/kube/apiserver
# A key of our own making, to authorize before; kube-apiserver would make one as well.
ssh-keygen -q -t ed25519 -N '' -f "$A/ssh.key"
(cd "$TMP" && cp "$STATE"/kube/controller-manager/ca.crt cl.crt && cp "$STATE"/kube/controller-manager/ca.key cl.key && cert tun /CN=coracle-tunnel clientAuth DNS:t cl) || exit 1
"$KUBECTL" --kubeconfig="$A/tunnel.conf" config set-cluster c --server=https://127.0.0.1:6443 --certificate-authority="$TMP/cl.crt" --embed-certs >/dev/null
"$KUBECTL" --kubeconfig="$A/tunnel.conf" config set-credentials u --client-certificate="$TMP/tun.crt" --client-key="$TMP/tun.key" --embed-certs >/dev/null
"$KUBECTL" --kubeconfig="$A/tunnel.conf" config set-context d --cluster=c --user=u >/dev/null
"$KUBECTL" --kubeconfig="$A/tunnel.conf" config use-context d >/dev/null
for n in 1 2; do
    D=$STATE/nodes/node-$n/conf
    mkdir -p "$D" && ssh-keygen -q -t ed25519 -N '' -f "$D/hostkey"
    echo "[10.89.0.$((n + 1))]:2222 $(cut -d' ' -f1,2 "$D/hostkey.pub")" >>"$A/known_hosts"
    printf '%s\n' "Port 2222" "HostKey $D/hostkey" "AuthorizedKeysFile $D/authorized" "StrictModes no" "UsePAM no" "PasswordAuthentication no" \
        "KbdInteractiveAuthentication no" "PermitRootLogin prohibit-password" "PidFile none" >"$D/sshd.conf"
    check "$BIN/coracle" tunnel authorize --public-key-file="$A/ssh.key.pub" --authorized-keys-file="$D/authorized"
done
node_sshd() { # N: in the background, with its pid in the host's numbers
    enter_node "node-$1" sh -c "mkdir -p /run/sshd; exec /usr/sbin/sshd -D -e -f $STATE/nodes/node-$1/conf/sshd.conf" >"$TMP/sshd-$1.log" 2>&1 &
    echo $! >"$TMP/sshd-$1.pid"
    PIDS="$PIDS $!"
}
node_sshd 1
node_sshd 2
chown 64201:64201 "$A"/ssh.key "$A"/tunnel.conf "$A"/known_hosts
# The supervisor starts this in place of the program: the same flags and those of SSH.
mv "$STATE/bin/kube-apiserver" "$STATE/bin/kube-apiserver.link"
printf '#!/bin/sh\nexec %s/bin/coracle kube-apiserver "$@" --ssh-user=root --ssh-port=2222 --ssh-keyfile=%s/ssh.key --ssh-known-hosts-file=%s/known_hosts --tunnel-kubeconfig=%s/tunnel.conf\n' \
    "$STATE" "$A" "$A" "$A" >"$STATE/bin/kube-apiserver"
chmod 755 "$STATE/bin/kube-apiserver"
# No process of the API server's user reaches a kubelet: only sshd, which is root, does.
enter_node node-1 nft -f - <<'R'
table inet only_ssh { chain out { type filter hook output priority 0; meta skuid 64201 tcp dport 10250 counter reject; }; }
R
kill $(pgrep -U 64201 -f -- "--data-dir=$STATE/store")
eventually 20 out_has "SSH Tunnel Check ok" kubectl get --raw '/healthz?verbose'

step "logs, exec, port-forward of both nodes by SSH"
for pod in one two; do
    eventually 20 kubectl logs $pod
    check_out here kubectl exec $pod -- echo here
done
port=$(free_port)
kubectl port-forward pod/two "$port:8080" >"$TMP/pf.log" 2>&1 &
PIDS="$PIDS $!"
eventually 10 out_has version=1 curl -s --max-time 3 "http://127.0.0.1:$port/"
check_out version=1 kubectl get --raw /api/v1/namespaces/default/pods/http:two:8080/proxy/
eventually 5 out_has "accepted publickey" sh -c "tr A-Z a-z <'$TMP/sshd-2.log'"

step "the catalog of paths knows the tunnels, and what is safe inside them"
catalog() { coracle paths -o json | jq -e "$1"; }
for n in 1 2; do
    check catalog "any(.paths[]; .id == \"tunnel-node\" and .to.node == \"node-$n\" and .transport == \"ssh\" and .verdict == \"safe\" and .openConnections == 1)"
    check catalog "any(.paths[]; .id == \"apiserver-kubelet\" and .to.node == \"node-$n\" and .verdict == \"safe\" and .server == \"verified\")"
done
check catalog 'any(.paths[]; .id == "apiserver-backends" and .transport != "tls" and .connections > 0 and .verdict == "safe")'
check catalog 'any(.paths[]; .from.name == "tunnel" and .to.name == "kube-apiserver" and .server == "verified")'
check coracle paths

step "without its sshd node-2 is out of reach, though a way is there"
kill_tree "$(cat "$TMP/sshd-2.pid")"
eventually 10 out_has "SSH tunnel to node" sh -c "'$KUBECTL' logs two 2>&1; true"
check_out here kubectl exec one -- echo here
node_sshd 2
eventually 30 kubectl logs two
check_out 'packets 0 ' enter_node node-1 nft list table inet only_ssh
down
