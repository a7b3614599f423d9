# A control plane of three over etcd with TLS: one answer everywhere, writes of others seen, masters and members restarted under load.
# limit: 180 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
[ -x /usr/bin/etcd ] && [ -x /usr/bin/etcdctl ] || skip "etcd-server and etcd-client are not installed"
kubectl_1_35
before=$(host_state)
STATE=/var/lib/coracle/$NAME

# etcdctl with what the API servers show, on node-1.
ctl() {
    coracle enter --name "$NAME" -- env ETCDCTL_API=3 etcdctl --endpoints=https://10.89.0.2:2379,https://10.89.0.3:2379,https://10.89.0.4:2379 \
        --cacert="$STATE/kube/apiserver/etcd/ca.crt" --cert="$STATE/kube/apiserver/etcd/client.crt" \
        --key="$STATE/kube/apiserver/etcd/client.key" "$@"
}
pids_of() { coracle status --name "$NAME" | awk -v c="$1" '$1 == c { print $5 }'; }

step "three masters come up over three members"
up --store etcd --masters 3
check test "$(kubectl get nodes --no-headers | grep -cw Ready)" = 3
check test "$(pids_of etcd | wc -l)" = 3
check test "$(pids_of kube-apiserver | wc -l)" = 3
check_out "etcd-readiness ok" kubectl get --raw '/readyz?verbose'
endpoints() { kubectl get endpoints kubernetes -o 'jsonpath={.subsets[*].addresses[*].ip}'; }
eventually 15 out_has "10.89.0.2 10.89.0.3 10.89.0.4" endpoints

step "what is stored has upstream's keys and envelope"
check_out /registry/services/specs/default/kubernetes ctl get --keys-only --prefix /registry/services/specs/
check_out /registry/minions/node-3 ctl get --keys-only --prefix /registry/minions/
check_out /registry/masterleases/10.89.0.3 ctl get --keys-only --prefix /registry/masterleases/
envelope() { ctl get --print-value-only /registry/namespaces/default | head -c 3; }
check_out k8s envelope

step "the members' authority is their own: no certificate of the cluster opens the store"
stranger() {
    coracle enter --name "$NAME" -- env ETCDCTL_API=3 etcdctl --command-timeout=3s --endpoints=https://10.89.0.2:2379 \
        --cacert="$STATE/kube/apiserver/etcd/ca.crt" --cert="$STATE/kube/apiserver/apiserver-kubelet-client.crt" \
        --key="$STATE/kube/apiserver/apiserver-kubelet-client.key" get --prefix --keys-only /registry/secrets
}
refute stranger

step "a workload, and the same answer from every server"
check kubectl create deployment web --image=coracle.local/demo:1 --replicas=6
check_out "successfully rolled out" kubectl rollout status deployment/web --timeout=60s
check kubectl expose deployment web --port=80 --target-port=8080
vip=$(kubectl get service web -o 'jsonpath={.spec.clusterIP}')
for node in 1 2 3; do
    asks() { coracle enter --name "$NAME" --node node-$node -- curl -s --max-time 3 "http://$vip/"; }
    eventually 10 out_has version=1 asks
done
step "leader election holds one manager and one scheduler"
check test -n "$(kubectl get lease -n kube-system kube-controller-manager -o 'jsonpath={.spec.holderIdentity}')"
check test -n "$(kubectl get lease -n kube-system kube-scheduler -o 'jsonpath={.spec.holderIdentity}')"

step "a write past the API servers is seen by their watches"
kubectl get configmaps --watch-only -o name >"$TMP/watch" 2>/dev/null &
watcher=$!
sleep 0.5
check kubectl create configmap one --from-literal=a=b
copied() {
    ctl get --print-value-only /registry/configmaps/default/one >"$TMP/value" && head -c -1 "$TMP/value" >"$TMP/value1" &&
        ctl put /registry/configmaps/default/one <"$TMP/value1"
}
check copied
eventually 5 grep -q configmap/one "$TMP/watch"
check ctl del /registry/configmaps/default/one
gone() { ! kubectl get configmap one; }
eventually 5 gone
kill $watcher 2>/dev/null

step "API servers are restarted one after the other, and a member is killed, under load"
load() {
    local n=0 end=$(($(date +%s) + 10)) try
    while [ "$(date +%s)" -lt "$end" ]; do
        n=$((n + 1))
        for try in 1 2 3 4 5; do
            kubectl create configmap "l-$n" --from-literal=n=$n >"$TMP/load.one" 2>&1 && break
            grep -q "already exists" "$TMP/load.one" && break
            [ $try -lt 5 ] || { echo "lost: $n: $(cat "$TMP/load.one")"; }
            sleep 0.2
        done
        kubectl get configmap "l-$n" >"$TMP/load.one" 2>&1 || echo "not there: $n: $(cat "$TMP/load.one")"
    done
    echo "$n"
}
load >"$TMP/load" &
loading=$!
for pid in $(pids_of kube-apiserver); do
    kill -TERM "$pid"
    sleep 2
done
kill -9 "$(pids_of etcd | head -n 1)"
wait $loading
check test "$(wc -l <"$TMP/load")" = 1
check test "$(kubectl get configmaps -o name | grep -c /l-)" = "$(tail -n 1 "$TMP/load")"
check test "$(kubectl get nodes --no-headers | grep -cw Ready)" = 3
healthy() { ! coracle status --name "$NAME" | grep -E '^(etcd|kube-apiserver)' | grep -vw ok; }
eventually 20 healthy

step "a master is lost, and the managers of another go on"
first=$(pids_of kube-controller-manager | head -n 1)
kill -9 "$first"
check kubectl scale deployment web --replicas=7
check_out "successfully rolled out" kubectl rollout status deployment/web --timeout=40s

step "down leaves nothing"
down
check same_state "$before"
