# The API by itself, with the kubectl of Debian and a recent one: objects live and die, and what was acknowledged survives kill -9.
# limit: 180 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kube-apiserver
WITHOUT=--without=containerd,images,kube-controller-manager,kube-scheduler,kubelet,kube-proxy
apiserver_pid() { coracle status --name "$NAME" | sed -nE 's/^kube-apiserver .* 127\.0\.0\.1:6443 +([0-9]+) .*/\1/p'; }

step "the API server answers"
up --wait 0 $WITHOUT
kubectl_1_35
eventually 20 kubectl get --raw /readyz

life() {
    step "$1: a namespace, and objects in it"
    check kubectl create namespace "ns-$1"
    check kubectl -n "ns-$1" create configmap c --from-literal=a=1 --from-literal=b=2
    check_out '"a":"1"' kubectl -n "ns-$1" get configmap c -o 'jsonpath={.data}'
    refute kubectl -n "ns-$1" create configmap c
    check_out 'already exists' sh -c "'$KUBECTL' -n ns-$1 create configmap c 2>&1; true"
    check kubectl -n "ns-$1" label configmap c tier=web
    check_out configmap/c kubectl -n "ns-$1" get configmap -l tier=web -o name
    check kubectl -n "ns-$1" annotate configmap c note=hello
    check kubectl -n "ns-$1" patch configmap c --type=merge -p '{"data":{"a":"3"}}'
    check kubectl -n "ns-$1" patch configmap c --type=json -p '[{"op":"remove","path":"/data/b"}]'
    check kubectl -n "ns-$1" patch configmap c -p '{"data":{"d":"4"}}'
    check_out '{"a":"3","d":"4"}' kubectl -n "ns-$1" get configmap c -o 'jsonpath={.data}'
    step "$1: apply"
    printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ns-%s}\ndata: {k: dg==}\n' "$1" >"$TMP/s.yaml"
    check_out created kubectl apply -f "$TMP/s.yaml"
    check_out unchanged kubectl apply -f "$TMP/s.yaml"
    sed -i 's/dg==/dw==/' "$TMP/s.yaml"
    check_out configured kubectl apply -f "$TMP/s.yaml"
    check_out dw== kubectl -n "ns-$1" get secret s -o 'jsonpath={.data.k}'
    step "$1: looking around"
    check_out configmaps kubectl api-resources
    check_out 'apps/v1' kubectl api-versions
    check_out FIELDS kubectl explain pod.spec.containers
    check_out yes kubectl auth can-i create pods
    check_out no sh -c "'$KUBECTL' auth can-i create pods --as=nobody 2>/dev/null; true"
    check_out ns-"$1" kubectl describe namespace "ns-$1"
    refute kubectl get nothing
    check_out 'unknown field' sh -c "printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nwrong: 1\n' | '$KUBECTL' create -f - 2>&1; true"
    step "$1: a watch sees what happens"
    timeout 10 "$KUBECTL" -n "ns-$1" get configmap -w -o name >"$TMP/watch" 2>&1 &
    local watcher=$!
    eventually 5 grep -q configmap/c "$TMP/watch"
    check kubectl -n "ns-$1" create configmap later
    eventually 5 grep -q configmap/later "$TMP/watch"
    kill $watcher 2>/dev/null
    wait $watcher 2>/dev/null
    step "$1: deleting"
    check kubectl -n "ns-$1" delete configmap c
    refute kubectl -n "ns-$1" get configmap c
}

kubectl_1_35
life 1-35
kubectl_1_20
life 1-20

step "an answer survives kill -9"
kubectl_1_35
check kubectl create configmap kept --from-literal=a=1
before=$(kubectl get configmap kept -o 'jsonpath={.metadata.uid} {.metadata.resourceVersion}')
for _ in 1 2 3; do
    check kill -9 "$(apiserver_pid)"
    check_out "$before" kubectl get configmap kept -o 'jsonpath={.metadata.uid} {.metadata.resourceVersion}'
done

step "strangers stay outside"
port=$(sed -n 's/^port=//p' "/var/lib/coracle/$NAME/config")
check_out 401 curl -sk -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer nonsense' "https://127.0.0.1:$port/api/v1/namespaces"
check_out 403 curl -sk -o /dev/null -w '%{http_code}' "https://127.0.0.1:$port/api/v1/secrets"
refute curl -s --max-time 3 "http://127.0.0.1:$port/api"

step "the end"
down
