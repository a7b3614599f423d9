# DaemonSets on two nodes: a pod on each that it may be on, a roll and its undoing, nodes that change their minds.
# limit: 120 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kubelet
up --nodes 2
kubectl_1_35
cd "$TMP" || exit 1
set_of() {
    cat <<E2
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 0
      nodeSelector: $1
      containers: [{name: c, image: coracle.local/demo:$2}]
E2
}
images() { kubectl get pods -l app=agent -o 'jsonpath={.items[*].spec.containers[0].image}'; }
nodes() { kubectl get pods -l app=agent --sort-by=.spec.nodeName -o 'jsonpath={.items[*].spec.nodeName}'; }

step "a pod on every node"
check kubectl apply -f - <<<"$(set_of '{}' 1)"
check kubectl rollout status daemonset agent --timeout=30s
check_out 'node-1 node-2' nodes
check_out '2         2         2       2            2' kubectl get daemonset agent

step "a roll, its history and its undoing"
check kubectl set image daemonset agent c=coracle.local/demo:2
check kubectl rollout status daemonset agent --timeout=40s
check_out 'coracle.local/demo:2 coracle.local/demo:2' images
check_out '2' kubectl rollout history daemonset agent
check kubectl rollout undo daemonset agent
check kubectl rollout status daemonset agent --timeout=40s
check_out 'coracle.local/demo:1 coracle.local/demo:1' images

step "only where it may be"
check kubectl label node node-2 disk=ssd
check kubectl apply -f - <<<"$(set_of '{disk: ssd}' 1)"
one() { [ "$(nodes)" = node-2 ] || { nodes; return 1; }; }
eventually 20 one
check kubectl label node node-1 disk=ssd
two() { [ "$(nodes)" = "node-1 node-2" ] || { nodes; return 1; }; }
eventually 20 two
check kubectl label node node-2 disk-
alone() { [ "$(nodes)" = node-1 ] || { nodes; return 1; }; }
eventually 20 alone

step "it stays on a node that takes no others"
check kubectl cordon node-1
check kubectl delete pods -l app=agent --wait=true
check kubectl rollout status daemonset agent --timeout=30s
check alone

step "it goes with its pods and revisions"
check kubectl delete daemonset agent
none() { [ -z "$(kubectl get pods,controllerrevisions -o name)" ]; }
eventually 20 none
down
