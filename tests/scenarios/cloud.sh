# cloud-controller-manager with bare metal: new nodes, load balancers' addresses that a neighbour on the same link reaches by real ARP,
# the node that answers for them dies, routes, pools that are empty, and everything given back.
# limit: 150 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager cloud-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
kubectl_1_35
on() { local node=$1; shift; coracle enter --name "$NAME" --node "$node" -- "$@"; }
# start NODE NAME PROGRAM FLAGS...: in the background; its log is /tmp/NAME.log there.
start() {
    local node=$1 name=$2 program=$3
    shift 3
    on "$node" sh -c 'name=$1; shift; "$@" >/tmp/$name.log 2>&1 & echo $! >/tmp/$name.pid' start "$name" "$BIN/$program" "$@"
}
stop() { on "$1" sh -c 'kill $(cat /tmp/$1.pid)' stop "$2"; }
client() { on node-1 sh -c 'nsenter -t $(cat /tmp/client.pid) -n "$@"' client "$@"; }
get() { client curl -s -m 2 "http://$1/"; }
ip_of() { kubectl get service "$1" -o 'jsonpath={.status.loadBalancer.ingress[0].ip}'; }
has_ip() { [ "$(ip_of "$1")" = "$2" ]; }
holder() { kubectl get lease -n kube-system "bare-metal-$1" -o 'jsonpath={.spec.holderIdentity}'; }
held_by_other() { local now; now=$(holder "$1"); [ -n "$now" ] && [ "$now" != "$2" ]; }
is_held() { held_by_other "$1" ""; }
mac_of() { on "$1" cat /sys/class/net/eth0/address; }
# The client's kernel has learned that address from that node.
learned() { client ip neigh show "$1" | grep -qF "$(mac_of "$2")"; }
events_of() { kubectl get events --field-selector "involvedObject.name=$1" -o 'jsonpath={range .items[*]}{.reason}: {.message}{"\n"}{end}'; }
no_lease() { ! kubectl get lease -n kube-system "bare-metal-$1"; }
service() { printf 'apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]%s}\n' "$1" "$2"; }

up --nodes 3
check kubectl create deployment web --image=coracle.local/demo:1 --replicas=4
check kubectl apply -f "$ROOT/docs/cloud-rbac.yaml"
cat >"$TMP/cloud.yaml" <<END
apiVersion: bare-metal.coracle.local/v1
kind: BareMetalConfiguration
region: home
nodes:
- name: hand
  zone: rack-1
  instanceType: nuc
  addresses: [{type: InternalIP, address: 10.89.0.77}]
- name: ghost
  absent: true
loadBalancer:
  leaseDuration: 3s
  pools:
  - {name: lan, addresses: [10.89.0.200-10.89.0.201]}
  - {name: six, addresses: ['fd00:89::50'], interfaces: [eth0]}
END
# A kubeconfig with the rights of one service account, in every node.
for account in cloud-controller-manager bare-metal-agent; do
    token=$(kubectl create token -n kube-system "$account" --duration=1h)
    ca=$(kubectl config view --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}')
    printf '%s\n' 'apiVersion: v1' 'kind: Config' 'current-context: c' "clusters: [{name: c, cluster: {server: 'https://10.89.0.2:6443', certificate-authority-data: $ca}}]" \
        'contexts: [{name: c, context: {cluster: c, user: u}}]' "users: [{name: u, user: {token: $token}}]" >"$TMP/$account"
    for node in node-1 node-2 node-3; do on $node sh -c "umask 77; cat >/tmp/$account.kubeconfig" <"$TMP/$account"; done
done
for node in node-1 node-2 node-3; do on $node sh -c "cat >/tmp/cloud.yaml" <"$TMP/cloud.yaml"; done
CCM="--flag-defaults=secure --cloud-provider=bare-metal --cloud-config=/tmp/cloud.yaml"

step "the client is another machine on the nodes' link"
check on node-1 sh -c 'unshare -n sleep 1000 & echo $! >/tmp/client.pid; sleep 0.3
    ip link add link eth0 name lan type macvlan mode bridge && ip link set lan netns $(cat /tmp/client.pid)'
check client sh -c 'ip link set lo up; ip addr add 10.89.0.99/24 dev lan; ip addr add fd00:89::99/64 dev lan nodad; ip link set lan up'
check kubectl label node node-1 node.kubernetes.io/exclude-from-external-load-balancers=

step "a Service gets an address of the pool, with the events of Kubernetes"
check start node-1 cloud cloud-controller-manager $CCM --kubeconfig=/tmp/cloud-controller-manager.kubeconfig --node-monitor-period=1s
service a "" | check kubectl apply -f -
eventually 10 has_ip a 10.89.0.200
eventually 5 out_has EnsuredLoadBalancer events_of a
check_out EnsuringLoadBalancer events_of a
check_out service.kubernetes.io/load-balancer-cleanup kubectl get service a -o yaml
refute get 10.89.0.200

step "agents: one node answers for it, and the neighbour reaches the pods"
for node in node-1 node-2 node-3; do
    check start $node agent cloud-controller-manager $CCM --kubeconfig=/tmp/bare-metal-agent.kubeconfig --node-agent --hostname-override=$node \
        --secure-port=0 --allocate-node-cidrs --cluster-cidr=10.244.0.0/16
done
eventually 10 is_held 0a5900c8
FIRST=$(holder 0a5900c8)
check [ "$FIRST" != node-1 ]
check_out "successfully rolled out" kubectl rollout status deployment/web --timeout=60s
eventually 10 out_has version=1 get 10.89.0.200
check learned 10.89.0.200 "$FIRST"
eventually 5 out_has "Node $FIRST answers for 10.89.0.200" events_of a

step "the address is on no link: nothing but the Service is there"
refute sh -c "'$BIN/coracle' enter --name $NAME --node $FIRST -- ip -o addr | grep 10.89.0.200"
refute client curl -s -m 1 "http://10.89.0.200:10250/"

step "each node has routes to the others' pods, marked as ours, and says so"
CIDR=$(kubectl get node node-2 -o 'jsonpath={.spec.podCIDR}')
eventually 10 out_has "$CIDR via 10.89.0.3" on node-3 ip route show proto 207
check_out "$CIDR via 10.89.0.3" on node-1 ip route show proto 207
refute sh -c "'$BIN/coracle' enter --name $NAME --node node-2 -- ip route show proto 207 | grep -F $CIDR"
eventually 10 out_has "False RouteCreated" kubectl get node node-3 -o 'jsonpath={.status.conditions[?(@.type=="NetworkUnavailable")].status} {.status.conditions[?(@.type=="NetworkUnavailable")].reason}'

step "IPv6: by neighbour discovery"
service six "" | check kubectl apply -f -
eventually 10 has_ip six 10.89.0.201
check kubectl patch service six --subresource=status -p '{"status":{"loadBalancer":{"ingress":[{"ip":"fd00:89::50"}]}}}'
eventually 10 is_held fd000089000000000000000000000050
SIX=$(holder fd000089000000000000000000000050)
asks_six() { client curl -g -s -m 1 'http://[fd00:89::50]/'; learned fd00:89::50 "$SIX"; }
eventually 10 asks_six

step "started anew, it gives nothing twice"
check kubectl delete service six
check stop node-1 cloud
check start node-1 cloud cloud-controller-manager $CCM --kubeconfig=/tmp/cloud-controller-manager.kubeconfig --node-monitor-period=1s --leader-elect=false
service again "" | check kubectl apply -f -
eventually 10 has_ip again 10.89.0.201
check has_ip a 10.89.0.200
check kubectl delete service again

step "a pool that is empty is an event, and what is given back is given on"
service b "" | check kubectl apply -f -
eventually 10 has_ip b 10.89.0.201
service c "" | check kubectl apply -f -
eventually 10 out_has "SyncLoadBalancerFailed: Error syncing load balancer: no IPv4 address is free" events_of c
check kubectl delete service b
eventually 10 has_ip c 10.89.0.201

step "the API is away for longer than the lease: the address is answered for all the same"
eventually 10 get 10.89.0.200
api_pid() { coracle status --name "$NAME" | awk '$1 == "kube-apiserver" { for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+$/) { print $i; exit } }'; }
PID=$(api_pid)
kill -STOP "$PID"
sleep 4
client ip neigh flush all
check get 10.89.0.200
kill -CONT "$PID"
check_out "stood for until another node does" on "$FIRST" cat /tmp/agent.log
eventually 10 out_has "renewed again" on "$FIRST" cat /tmp/agent.log
check [ "$(holder 0a5900c8)" = "$FIRST" ]

step "externalTrafficPolicy: Local: a node with a pod answers, and another one when the pod moves"
check kubectl delete service c --wait=true
check kubectl create deployment one --image=coracle.local/demo:1
check kubectl patch deployment one -p '{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null},"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"node-2"},"terminationGracePeriodSeconds":0}}}}'
printf 'apiVersion: v1\nkind: Service\nmetadata: {name: local}\nspec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: one}, ports: [{port: 80, targetPort: 8080}]}\n' | check kubectl apply -f -
is_holder() { [ "$(holder "$1")" = "$2" ]; }
eventually 20 is_holder 0a5900c9 node-2
eventually 5 get 10.89.0.201
check kubectl patch deployment one -p '{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"node-3"}}}}}'
eventually 20 is_holder 0a5900c9 node-3
eventually 5 get 10.89.0.201
check kubectl delete service local

step "the node that answers dies: another one does within the lease, and tells everybody"
eventually 10 get 10.89.0.200
BEGAN=$(date +%s%N)
check on "$FIRST" ip link set eth0 down
eventually 8 held_by_other 0a5900c8 "$FIRST"
SECOND=$(holder 0a5900c8)
eventually 5 learned 10.89.0.200 "$SECOND"
say "   the client knows of the other node after $((($(date +%s%N) - BEGAN) / 1000000)) ms"
# Endpoints of the dead node are chosen, too, until it is found to be dead.
eventually 20 out_has version=1 get 10.89.0.200
check on "$FIRST" sh -c 'ip link set eth0 up; ip route replace default via 10.89.0.1'

step "an agent that ends gives its addresses back at once"
eventually 20 out_has "HTTP" on "$FIRST" curl -k -s -i -m 2 https://10.89.0.2:6443/livez
check stop "$SECOND" agent
eventually 5 held_by_other 0a5900c8 "$SECOND"

step "a node of a kubelet with --cloud-provider=external is made ready by the provider"
on node-1 sh -c 'cat >/tmp/admin.kubeconfig' <"$KUBECONFIG"
check start node-1 hand kubelet --flag-defaults=secure --master=https://10.89.0.2:6443 --kubeconfig=/tmp/admin.kubeconfig --hostname-override=hand --cloud-provider=external \
    --node-ip=10.89.0.66 --root-dir=/var/lib/hand --cert-dir=/tmp/hand --port=0 --healthz-port=0 --fail-swap-on=false --cgroups-per-qos=false \
    --container-runtime-endpoint=unix:///run/nothing.sock
eventually 10 out_has 10.89.0.77 kubectl get node hand -o yaml
eventually 10 out_has "providerID: bare-metal://hand" kubectl get node hand -o yaml
check_out "topology.kubernetes.io/zone: rack-1" kubectl get node hand -o yaml
check_out "alpha.kubernetes.io/provided-node-ip: 10.89.0.66" kubectl get node hand -o yaml
refute sh -c "'$KUBECTL' get node hand -o yaml | grep cloudprovider.kubernetes.io/uninitialized"

step "a machine that exists no more takes its Node with it"
printf 'apiVersion: v1\nkind: Node\nmetadata: {name: ghost}\n' | check kubectl create -f -
eventually 10 out_has "NotFound" kubectl get node ghost

step "deletion gives everything back"
check kubectl delete service a --timeout=20s
eventually 10 sh -c "! '$KUBECTL' get lease -n kube-system bare-metal-0a5900c8 -o 'jsonpath={.spec.holderIdentity}' | grep -q node"
refute get 10.89.0.200
down
