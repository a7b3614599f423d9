# Three nodes: pods are spread, reach one another across nodes, and a Service reaches all of them from everywhere.
# limit: 240 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
kubectl_1_35
before=$(host_state)

step "three nodes are ready"
up --nodes 3
check test "$(kubectl get nodes --no-headers | grep -cw Ready)" = 3
check_out 10.89.0.4 kubectl get nodes -o wide
check test "$(kubectl get nodes -o 'jsonpath={.items[*].spec.podCIDR}' | tr ' ' '\n' | sort -u | wc -l)" = 3

step "pods are spread over them"
check kubectl create deployment web --image=coracle.local/demo:1 --replicas=6
check_out "successfully rolled out" kubectl rollout status deployment/web --timeout=90s
check test "$(kubectl get pods -l app=web -o 'jsonpath={.items[*].spec.nodeName}' | tr ' ' '\n' | sort -u | wc -l)" = 3

step "pod to pod, across nodes"
from=$(kubectl get pods -l app=web -o 'jsonpath={.items[0].metadata.name}')
for ip in $(kubectl get pods -l app=web -o 'jsonpath={.items[*].status.podIP}'); do
    check_out version=1 kubectl exec "$from" -- sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 $ip 8080"
done

step "a Service from a pod and from every node"
check kubectl expose deployment web --port=80 --target-port=8080 --type=NodePort
vip=$(kubectl get service web -o 'jsonpath={.spec.clusterIP}')
port=$(kubectl get service web -o 'jsonpath={.spec.ports[0].nodePort}')
asks() { kubectl exec "$from" -- sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 $vip 80"; }
eventually 10 out_has version=1 asks
for node in node-1 node-2 node-3; do
    check_out version=1 coracle enter --name "$NAME" --node $node -- curl -s --max-time 3 "http://$vip/"
    check_out version=1 coracle enter --name "$NAME" --node $node -- curl -s --max-time 3 "http://10.89.0.2:$port/"
done

step "logs and exec reach pods of other nodes"
for pod in $(kubectl get pods -l app=web -o name); do
    check kubectl exec "$pod" -- true
    check kubectl logs "$pod"
done

step "what stays inside: addresses nobody has lead nowhere"
refute coracle enter --name "$NAME" -- curl -s --max-time 2 http://10.244.200.1/
refute coracle enter --name "$NAME" -- curl -s --max-time 2 http://10.96.250.1/

step "a node that dies comes back"
node_pid() { ps -o pid= --ppid "$(cat "/run/coracle/$NAME/lock")" | while read -r p; do [ "$(cat "/proc/$p/comm")" = coracle-node ] && nsenter -t "$p" -u hostname | grep -qx "$1" && echo "$p"; done; }
check kill -9 "$(node_pid node-3)"
eventually 60 sh -c "'$BIN/coracle' status --name '$NAME'"
eventually 60 sh -c "[ \"\$('$KUBECTL' get pods -l app=web --no-headers | grep -c ' 1/1 *Running')\" -ge 6 ]"

step "down leaves nothing"
down
eventually 10 same_state "$before"
