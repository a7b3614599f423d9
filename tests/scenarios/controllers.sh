# Controllers and scheduler against a node that is only an object: rollouts, Services, cascading deletion, namespaces, taints.
# limit: 240 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kube-controller-manager
need_program kube-scheduler
WITHOUT=--without=containerd,images,kubelet,kube-proxy
kubectl_1_35

# The kubelet's part: every pod that is bound is running and ready.
play_kubelet() {
    local n=2 pod
    for pod in $(kubectl get pods -A -o 'jsonpath={range .items[?(@.spec.nodeName)]}{.metadata.namespace}/{.metadata.name}/{.metadata.deletionTimestamp} {end}'); do
        n=$((n + 1))
        local ns=${pod%%/*} rest=${pod#*/}
        if [ -n "${rest#*/}" ]; then
            kubectl -n "$ns" delete pod "${rest%%/*}" --grace-period=0 --force >/dev/null 2>&1
        else
            kubectl -n "$ns" patch pod "${rest%%/*}" --subresource=status --type=merge -p "{\"status\":{\"phase\":\"Running\",
                \"podIP\":\"10.244.9.$n\",\"podIPs\":[{\"ip\":\"10.244.9.$n\"}],
                \"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}}" >/dev/null 2>&1
        fi
    done
}
# rolled_out NAME: plays the kubelet until the rollout is complete.
rolled_out() {
    for _ in $(seq 40); do
        play_kubelet
        kubectl rollout status "deployment/$1" --timeout=1s >/dev/null 2>&1 && return 0
    done
    kubectl describe deployment "$1"
    return 1
}

step "the control plane answers"
up --wait 0 $WITHOUT
eventually 20 kubectl get --raw /readyz
eventually 20 out_has default kubectl get serviceaccount default

step "a pod without nodes says why it waits"
check kubectl create deployment web --image=example.test/web:1 --replicas=3
eventually 10 out_has 'no nodes available to schedule pods' kubectl get events

step "with a node it is scheduled"
printf 'apiVersion: v1\nkind: Node\nmetadata: {name: paper, labels: {kubernetes.io/hostname: paper}}\n' >"$TMP/node.yaml"
check kubectl create -f "$TMP/node.yaml"
check kubectl patch node paper --subresource=status --type=merge -p '{"status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"50"},
    "capacity":{"cpu":"4","memory":"8Gi","pods":"50"},"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady",
    "message":"ready","lastHeartbeatTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}'
eventually 30 out_has paper kubectl get pods -o wide
check rolled_out web
check_out '3/3' kubectl get deployment web

step "a Service has its endpoints"
check kubectl expose deployment web --port=80 --target-port=8080
eventually 10 out_has :8080 kubectl get endpoints web
eventually 10 out_has 10.244.9. kubectl get endpointslices -l kubernetes.io/service-name=web

step "scaling, a rolling update, and back"
check kubectl scale deployment web --replicas=5
check rolled_out web
check kubectl set image deployment/web web=example.test/web:2
check rolled_out web
check_out 'example.test/web:2' kubectl get replicasets -o wide
check_out 2 kubectl rollout history deployment/web
check kubectl rollout undo deployment/web
check rolled_out web
check_out 'example.test/web:1' kubectl get deployment web -o 'jsonpath={.spec.template.spec.containers[0].image}'

step "a deleted pod is replaced"
victim=$(kubectl get pods -o name | head -n 1)
check kubectl delete "$victim" --grace-period=0 --force
check rolled_out web

step "what does not fit waits, and says why"
check kubectl run big --image=example.test/big --overrides='{"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"64"}}}]}}'
eventually 10 out_has '0/1 nodes are available: 1 Insufficient cpu.' kubectl describe pod big
check kubectl cordon paper
check kubectl run late --image=example.test/late
eventually 10 out_has 'were unschedulable' kubectl describe pod late
check kubectl uncordon paper
eventually 15 out_has paper kubectl get pod late -o 'jsonpath={.spec.nodeName}'

step "deletion cascades"
check kubectl delete deployment web
none_left() { play_kubelet; [ -z "$(kubectl get replicasets,pods -l app=web -o name)" ]; }
eventually 20 none_left
check kubectl create deployment left --image=example.test/left
eventually 10 out_has left- kubectl get replicasets
check kubectl delete deployment left --cascade=orphan
check_out left- kubectl get replicasets -l app=left

step "a namespace goes with all that is in it"
check kubectl create namespace gone
check kubectl -n gone create configmap c
check kubectl -n gone create deployment d --image=example.test/d
eventually 10 out_has d- kubectl -n gone get pods
play_kubelet
(for _ in $(seq 30); do play_kubelet; sleep 0.5; done) &
check kubectl delete namespace gone --timeout=30s
refute kubectl get namespace gone
kill $! 2>/dev/null

step "each controller acts with its own service account"
check_out deployment-controller kubectl -n kube-system get serviceaccounts

step "the end"
down
