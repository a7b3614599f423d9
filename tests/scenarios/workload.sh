# What a pod gets: configuration, secrets, its token and the API through it, logs, exec, probes, limits, init containers.
# limit: 240 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
kubectl_1_35
phase_is() { [ "$(kubectl get pod "$1" -o 'jsonpath={.status.phase}')" = "$2" ]; }
is_ready() { kubectl get pod "$1" --no-headers | grep -qE ' 1/1 +Running'; }

up
check kubectl create configmap conf --from-literal=greeting=hello
check kubectl create secret generic key --from-literal=password=s3cret

step "a pod with all kinds of volumes and variables"
cat >"$TMP/pod.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: all, labels: {app: all}, annotations: {note: "a note"}}
spec:
  initContainers:
  - {name: first, image: coracle.local/busybox:1, command: [sh, -c, "echo made >/shared/by-init"], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - name: main
    image: coracle.local/busybox:1
    command: [sh, -c, "echo started; trap 'echo ending; exit 0' TERM; while :; do sleep 0.1; done"]
    env:
    - {name: GREETING, valueFrom: {configMapKeyRef: {name: conf, key: greeting}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: key, key: password}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: BOTH, value: "$(GREETING)-$(POD)"}
    resources: {limits: {cpu: 500m, memory: 64Mi}}
    readinessProbe: {exec: {command: [test, -e, /shared/by-init]}, periodSeconds: 1}
    volumeMounts:
    - {name: shared, mountPath: /shared}
    - {name: conf, mountPath: /conf}
    - {name: key, mountPath: /key}
    - {name: info, mountPath: /info}
  volumes:
  - {name: shared, emptyDir: {}}
  - {name: conf, configMap: {name: conf}}
  - {name: key, secret: {secretName: key, defaultMode: 0400}}
  - {name: info, downwardAPI: {items: [{path: note, fieldRef: {fieldPath: "metadata.annotations['note']"}}]}}
YAML
check kubectl apply -f "$TMP/pod.yaml"
check kubectl wait --for=condition=Ready pod/all --timeout=30s
check_out hello kubectl exec all -- sh -c 'echo $GREETING'
check_out s3cret kubectl exec all -- sh -c 'echo $PASSWORD'
check_out hello-all kubectl exec all -- sh -c 'echo $BOTH'
check_out 10.244. kubectl exec all -- sh -c 'echo $IP'
check_out made kubectl exec all -- cat /shared/by-init
check_out hello kubectl exec all -- cat /conf/greeting
check_out s3cret kubectl exec all -- cat /key/password
check_out 'a note' kubectl exec all -- cat /info/note
check_out 67108864 kubectl exec all -- sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max'

step "exec passes standard input, both outputs and the status"
check_out backwards sh -c "echo sdrawkcab | '$KUBECTL' exec -i all -- rev"
check_out to-stderr sh -c "'$KUBECTL' exec all -- sh -c 'echo to-stderr >&2' 2>&1 >/dev/null"
"$KUBECTL" exec all -- sh -c 'exit 7' >/dev/null 2>&1
check test $? = 7

step "logs"
check_out started kubectl logs all
check_out started kubectl logs all --tail=1 --timestamps
timeout 200 "$KUBECTL" logs -f all >"$TMP/follow" 2>&1 &
eventually 5 grep -q started "$TMP/follow"

step "its token speaks to the API through the kubernetes Service"
check_out "$(printf default)" kubectl exec all -- cat /var/run/secrets/kubernetes.io/serviceaccount/namespace
check kubectl exec all -- test -s /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
token=$(kubectl exec all -c main -- cat /var/run/secrets/kubernetes.io/serviceaccount/token)
# busybox speaks no TLS of this century: curl of the host stands in the pod's network instead, and verifies against the pod's CA.
kubectl exec all -c main -- cat /var/run/secrets/kubernetes.io/serviceaccount/ca.crt >"$TMP/ca.crt"
service_ip=$(kubectl exec all -c main -- sh -c 'echo $KUBERNETES_SERVICE_HOST')
check test "$service_ip" = 10.96.0.1
cp "$TMP/ca.crt" "/var/lib/coracle/$NAME/nodes/node-1/tmp/ca.crt"
in_pod() { enter sh -c "nsenter --net=/proc/\$(pgrep -f 'trap .*ending' | head -n 1)/ns/net $*"; }
check_out '"kind":"Status"' in_pod "curl -s --max-time 5 --cacert /tmp/ca.crt -H 'Authorization: Bearer $token' https://$service_ip/api/v1/namespaces/default/secrets"
check_out 'system:serviceaccount:default:default' in_pod "curl -s --max-time 5 --cacert /tmp/ca.crt -H 'Authorization: Bearer $token' https://$service_ip/api/v1/namespaces/default/secrets"

step "a changed ConfigMap arrives in the volume"
check kubectl create configmap conf --from-literal=greeting=changed -o yaml --dry-run=client
kubectl create configmap conf --from-literal=greeting=changed -o yaml --dry-run=client | kubectl apply -f - >/dev/null 2>&1
eventually 90 out_has changed kubectl exec all -- cat /conf/greeting

step "restarts, ends and statuses"
check kubectl run once --image=coracle.local/busybox:1 --restart=Never -- sh -c 'echo done; exit 0'
eventually 20 phase_is once Succeeded
check kubectl run fails --image=coracle.local/busybox:1 --restart=Never -- sh -c 'exit 3'
eventually 20 phase_is fails Failed
check_out 3 kubectl get pod fails -o 'jsonpath={.status.containerStatuses[0].state.terminated.exitCode}'
check kubectl run again --image=coracle.local/busybox:1 -- sh -c 'echo run; sleep 1; exit 1'
eventually 30 sh -c "[ \"\$('$KUBECTL' get pod again -o 'jsonpath={.status.containerStatuses[0].restartCount}')\" -ge 1 ]"
check_out run kubectl logs again --previous
check kubectl run hungry --image=coracle.local/busybox:1 --restart=Never --overrides='{"spec":{"containers":[{"name":"hungry","image":"coracle.local/busybox:1","command":["sh","-c","dd if=/dev/zero of=/dev/shm/x bs=1M count=60; tail /dev/zero"],"resources":{"limits":{"memory":"32Mi"}}}]}}'
eventually 30 out_has OOMKilled kubectl get pod hungry -o 'jsonpath={.status.containerStatuses[0].state.terminated.reason}'
check kubectl run nowhere --image=coracle.local/none:1
eventually 20 out_has Image kubectl get pod nowhere

step "termination waits for the process, and the log says so"
check kubectl delete pod all --timeout=20s
eventually 3 grep -q ending "$TMP/follow"

down
