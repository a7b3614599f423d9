# What people type, against a real node: the same lines with Debian's kubectl 1.20 and a recent one.
# limit: 300 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done

# A pod of the Deployment that is not ending.
a_pod() { kubectl get pods -l app=m --no-headers | awk '$3 == "Running" { print $1; exit }'; }
rolled_out() { check_out 'successfully rolled out' kubectl rollout status deployment/m --timeout=60s; }

lines() {
    step "$1: a deployment comes up"
    check_out created kubectl create deployment m --image=coracle.local/demo:1 --replicas=2
    rolled_out
    check_out 10.244. kubectl get pods -l app=m -o wide
    check_out exposed kubectl expose deployment m --port=80 --target-port=8080
    check_out deployment.apps/m kubectl get all -A
    step "$1: it is changed"
    check_out scaled kubectl scale deployment m --replicas=3
    rolled_out
    check_out 'image updated' kubectl set image deployment/m demo=coracle.local/demo:2
    rolled_out
    check_out 'rolled back' kubectl rollout undo deployment/m
    rolled_out
    check_out labeled kubectl label deployment m tier=x
    check_out annotated kubectl annotate deployment m note=y
    check_out patched kubectl patch deployment m -p '{"spec":{"template":{"metadata":{"annotations":{"a":"b"}}}}}'
    check_out patched kubectl patch deployment m --type=merge -p '{"metadata":{"labels":{"q":"r"}}}'
    check_out patched kubectl patch deployment m --type=json -p '[{"op":"remove","path":"/metadata/labels/q"}]'
    check_out edited env EDITOR='sed -i "s/replicas: 3/replicas: 2/"' "$KUBECTL" edit deployment m
    rolled_out
    eventually 10 out_has 2/2 kubectl get deployment m
    step "$1: looking into it"
    check_out Scheduled kubectl describe pod "$(a_pod)"
    check_out 'Non-terminated Pods' kubectl describe node node-1
    check_out FIELDS kubectl explain deployment.spec.strategy
    check_out deployments kubectl api-resources
    check_out yes kubectl auth can-i create pods
    check_out 'condition met' kubectl wait --for=condition=Available deployment/m --timeout=10s
    check_out etc kubectl exec "$(a_pod)" -- ls /
    check_out hello sh -c "echo hello | '$KUBECTL' exec -i $(a_pod) -- cat"
    timeout 10 "$KUBECTL" get pods -l app=m -w >"$TMP/watch" 2>&1 &
    local watcher=$!
    eventually 5 grep -q Running "$TMP/watch"
    kill $watcher 2>/dev/null
    wait $watcher 2>/dev/null
    step "$1: a terminal, and its size"
    check_out '33 77' script -qec "stty rows 33 cols 77; '$KUBECTL' exec -it $(a_pod) -- sh -c 'sleep 0.5; stty size'" /dev/null
    step "$1: a port of the pod on this machine"
    local port
    port=$(free_port)
    timeout 20 "$KUBECTL" port-forward "$(a_pod)" "$port:8080" >"$TMP/forward" 2>&1 &
    local forward=$!
    eventually 5 out_has version= curl -s --max-time 2 "http://127.0.0.1:$port/"
    kill $forward 2>/dev/null
    wait $forward 2>/dev/null
    step "$1: one pod goes, and all of it"
    local victim
    victim=$(a_pod)
    check_out deleted kubectl delete pod "$victim"
    refute kubectl get pod "$victim"
    rolled_out
    check_out deleted kubectl delete service m
    check_out deleted kubectl delete deployment m
    gone() { [ -z "$(kubectl get pods,replicasets -l app=m -o name)" ]; }
    eventually 40 gone
}

up
kubectl_1_20
lines 1.20
kubectl_1_35
lines 1.35
down
