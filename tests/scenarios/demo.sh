# What a person does first: up with the demo, the page answers, scaling, rolling to a new version and back, a Service, and down.
# limit: 240 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
kubectl_1_35
before=$(host_state)
WEB=$(free_port)
web() { curl -s --max-time 2 "http://127.0.0.1:$WEB/"; }
version_is() { for _ in 1 2 3 4 5; do web | grep -q "version=$1 " || return 1; done; }
answering_pods() { for _ in $(seq 40); do web; done | sed -nE 's/.*pod=([^ ]+).*/\1/p' | sort -u | wc -l; }
ready_pods() { kubectl get pods -l app=web --no-headers 2>/dev/null | grep -c ' 1/1 *Running'; }
pods_are() { [ "$(ready_pods)" = "$1" ] && [ "$(kubectl get pods -l app=web --no-headers | wc -l)" = "$1" ]; }

step "up deploys a page"
up --demo --publish "$WEB:30080"
check_out "node-1   Ready" kubectl get nodes
check_out "version=1" web
check_out "text/html" curl -s --max-time 2 -H 'Accept: text/html' -D - "http://127.0.0.1:$WEB/"

step "up again is fine"
check coracle up --name "$NAME" --demo
check_out "version=1" web

step "kubectl sees it as it should"
check_out "deployment.apps/web" kubectl get all -A
check_out "10.244.0." kubectl get pods -o wide
check_out "2/2" kubectl get deployment web
check_out "30080/TCP" kubectl get service web
check_out "Node:" kubectl describe pod -l app=web
check_out "Scheduled" kubectl describe pod -l app=web
eventually 10 out_has "10.244.0." kubectl get endpointslices
check_out "successfully rolled out" kubectl rollout status deployment/web --timeout=30s

step "the Service spreads over the pods"
eventually 20 pods_are 2
check test "$(answering_pods)" = 2

step "scale"
check kubectl scale deployment web --replicas=4
eventually 30 pods_are 4
check kubectl scale deployment web --replicas=2
eventually 45 pods_are 2

step "a rolling update loses no request"
( for _ in $(seq 200); do web >/dev/null || echo lost; sleep 0.03; done ) >"$TMP/lost" 2>&1 &
loop=$!
check kubectl set image deployment/web web=coracle.local/demo:2
check_out "successfully rolled out" kubectl rollout status deployment/web --timeout=60s
eventually 20 version_is 2
wait $loop
check test "$(grep -c lost "$TMP/lost")" = 0

step "and back"
check kubectl rollout undo deployment/web
check_out "successfully rolled out" kubectl rollout status deployment/web --timeout=60s
eventually 20 version_is 1

step "a deleted pod is replaced and its endpoint is gone"
pod=$(kubectl get pods -l app=web -o 'jsonpath={.items[0].metadata.name}')
ip=$(kubectl get pod "$pod" -o 'jsonpath={.status.podIP}')
check kubectl delete pod "$pod" --wait=false
eventually 3 sh -c "! '$BIN/coracle' enter --name '$NAME' -- nft list ruleset | grep -qF '$ip'"
eventually 45 pods_are 2

step "cascades"
check kubectl delete deployment web
eventually 45 sh -c "! '$KUBECTL' get pods,rs -l app=web -o name 2>/dev/null | grep -q ."

step "down leaves nothing"
down
eventually 10 same_state "$before"
