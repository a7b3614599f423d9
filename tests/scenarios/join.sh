#!/bin/bash
# limit: 120 s
# A cluster that stays: a server, two nodes that join directly, one behind NAT that opens its tunnel, one that is reached by SSH alone.
# Hosts are namespaces with their own /etc, /var, /run; `coracle leave` leaves nothing in them.
. "$(dirname "$0")/../lib/scenario.sh"
. "$(dirname "$0")/../lib/hosts.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy tunnel; do need_program $program; done
[ -x /usr/sbin/sshd ] || skip "there is no sshd"
kubectl_1_35

step "six hosts"
hosts 6
C=$HOST_BIN/coracle
cp "$KUBECTL" "/var/lib/coracle/$NAME/nodes/node-2/tmp/kubectl"
kubectl() { on 2 /tmp/kubectl --kubeconfig /etc/coracle/admin.conf "$@"; }
or_end() { "$@" || { for log in "$TMP"/*.log; do say "--- $log"; tail -n 12 "$log" | cut -c1-300; done; logs_on 2; exit 1; }; }
logs_on() { on "$1" sh -c 'tail -n 8 /var/lib/coracle/host/logs/*.log' 2>&1 | cut -c1-300; }
fails() { ! "$@"; }
# Host 5 moves behind a router of its own: 192.168.77.2, which nobody outside has a way to.
check on 5 sh -ec '
    ip netns add router; ip link set eth0 netns router; ip link add lan0 type veth peer name lan1 netns router
    ip addr add 192.168.77.2/24 dev lan0; ip link set lan0 up
    ip -n router addr add 192.168.77.1/24 dev lan1; ip -n router link set lan1 up; ip -n router link set lo up
    ip -n router addr add 10.89.0.6/24 dev eth0; ip -n router link set eth0 up
    ip route add default via 192.168.77.1; ip netns exec router sh -c "echo 1 >/proc/sys/net/ipv4/ip_forward"
    printf "%s\n" "table ip nat { chain post { type nat hook postrouting priority 100; oifname eth0 masquerade; }; }" \
        "table ip f { chain pass { type filter hook forward priority 0; policy drop; iifname lan1 accept; ct state established,related accept; }; }" |
        ip netns exec router nft -f -'
# Host 6 has a real sshd, and what the server sends to the kubelet port is dropped.
check on 6 sh -ec '
    mkdir -p /run/sshd; ssh-keygen -q -A
    printf "%s\n" "ListenAddress 10.89.0.7" "UsePAM no" "PasswordAuthentication no" "KbdInteractiveAuthentication no" "PidFile none" >/etc/ssh/test_config
    nft add table inet test; nft "add chain inet test in { type filter hook input priority 0; }"
    nft add rule inet test in ip saddr 10.89.0.3 tcp dport 10250 counter drop'
# Host 4 looks as if systemd ran there: this systemctl starts and ends what the unit says.
check on 4 sh -ec '
    mkdir -p /run/systemd/system /run/bin
    cat >/run/bin/systemctl <<"S"
#!/bin/sh
case "$*" in
*enable*--now*coracle.service) setsid $(sed -n s/^ExecStart=//p /etc/systemd/system/coracle.service) >/tmp/unit.log 2>&1 & echo $! >/tmp/unit.pid ;;
*disable*--now*coracle.service) kill $(cat /tmp/unit.pid); while kill -0 $(cat /tmp/unit.pid) 2>/dev/null; do sleep 0.1; done ;;
*daemon-reload) ;;
*) exit 1 ;;
esac
S
    chmod 755 /run/bin/systemctl'
start_on 6 sshd /usr/sbin/sshd -D -e -f /etc/ssh/test_config
for n in 2 3 4 5 6; do state_on $n >"$TMP/before-$n"; done

step "a server"
check_out "systemd does not run here" fails on 2 "$C" server
check_out "no address that other hosts reach" fails on 2 "$C" server --foreground --advertise-address 127.0.0.1
check_out "neither server nor node" fails on 2 "$C" leave --yes
start_on 2 server "$C" server --foreground
or_end eventually 20 grep -q "The server is up" "$TMP/server.log"
check_out ok kubectl get --raw /readyz
check on 2 test "$(on 2 stat -c %a /etc/coracle/admin.conf)" = 600

step "tokens"
JOIN=$(on 2 "$C" token create --print-join-command --description "for the test")
case $JOIN in "coracle join https://10.89.0.3:6443 --token "*" --ca-pin sha256:"*) check true ;; *) check false ;; esac
TOKEN=$(echo "$JOIN" | sed 's/.*--token \([^ ]*\) .*/\1/')
PIN=${JOIN##* }
check_out "for the test" on 2 "$C" token list
refute out_has "${TOKEN#*.}" on 2 "$C" token list
check test "$(on 2 "$C" token list -o json | jq -r '.[0].usages | join(",")')" = authentication,signing
check_out "expired: false" on 2 "$C" token list -o yaml
SHORT=$(on 2 "$C" token create --ttl 1s)
check_out "takes authentication and signing" fails on 2 "$C" token create --usages everything
eventually 5 fails out_has "${SHORT%.*}" on 2 "$C" token list
GONE=$(on 2 "$C" token create -o json | jq -r .token)
check_out "deleted" on 2 "$C" token delete "${GONE%.*}"
check_out "there is no token" fails on 2 "$C" token delete "${GONE%.*}"

step "who is not the cluster is not joined"
join() { local n=$1; shift; on "$n" "$C" join https://10.89.0.3:6443 --foreground "$@"; }
check_out "--ca-pin is needed" fails join 3 --token "$TOKEN"
check_out "a token is needed" fails join 3 --ca-pin "$PIN"
check_out "no CA of cluster-info has a public key of the given pins" fails join 3 --token "$TOKEN" --ca-pin "sha256:$(printf %064d 0)"
check_out "the signature of cluster-info is not by the token" fails join 3 --token "${TOKEN%?????}aaaaa" --ca-pin "$PIN"
check_out "is not signed by the token" fails join 3 --token "$GONE" --ca-pin "$PIN"
check_out "is not signed by the token" fails join 3 --token "$SHORT" --ca-pin "$PIN"
refute on 3 test -e /etc/coracle/coracle.conf

step "two nodes join directly, one by systemd, their tokens by file and by environment"
on 3 sh -c "umask 077; echo '$TOKEN' >/run/token"
start_on 3 node-3 "$C" join https://10.89.0.3:6443 --foreground --ca-pin "$PIN" --token-file /run/token
check_out 'The node "node-4" has joined' on 4 env PATH="/run/bin:$PATH" CORACLE_TOKEN="$TOKEN" "$C" join 10.89.0.3 --ca-pin "$PIN"
check_out KillMode=process on 4 cat /etc/systemd/system/coracle.service
step "one behind NAT, and one by SSH"
echo "$TOKEN" | on 5 "$C" join https://10.89.0.3:6443 --foreground --reverse-tunnel --ca-pin "$PIN" --token - >"$TMP/node-5.log" 2>&1 &
echo $! >"$TMP/node-5.pid"
start_on 6 node-6 "$C" join https://10.89.0.3:6443 --foreground --ssh-tunnel --ca-pin "$PIN" --token "$TOKEN"
for n in 3 4 5 6; do
    or_end eventually 30 kubectl wait --for=condition=Ready node/node-$n --timeout=1s
    kubectl run p$n --image=coracle.local/demo:1 --overrides='{"spec":{"nodeName":"node-'$n'"}}' >/dev/null
done
or_end check kubectl wait --for=condition=Ready pod/p3 pod/p4 pod/p5 pod/p6 --timeout=30s
check test "$(on 6 stat -c %a /var/lib/coracle-tunnel/.ssh/authorized_keys)" = 600
check_out "already" fails join 3 --ca-pin "$PIN" --token "$TOKEN"

step "logs, exec, port-forward, proxy of each"
i=0
for n in 3 4 5 6; do
    or_end eventually 30 kubectl logs p$n
    check_out here kubectl exec p$n -- echo here
    start_on 2 forward-$n /tmp/kubectl --kubeconfig /etc/coracle/admin.conf port-forward pod/p$n 2000$n:8080
    eventually 10 out_has version=1 on 2 curl -s --max-time 3 "http://127.0.0.1:2000$n/"
    stop_on forward-$n
done
check_out "dport 10250 counter packets 0 " on 6 nft list table inet test
tunnels() { on 2 curl -s --unix-socket /run/coracle/host/tunnel/tunnel.sock http://t/paths | jq -r '.tunnels[] | .node + " " + .direction + " " + .state + " " + .trust'; }
check_out "node-3 direct open kubelet" tunnels
check_out "node-5 reverse open certificate" tunnels
check_out "node-6 ssh open pinned" tunnels
check_out "accepted publickey for coracle-tunnel" sh -c "tr A-Z a-z <'$TMP/sshd.log'"

step "every path is safe; every program is well"
or_end check on 2 "$C" paths
check_out "SSH; the host key is pinned" on 2 "$C" paths -o wide
check_out kube-scheduler on 2 "$C" status
check_out tunnel-agent on 5 "$C" status
check_out "is registered" on 3 "$C" logs kubelet
# The token is in no list of processes, also where it was typed.
listed() { on "$1" sh -c 'cat /proc/[0-9]*/cmdline' | tr '\0' ' ' | grep -F "${TOKEN#*.}"; }
for n in 3 5 6; do refute listed $n; done

step "pods reach one another and the API by its Service"
ip_of() { kubectl get pod "$1" -o 'jsonpath={.status.podIP}'; }
check_out version=1 kubectl exec p3 -- sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 $(ip_of p4) 8080"
check_out version=1 kubectl exec p6 -- sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 $(ip_of p3) 8080"
for n in 3 5; do check kubectl exec p$n -- nc -w 3 10.96.0.1 443 -e true; done

step "the programs start again where they were"
stop_on server
start_on 2 server "$C" host
or_end eventually 20 kubectl get --raw /readyz
eventually 20 kubectl exec p5 -- true
eventually 30 kubectl exec p6 -- true
stop_on node-3
start_on 3 node-3 "$C" host
eventually 20 kubectl exec p3 -- true
check test "$(kubectl get pod p3 -o 'jsonpath={.status.containerStatuses[0].restartCount}')" = 0

step "nodes leave, and nothing is left"
same_on() { state_on "$1" | diff "$TMP/before-$1" -; }
on 3 rm /run/token
check_out "Nothing was done" fails on 3 sh -c "echo n | '$C' leave"
for n in 3 4 5 6; do
    check_out "free of Coracle" on $n env PATH="/run/bin:$PATH" "$C" leave --yes
    eventually 5 same_on $n
    [ $n = 4 ] || eventually 5 fails kill -0 "$(cat "$TMP/node-$n.pid")"
done
refute on 4 test -e /etc/systemd/system/coracle.service
# Nobody takes the place of a host that was pinned.
check_out "the server has host keys of a node \"node-6\" already" fails join 6 --ssh-tunnel --ca-pin "$PIN" --token "$TOKEN"
check on 6 "$C" leave --yes
eventually 5 same_on 6
check kubectl delete node node-3

step "a server that is a node, with its objects in etcd"
if [ -x /usr/bin/etcd ]; then
    state_on 1 >"$TMP/before-1"
    start_on 1 etcd /usr/bin/etcd --data-dir=/tmp/etcd --log-level=error --listen-client-urls=http://10.89.0.2:2379 --advertise-client-urls=http://10.89.0.2:2379
    # To a terminal the whole command is printed, token and all.
    start_on 1 server-1 script -qec "$C server --foreground --node --port 7443 --tls-san api.example --etcd-servers http://10.89.0.2:2379" /dev/null
    cp "$KUBECTL" "/var/lib/coracle/$NAME/nodes/node-1/tmp/kubectl"
    kubectl_1() { on 1 /tmp/kubectl --kubeconfig /etc/coracle/admin.conf "$@"; }
    eventually 20 kubectl_1 wait --for=condition=Ready node/node-1 --timeout=1s
    check kubectl_1 run one --image=coracle.local/demo:1
    eventually 20 kubectl_1 logs one
    check_out "https://10.89.0.2:7443" on 1 "$C" token create --print-join-command
    check grep -Eq 'coracle join https://10.89.0.2:7443 --token [a-z0-9]{6}[.][a-z0-9]{16} --ca-pin sha256:' "$TMP/server-1.log"
    check_out api.example on 1 sh -c 'openssl x509 -noout -ext subjectAltName -in /var/lib/coracle/host/pki/apiserver.crt'
    # Who knows a node's token signs cluster-info as well as its server does, but has not the CA that was pinned.
    check on 1 "$C" token create --token "$TOKEN"
    eventually 5 out_has "jws-kubeconfig-${TOKEN%.*}" kubectl_1 -n kube-public get configmap cluster-info -o yaml
    check_out "no CA of cluster-info has a public key of the given pins" fails on 3 "$C" join https://10.89.0.2:7443 --foreground --token "$TOKEN" --ca-pin "$PIN"
    # A second server over the same etcd, with the same authorities.
    on 1 tar -C /var/lib/coracle/host/pki -cf - ca.crt ca.key front-proxy-ca.crt front-proxy-ca.key sa.key sa.pub |
        on 3 sh -c 'umask 077; mkdir -p /var/lib/coracle/host/pki && tar -C /var/lib/coracle/host/pki -xf -'
    start_on 3 server-3 "$C" server --foreground --etcd-servers http://10.89.0.2:2379
    cp "$KUBECTL" "/var/lib/coracle/$NAME/nodes/node-3/tmp/kubectl"
    eventually 20 out_has node-1 on 3 /tmp/kubectl --kubeconfig /etc/coracle/admin.conf get nodes
    eventually 10 out_has '10.89.0.2 10.89.0.4' on 3 /tmp/kubectl --kubeconfig /etc/coracle/admin.conf get endpointslices -l kubernetes.io/service-name=kubernetes \
        -o 'jsonpath={.items[*].endpoints[*].addresses[0]}'
    check_out "free of Coracle" on 3 "$C" leave -y
    rm "/var/lib/coracle/$NAME/nodes/node-3/tmp/kubectl"
    eventually 5 same_on 3
    check_out "free of Coracle" on 1 "$C" leave -y
    stop_on etcd
    rm -r "/var/lib/coracle/$NAME/nodes/node-1/tmp/kubectl" "/var/lib/coracle/$NAME/nodes/node-1/tmp/etcd"
    eventually 5 same_on 1
else
    SKIPPED=$((SKIPPED + 1))
fi

step "the server goes"
check_out "every object of the cluster" fails on 2 sh -c "echo | '$C' leave"
check on 2 "$C" leave --yes
rm "/var/lib/coracle/$NAME/nodes/node-2/tmp/kubectl"
eventually 5 same_on 2
stop_on sshd
down
