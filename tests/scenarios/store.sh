# coracle store beside a running cluster: figures, a check, a backup; then a restore that clients survive, and a move to etcd and back.
# limit: 120 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kube-apiserver
kubectl_1_35
WITHOUT=--without=containerd,images,kube-controller-manager,kube-scheduler,kubelet,kube-proxy
STORE=/var/lib/coracle/$NAME/store/coracle.db
configmaps() { kubectl get configmaps -o 'jsonpath={.items[*].metadata.name}'; }

step "figures and a check while the server writes"
up --wait 0 $WITHOUT
eventually 20 kubectl get --raw /readyz
check kubectl create configmap before --from-literal=a=1
check_out "a server has it open" coracle store stats --name "$NAME"
check_out configmaps coracle store stats --name "$NAME"
check_out '"name":"configmaps"' coracle store stats --name "$NAME" -o json
check_out ": ok: " coracle store check --name "$NAME"

step "a backup is one instant, checked, and for its owner alone"
check coracle store backup "$TMP/backup" --name "$NAME"
refute coracle store backup "$TMP/backup" --name "$NAME"
check test "$(stat -c %a "$TMP/backup")" = 600
check_out ": ok: " coracle store check --file "$TMP/backup"
check kubectl create configmap after --from-literal=a=1
revision=$(kubectl get configmap after -o 'jsonpath={.metadata.resourceVersion}')

step "what is open is neither replaced nor moved"
check_out "in use" sh -c "'$BIN/coracle' store restore '$TMP/backup' --name '$NAME' --force 2>&1; true"
check_out "in use" sh -c "'$BIN/coracle' store migrate --from 'sqlite:$STORE' --to 'sqlite:$TMP/other.db' 2>&1; true"

step "restored, the cluster is as it was then, and revisions go on"
check coracle down --name "$NAME" --keep-state
check_out "already" sh -c "'$BIN/coracle' store restore '$TMP/backup' --name '$NAME' 2>&1 | sed 's/there is a store/already/'; true"
check coracle store restore "$TMP/backup" --name "$NAME" --force
up --wait 0 $WITHOUT
eventually 20 kubectl get --raw /readyz
check_out before configmaps
refute kubectl get configmap after
check kubectl create configmap later --from-literal=a=1
check test "$(kubectl get configmap later -o 'jsonpath={.metadata.resourceVersion}')" -gt "$revision"

step "to etcd and back, compared object by object"
check coracle down --name "$NAME" --keep-state
if [ -x /usr/bin/etcd ]; then
    client=$(free_port) peer=$(free_port)
    etcd --data-dir "$TMP/etcd" --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
        --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "default=http://127.0.0.1:$peer" >"$TMP/etcd.log" 2>&1 &
    etcd=$!
    trap 'kill $etcd 2>/dev/null; _end' EXIT
    eventually 10 sh -c "ETCDCTL_API=3 etcdctl --endpoints=http://127.0.0.1:$client get x"
    check_out "compared and equal" coracle store migrate --from "sqlite:$STORE" --to "etcd:http://127.0.0.1:$client"
    check_out /registry/configmaps/default/later env ETCDCTL_API=3 etcdctl --endpoints="http://127.0.0.1:$client" get --prefix --keys-only /registry/configmaps
    check_out "not empty" sh -c "'$BIN/coracle' store migrate --from 'sqlite:$STORE' --to 'etcd:http://127.0.0.1:$client' 2>&1; true"
    check_out "compared and equal" coracle store migrate --from "etcd:http://127.0.0.1:$client" --to "sqlite:$TMP/back.db"
    check_out ": ok: " coracle store check --file "$TMP/back.db"
    same_counts() { diff <(coracle store stats --file "$STORE" | sed '1,/RESOURCE/d' | awk '{print $1, $2}' | sort) \
        <(coracle store stats --file "$TMP/back.db" | sed '1,/RESOURCE/d' | awk '{print $1, $2}' | sort); }
    check same_counts
fi
down
