# What the kubelet does with pods that do not behave: they crash, hang, never get ready, do not fit, are forgotten; and what
# it does when it, or the API server, is away.
# limit: 200 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet; do need_program $program; done
kubectl_1_35
pod() { kubectl get pod "$1" -o "jsonpath=$2"; }
pod_is() { [ "$(pod "$1" "$2")" = "$3" ]; }
pid_of() { coracle status --name "$NAME" | awk -v c="$1" '$1 == c' | sed -nE 's/^[^ ]+ +node-1 +.* ([0-9]+) +[0-9.]+ MB .*/\1/p'; }
containers() { enter ctr -n k8s.io tasks ls | awk 'NR > 1 { print $1, $2 }' | sort; }

up
cat >"$TMP/pods.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  containers: [{name: a, image: coracle.local/busybox:1, command: [sh, -c, "echo the end >/dev/termination-log; exit 3"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: hangs}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: coracle.local/busybox:1, command: [sh, -c, "sleep 2; touch /tmp/hung; sleep 1000"],
     livenessProbe: {exec: {command: [sh, -c, "! test -e /tmp/hung"]}, periodSeconds: 1, failureThreshold: 2}}
---
apiVersion: v1
kind: Pod
metadata: {name: slow}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: coracle.local/demo:1, startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1},
     readinessProbe: {httpGet: {port: 8080, path: /version}, periodSeconds: 1}}
---
apiVersion: v1
kind: Pod
metadata: {name: late}
spec:
  activeDeadlineSeconds: 2
  terminationGracePeriodSeconds: 1
  containers: [{name: a, image: coracle.local/busybox:1, command: [sleep, "1000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers: [{name: a, image: coracle.local/busybox:1, command: [tail, /dev/zero], resources: {limits: {memory: 16Mi}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: large}
spec:
  nodeName: node-1
  containers: [{name: a, image: coracle.local/busybox:1, resources: {requests: {cpu: "1000"}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere}
spec:
  containers: [{name: a, image: "nowhere.invalid/x:1"}]
---
apiVersion: v1
kind: Pod
metadata: {name: root}
spec:
  securityContext: {runAsNonRoot: true}
  containers: [{name: a, image: coracle.local/busybox:1}]
---
apiVersion: v1
kind: Pod
metadata: {name: steps}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: one, image: coracle.local/busybox:1, command: [sh, -c, "echo one >/v/f"], volumeMounts: [{name: v, mountPath: /v}]}
  - {name: beside, restartPolicy: Always, image: coracle.local/busybox:1, command: [sleep, "1000"]}
  - {name: two, image: coracle.local/busybox:1, command: [sh, -c, "echo two >>/v/f"], volumeMounts: [{name: v, mountPath: /v}]}
  containers:
  - {name: a, image: coracle.local/busybox:1, command: [sh, -c, "cat /v/f; sleep 1000"], volumeMounts: [{name: v, mountPath: /v}],
     lifecycle: {postStart: {exec: {command: [sh, -c, "echo three >>/v/f"]}}}}
  volumes: [{name: v, emptyDir: {}}]
YAML
check kubectl apply -f "$TMP/pods.yaml"

step "a crash backs off and tells its last words"
eventually 20 pod_is crash '{.status.containerStatuses[0].state.waiting.reason}' CrashLoopBackOff
check_out "the end" pod crash '{.status.containerStatuses[0].lastState.terminated.message}'
check_out 3 pod crash '{.status.containerStatuses[0].lastState.terminated.exitCode}'
check_out "back-off" pod crash '{.status.containerStatuses[0].state.waiting.message}'

step "probes"
eventually 20 pod_is slow '{.status.conditions[?(@.type=="Ready")].status}' True
eventually 20 pod_is hangs '{.status.containerStatuses[0].restartCount}' 1

step "ends"
eventually 20 pod_is late '{.status.reason}' DeadlineExceeded
eventually 20 pod_is greedy '{.status.containerStatuses[0].state.terminated.reason}' OOMKilled
eventually 10 pod_is large '{.status.reason}' OutOfcpu
eventually 30 pod_is nowhere '{.status.phase}' Pending
eventually 10 out_has "runAsNonRoot and image will run as root" kubectl get pod root -o 'jsonpath={.status.containerStatuses[0].state.waiting.message}'

step "init containers, a sidecar, a hook"
eventually 20 pod_is steps '{.status.conditions[?(@.type=="Ready")].status}' True
check_out two kubectl logs steps -c a
check_out three kubectl exec steps -c a -- tail -n 1 /v/f
check_out true pod steps '{.status.initContainerStatuses[?(@.name=="beside")].started}'

step "an ephemeral container sees the processes of its target"
check kubectl debug slow --profile=general --image=coracle.local/busybox:1 --target=a -c look --image-pull-policy=IfNotPresent -- ps
eventually 10 out_has httpd kubectl logs slow -c look

step "figures"
check_out '"podRef":{"name":"slow"' kubectl get --raw /api/v1/nodes/node-1/proxy/stats/summary
check_out 'container_memory_working_set_bytes{container="a",namespace="default",pod="slow"}' kubectl get --raw /api/v1/nodes/node-1/proxy/metrics/resource

step "the server runs as nobody"
server=$(pgrep -P "$(pid_of kubelet)")
check_out 65534 grep ^Uid "/proc/$server/status"
check_out 1 grep ^NoNewPrivs "/proc/$server/status"

step "a container that ends while the API server is away is started again"
check kubectl delete pod crash hangs late greedy large nowhere root --wait=false
eventually 20 sh -c "[ \$('$KUBECTL' get pods --no-headers | wc -l) = 2 ]"
api=$(pid_of kube-apiserver)
check kill -STOP "$api"
kubelet=$(pid_of kubelet)
check kill -9 "$kubelet"
sleep 4
before=$(containers)
check test "$(echo "$before" | wc -l)" -ge 5
victim=$(enter pgrep -f 'httpd -f -p 8080' | head -n 1)
check enter kill -9 "$victim"
eventually 15 sh -c "! [ \"\$(\"$BIN/coracle\" enter --name \"$NAME\" -- pgrep -f 'httpd -f -p 8080' | head -n 1)\" = $victim ] && \"$BIN/coracle\" enter --name \"$NAME\" -- pgrep -f 'httpd -f -p 8080'"
check kill -CONT "$api"
eventually 20 pod_is slow '{.status.containerStatuses[0].restartCount}' 1
check_out 0 pod steps '{.status.containerStatuses[0].restartCount}'

step "a pod that was deleted while the kubelet was away is removed"
kubelet=$(pid_of kubelet)
check kill -STOP "$kubelet"
check kubectl delete pod steps --force --grace-period=0
check kill -CONT "$kubelet"
check kill -9 "$kubelet"
eventually 30 sh -c "[ \$(\"$BIN/coracle\" enter --name \"$NAME\" -- sh -c 'ls /var/lib/kubelet/pods | wc -l') = 1 ]"
down
