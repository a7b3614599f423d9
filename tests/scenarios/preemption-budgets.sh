# Preemption spares what a disruption budget guards, be it less important.
# limit: 90 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kubelet
up
kubectl_1_35
cd "$TMP" || exit 1
node=$(kubectl get nodes -o 'jsonpath={.items[0].metadata.name}')
# pod NAME CLASS: has the label app=NAME, and two of them fill the node
pod() {
    kubectl apply -f - <<E2
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $1}}
spec:
  nodeSelector: {kubernetes.io/hostname: $node}
  priorityClassName: $2
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: "coracle.local/busybox:1", command: [sleep, "1000"],
     resources: {requests: {example.com/seat: 1}, limits: {example.com/seat: 1}}}
E2
}
seats() { kubectl get node "$node" -o 'jsonpath={.status.allocatable.example\.com/seat}'; }
runs() { kubectl get pod "$1" -o 'jsonpath={.status.phase}' | grep -q Running; }
allowed() { kubectl get pdb one -o 'jsonpath={.status.disruptionsAllowed}/{.status.currentHealthy}'; }

step "the guarded pod stays, the more important one goes"
check kubectl patch node "$node" --subresource=status -p '{"status":{"capacity":{"example.com/seat":"2"},"allocatable":{"example.com/seat":"2"}}}'
eventually 5 out_has 2 seats
for class in low:1 middle:50 high:100; do
    check kubectl create priorityclass "${class%:*}" --value="${class#*:}"
done
check pod guarded low
check pod free middle
eventually 20 runs guarded
eventually 20 runs free
check kubectl create pdb one --selector=app=guarded --min-available=1
eventually 10 out_has 0/1 allowed
check pod wanted high
eventually 30 runs wanted
check runs guarded
refute kubectl get pod free
check_out Preempted kubectl get events --field-selector involvedObject.name=free
check kubectl delete pods --all
down
