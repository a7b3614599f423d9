# LimitRanges and ResourceQuotas: defaults, bounds, a quota that many fill at once, and what a deletion gives back.
# limit: 60 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
up
kubectl_1_35
fails() { ! "$@"; }
used() { [ "$(kubectl -n q get resourcequota "$1" -o "jsonpath={.status.used.$2}")" = "$3" ] || { kubectl -n q get resourcequota "$1" -o yaml; return 1; }; }
check kubectl create namespace q

step "a namespace's limits"
cat >"$TMP/limits.yaml" <<'END'
apiVersion: v1
kind: LimitRange
metadata: {name: limits, namespace: q}
spec: {limits: [{type: Container, default: {cpu: 200m, memory: 64Mi}, defaultRequest: {cpu: 100m}, max: {cpu: "1", memory: 1Gi}}]}
END
check kubectl apply -f "$TMP/limits.yaml"
check kubectl -n q run one --image=coracle.local/demo:1
check_out '100m 200m' kubectl -n q get pod one -o 'jsonpath={.spec.containers[0].resources.requests.cpu} {.spec.containers[0].resources.limits.cpu}'
check_out 'maximum cpu usage per Container is 1, but limit is 2' fails kubectl -n q run two --image=coracle.local/demo:1 --overrides='{"spec":{"containers":[{"name":"two","image":"coracle.local/demo:1","resources":{"limits":{"cpu":"2"}}}]}}'

step "a quota is counted, filled by many at once and never overdrawn"
check kubectl -n q create quota full --hard=count/configmaps=11,pods=2,requests.cpu=1
eventually 10 used full pods 1
check used full 'requests\.cpu' 100m
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kubectl -n q create configmap "m$i" >"$TMP/m$i.out" 2>&1 &
    pids="${pids:-} $!"
done
for p in $pids; do wait "$p" || true; done
made=$(kubectl -n q get configmaps -o name | wc -l)
check test "$made" = 11
check used full 'count/configmaps' 11
check_out 'exceeded quota: full, requested: count/configmaps=1, used: count/configmaps=11, limited: count/configmaps=11' fails kubectl -n q create configmap more

step "what goes is given back"
check kubectl -n q delete configmap --all --wait
eventually 10 kubectl -n q create configmap more
check kubectl -n q create deployment web --image=coracle.local/demo:1 --replicas=3
eventually 20 used full pods 2
check_out 'exceeded quota: full' sh -c "$KUBECTL -n q get replicasets -o yaml; $KUBECTL -n q get events"
check kubectl -n q delete deployment web
check kubectl -n q delete pods -l app=web --force --grace-period=0 # the node is not what is tried here
eventually 20 used full pods 1
down
