#!/bin/bash
# limit: 90 s
# A cluster whose certificates live for half a minute goes on past their end: the supervisor renews all of them, every program takes
# its new ones without being started again, and a watch is not disturbed.
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kubelet
kubectl_1_35

STATE=/var/lib/coracle/$NAME
step "a cluster with certificates of 30 seconds"
PORT=$(free_port)
up --port "$PORT" --certificate-lifetime 30s
BEGAN=$(date +%s)
check kubectl run sleeper --image=coracle.local/busybox:1 --command -- sleep 1000
eventually 15 kubectl wait --for=condition=Ready pod/sleeper --timeout=1s
kubectl get --raw "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=300" >"$TMP/watch" 2>/dev/null &
WATCH=$!
pids() { enter pidof kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy | tr ' ' '\n' | sort -n; }
BEFORE=$(pids)
shown() { timeout 5 openssl s_client -connect "127.0.0.1:$PORT" </dev/null 2>/dev/null | openssl x509 -noout -serial; }
node_shows() { enter timeout 5 openssl s_client -connect 10.89.0.2:10250 </dev/null 2>/dev/null | openssl x509 -noout -serial; }
API=$(shown) NODE=$(node_shows)

step "45 seconds later every one of them has ended and been replaced"
sleep $((BEGAN + 45 - $(date +%s)))
check grep -q "certificates were renewed" "$STATE/logs/supervisor.log"
check kubectl get nodes
refute test "$(shown)" = "$API"
refute test "$(node_shows)" = "$NODE"
check_out "Verify return code: 0" timeout 5 openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$STATE/pki/ca.crt" </dev/null
check test "$(pids)" = "$BEFORE"

step "everybody goes on working"
check kubectl wait --for=condition=Ready node/node-1 --timeout=1s
check kubectl create configmap late --from-literal=a=b
eventually 5 grep -q '"name":"late"' "$TMP/watch"
check kill -0 $WATCH
check_out hello kubectl exec sleeper -- echo hello
check kubectl create deployment web --image=coracle.local/demo:1
eventually 15 out_has 1/1 kubectl get deployment web
check_out ok kubectl get --raw /readyz
refused() { grep -h -e "refused: certificate has expired" -e Unauthorized "$STATE"/logs/node-1/*.log; }
refute refused
kill $WATCH
down
