# StatefulSets: pods with names that last, one after the other; a roll with a partition, its history and undoing; scaling; failed pods.
# limit: 60 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kubelet
up
kubectl_1_35
cd "$TMP" || exit 1
set_of() {
    cat <<E2
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: $1}
spec:
  serviceName: $1
  replicas: 2
  podManagementPolicy: $3
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: coracle.local/demo:$2}]
E2
}
images() { kubectl get pods -l app=web --sort-by=.metadata.name -o 'jsonpath={.items[*].spec.containers[0].image}'; }
names() { kubectl get pods -l "app=$1" --sort-by=.metadata.name -o 'jsonpath={.items[*].metadata.name}'; }
names_are() { [ "$(names "$1")" = "$2" ] || { names "$1"; return 1; }; }

step "pods come in order and know who they are"
check kubectl apply -f - <<<"$(set_of web 1 OrderedReady)"
check kubectl rollout status statefulset web --timeout=30s
check_out 'web-0 web-1' names web
check_out 'web   2/2' kubectl get statefulset web --no-headers
check_out 'web-1 web web-1 1' kubectl get pod web-1 -o 'jsonpath={.spec.hostname} {.spec.subdomain} {.metadata.labels.statefulset\.kubernetes\.io/pod-name} {.metadata.labels.apps\.kubernetes\.io/pod-index}'
order() {
    kubectl get pods -l app=web -o json | python3 -c '
import json, sys
pods = {p["metadata"]["name"]: p for p in json.load(sys.stdin)["items"]}
ready = [c for c in pods["web-0"]["status"]["conditions"] if c["type"] == "Ready"][0]["lastTransitionTime"]
sys.exit(pods["web-1"]["metadata"]["creationTimestamp"] < ready)'
}
check order
check_out 'create Pod web-1 in StatefulSet web successful' kubectl get events

step "a roll stops at the partition, and goes on below it"
check kubectl patch statefulset web -p '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":1}}}}'
check kubectl set image statefulset web c=coracle.local/demo:2
check kubectl rollout status statefulset web --timeout=30s
check_out 'coracle.local/demo:1 coracle.local/demo:2' images
check kubectl delete pod web-0
check kubectl wait pod web-0 --for=create --timeout=10s
check_out 'coracle.local/demo:1' kubectl get pod web-0 -o 'jsonpath={.spec.containers[0].image}'
check kubectl patch statefulset web -p '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}'
check kubectl rollout status statefulset web --timeout=30s
check_out 'coracle.local/demo:2 coracle.local/demo:2' images

step "history, undo, restart"
check_out '2' kubectl rollout history statefulset web
check kubectl rollout undo statefulset web
check kubectl rollout status statefulset web --timeout=30s
check_out 'coracle.local/demo:1 coracle.local/demo:1' images
check_out '3' kubectl rollout history statefulset web
check kubectl rollout restart statefulset web
check kubectl rollout status statefulset web --timeout=30s

step "scaling goes from the top"
check kubectl scale statefulset web --replicas=3
eventually 20 out_has 'web   3/3' kubectl get statefulset web --no-headers
check kubectl scale statefulset web --replicas=1
eventually 20 names_are web web-0

step "its pods are left behind, and found again"
check kubectl delete statefulset web --cascade=orphan
check names_are web web-0
check kubectl apply -f - <<<"$(set_of web 1 Parallel)"
eventually 20 out_has 'web   2/2' kubectl get statefulset web --no-headers
check_out 'web' kubectl get pod web-0 -o 'jsonpath={.metadata.ownerReferences[0].name}'

step "it goes with its pods and revisions"
check kubectl delete statefulset web
none() { [ -z "$(kubectl get pods,controllerrevisions -o name)" ]; }
eventually 20 none
down
