# What people type, with the kubectl of Debian 12 and a recent one, against pods that run.
# limit: 240 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
kubectl_1_35
up

life() {
    local n=$1 pod watcher port
    step "$n: from an image to a Service"
    check kubectl create deployment "web-$n" --image=coracle.local/demo:1 --replicas=2
    check_out 'successfully rolled out' kubectl rollout status "deployment/web-$n" --timeout=30s
    check kubectl expose deployment "web-$n" --port=80 --target-port=8080
    check_out 'ClusterIP' kubectl get service "web-$n"
    check_out "web-$n" kubectl describe deployment "web-$n"
    check_out 'Endpoints:' kubectl describe service "web-$n"
    check_out 'Ready' kubectl describe node node-1
    check kubectl wait --for=condition=Available "deployment/web-$n" --timeout=10s
    pod=$(kubectl get pods -l "app=web-$n" -o 'jsonpath={.items[0].metadata.name}')

    step "$n: a terminal"
    check_out 'rows 24' sh -c "printf 'stty size; exit\r' | timeout 15 script -qec \"stty rows 24 cols 80; '$KUBECTL' exec -it $pod -- sh -c 'sleep 1; set -- \\\$(stty size); echo rows \\\$1'\" /dev/null"
    check_out demo kubectl exec "$pod" -c demo -- sh -c 'echo demo'
    refute kubectl exec "$pod" -- no-such-program

    step "$n: logs, copying, port-forward"
    check kubectl logs "$pod"
    echo copied >"$TMP/file"
    check kubectl cp "$TMP/file" "$pod:/tmp/file"
    check_out copied kubectl exec "$pod" -- cat /tmp/file
    port=$(free_port)
    timeout 20 "$KUBECTL" port-forward "$pod" "$port:8080" >"$TMP/forward" 2>&1 &
    watcher=$!
    eventually 10 out_has version=1 curl -s --max-time 2 "http://127.0.0.1:$port/"
    kill $watcher; wait $watcher 2>/dev/null

    step "$n: changes"
    check kubectl label deployment "web-$n" tier=front
    check kubectl annotate deployment "web-$n" why=test
    printf '#!/bin/sh\nsed -i "s/replicas: 2/replicas: 1/" "$1"\n' >"$TMP/editor"
    chmod +x "$TMP/editor"
    check_out edited env "EDITOR=$TMP/editor" "$KUBECTL" edit deployment "web-$n"
    check_out 1 kubectl get deployment "web-$n" -o 'jsonpath={.spec.replicas}'
    check_out 'deployment.apps' kubectl set env "deployment/web-$n" COLOUR=blue
    check_out 'successfully rolled out' kubectl rollout status "deployment/web-$n" --timeout=40s
    check_out '2' kubectl rollout history "deployment/web-$n"
    check kubectl rollout restart "deployment/web-$n"
    check_out 'successfully rolled out' kubectl rollout status "deployment/web-$n" --timeout=40s

    step "$n: a watch, and a wait for the end"
    timeout 30 "$KUBECTL" get pods -w --no-headers >"$TMP/watch" 2>&1 &
    watcher=$!
    check kubectl run "once-$n" --image=coracle.local/busybox:1 --restart=Never -- true
    eventually 20 grep -qE "once-$n .*Completed" "$TMP/watch"
    kill $watcher; wait $watcher 2>/dev/null
    check kubectl delete pod "once-$n" --wait=true --timeout=20s
    check kubectl delete deployment,service "web-$n" --timeout=30s
    eventually 40 sh -c "! '$KUBECTL' get pods -l app=web-$n -o name | grep -q ."
}

life new
kubectl_1_20
life old
check_out node-1 kubectl get events -o wide
down
