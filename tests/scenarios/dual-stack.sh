# limit: 60 s
# Services of both families: an API server with a range of each, the controllers, and kube-proxy in a namespace that plays a node between
# clients and pods; one Service is reached by both of its addresses through the kernel. kubectl makes it, and takes the second one away.
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-proxy; do need_program $program; done
kubectl_1_35
NS=c-$$-dual
PIDS=
trap 'for pid in $PIDS; do kill $pid 2>/dev/null; done; wait 2>/dev/null; for n in node pods; do ip netns del $NS-$n 2>/dev/null; done; _end' EXIT
in_ns() { # in_ns NAME COMMAND...
    local n=$1
    shift
    ip netns exec "$NS-$n" "$@"
}
background() { # background NAMESPACE FILE COMMAND...
    local n=$1 out=$2
    shift 2
    ip netns exec "$NS-$n" timeout 55 "$@" >"$TMP/$out" 2>&1 &
    PIDS="$PIDS $!"
}
kc() { in_ns node timeout 20 "$KUBECTL" --kubeconfig=/dev/null --server=http://127.0.0.1:8080 "$@"; }

for n in node pods; do ip netns add $NS-$n && in_ns $n ip link set lo up; done
ip -n $NS-node link add pods type veth peer name eth0 netns $NS-pods
ip -n $NS-node addr add 10.9.1.254/24 dev pods
ip -n $NS-node addr add fd09:1::fe/64 dev pods nodad
ip -n $NS-pods addr add 10.9.1.1/24 dev eth0
ip -n $NS-pods addr add fd09:1::1/64 dev eth0 nodad
ip -n $NS-node link set pods up
ip -n $NS-pods link set eth0 up
ip -n $NS-node route add default via 10.9.1.253
ip -n $NS-node -6 route add default via fd09:1::fd
ip -n $NS-pods route add default via 10.9.1.254
ip -n $NS-pods -6 route add default via fd09:1::fe
mkdir "$TMP/www"
echo "the pod" >"$TMP/www/index.html"
background pods four.out python3 -m http.server --directory "$TMP/www" --bind 10.9.1.1 8081
background pods six.out python3 -m http.server --directory "$TMP/www" --bind fd09:1::1 8081

step "an API server with a range of each family"
background node api.log "$BIN/kube-apiserver" --store=memory --cert-dir="$TMP/pki" --bind-address=127.0.0.1 --secure-port=16443 \
    --service-cluster-ip-range=10.96.0.0/16,fd96::/112 --advertise-address=10.9.1.254
eventually 15 out_has ok in_ns node curl -sS -m 3 http://127.0.0.1:8080/readyz
background node manager.log "$BIN/kube-controller-manager" --master=http://127.0.0.1:8080 --allocate-node-cidrs \
    --cluster-cidr=10.244.0.0/16,fd00:244::/56 --node-cidr-mask-size-ipv4=24 --node-cidr-mask-size-ipv6=64 \
    --service-cluster-ip-range=10.96.0.0/16,fd96::/112 --controllers=endpointslice-controller,node-ipam-controller,service-cidr-controller
background node proxy.log "$BIN/kube-proxy" --master=http://127.0.0.1:8080 --hostname-override=here --cluster-cidr=10.9.1.0/24,fd09:1::/64
cat >"$TMP/objects.yaml" <<'YAML'
{apiVersion: v1, kind: Node, metadata: {name: here}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: default}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: default, labels: {app: web}}, spec: {nodeName: here, containers: [{name: c, image: none}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: default}, spec: {ipFamilyPolicy: RequireDualStack, selector: {app: web}, ports: [{port: 80, targetPort: 8081}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: one, namespace: default}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8081}]}}
YAML
check kc create -f "$TMP/objects.yaml" --validate=false
check kc patch pod p --subresource=status --type=merge -p '{"status":{"phase":"Running","podIP":"10.9.1.1","podIPs":[{"ip":"10.9.1.1"},{"ip":"fd09:1::1"}],"conditions":[{"type":"Ready","status":"True"}]}}'
field() { kc get "$1" "$2" -o "jsonpath={$3}"; }
check_out 'IPv4 IPv6' field service web '.spec.ipFamilies[0]} {.spec.ipFamilies[1]'
check_out '["10.96.' field service web .spec.clusterIPs
FOUR=$(field service web '.spec.clusterIPs[0]')
SIX=$(field service web '.spec.clusterIPs[1]')
check_out fd96:: echo "$SIX"
check_out 10.96.0.1 field service kubernetes .spec.clusterIP
check_out SingleStack field service kubernetes .spec.ipFamilyPolicy
check_out SingleStack field service one .spec.ipFamilyPolicy
eventually 10 out_has '["10.244.0.0/24","fd00:244::/64"]' field node here .spec.podCIDRs

step "kube-proxy leads both addresses to the pod"
get() { in_ns node curl -sSg -m 2 "http://$1/"; }
eventually 10 out_has 'the pod' get "$FOUR"
eventually 10 out_has 'the pod' get "[$SIX]"
check_out IPv6 kc get endpointslices -l kubernetes.io/service-name=web
ONE=$(field service one .spec.clusterIP)
eventually 5 out_has 'the pod' get "$ONE"

step "a second address is taken and given back"
check kc patch service one --type=merge -p '{"spec":{"ipFamilyPolicy":"PreferDualStack"}}'
ONE6=$(field service one '.spec.clusterIPs[1]')
check_out fd96:: echo "$ONE6"
eventually 5 out_has 'the pod' get "[$ONE6]"
check_out services/default/one kc get ipaddress "$ONE6"
check kc patch service one --type=merge -p '{"spec":{"ipFamilyPolicy":"SingleStack"}}'
check_out "[\"$ONE\"]" field service one .spec.clusterIPs
silent() { ! get "[$ONE6]" >/dev/null 2>&1; }
eventually 5 silent
refute kc get ipaddress "$ONE6"
refute kc patch service web --type=merge -p '{"spec":{"ipFamilies":["IPv6","IPv4"]}}'

step "a ServiceCIDR gives more addresses, and stays while they are in use"
check_out 10.96.0.0/16,fd96::/112 kc get servicecidr kubernetes
cat >"$TMP/more.yaml" <<'YAML'
{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: more}, spec: {cidrs: [10.97.0.0/28]}}
YAML
check kc create -f "$TMP/more.yaml" --validate=false
eventually 5 out_has True field servicecidr more '.status.conditions[0].status'
check kc create service clusterip far --tcp=80:8081 --clusterip=10.97.0.5
check kc delete servicecidr more --wait=false
eventually 5 out_has Terminating field servicecidr more '.status.conditions[0].reason'
refute kc create service clusterip far2 --tcp=80:8081 --clusterip=10.97.0.6
check kc delete service far
gone() { ! kc get servicecidr more >/dev/null 2>&1; }
eventually 15 gone
