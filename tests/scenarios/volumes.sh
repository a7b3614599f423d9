# Volumes of real pods: what containers see, what changes, what they cannot reach, and what is left when they are gone.
# limit: 140 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet; do need_program $program; done
kubectl_1_35
ex() { kubectl exec vols -c a -- "$@"; }
ex_is() { [ "$(kubectl exec vols -c a -- "${@:2}")" = "$1" ]; }
waits_for() { out_has "$2" kubectl get pod "$1" -o 'jsonpath={.status.containerStatuses[0].state.waiting.message}'; }
uid=
node_has_pod() { enter test -e "/var/lib/kubelet/pods/$uid"; }
node_has_no_pod() { ! node_has_pod; }
# The node's mounts, by what a pod's folder is called.
node_mounts() { enter grep -c "$uid" /proc/mounts; }

up
cat >"$TMP/vols.yaml" <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {one: "1", two: "2"}
---
apiVersion: v1
kind: Secret
metadata: {name: sec}
stringData: {password: hunter2}
---
apiVersion: v1
kind: Pod
metadata: {name: vols, labels: {color: blue}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {fsGroup: 2000}
  containers:
  - name: a
    image: coracle.local/busybox:1
    command: [sh, -c, "until [ -e /data/stop ]; do sleep 0.1; done; rm /data/stop; exit 1"]
    resources: {limits: {memory: 64Mi}}
    volumeMounts:
    - {name: conf, mountPath: /conf}
    - {name: conf, mountPath: /one, subPath: one}
    - {name: sec, mountPath: /sec}
    - {name: data, mountPath: /data}
    - {name: data, mountPath: /sub, subPath: x/y}
    - {name: data, mountPath: /named, subPathExpr: "$(POD)/z"}
    - {name: mem, mountPath: /mem}
    - {name: host, mountPath: /host}
    - {name: host, mountPath: /hostsub, subPath: deep}
    - {name: down, mountPath: /down}
    env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumes:
  - {name: conf, configMap: {name: conf, defaultMode: 0440}}
  - {name: sec, secret: {secretName: sec, items: [{key: password, path: deep/er/pw, mode: 0400}]}}
  - {name: data, emptyDir: {}}
  - {name: mem, emptyDir: {medium: Memory, sizeLimit: 4Mi}}
  - {name: host, hostPath: {path: /run/volumes-test, type: DirectoryOrCreate}}
  - {name: down, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}},
     {path: memory, resourceFieldRef: {containerName: a, resource: limits.memory, divisor: 1Mi}}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: thief}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: plant, image: coracle.local/busybox:1, command: [sh, -c, "ln -s / /v/out; ln -s ../../../.. /v/up; ln -s /etc /v/abs"], volumeMounts: [{name: v, mountPath: /v}]}
  containers:
  - {name: a, image: coracle.local/busybox:1, command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v, subPath: out/etc}]}
  volumes: [{name: v, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: wrong}
spec:
  containers: [{name: a, image: coracle.local/busybox:1, volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, hostPath: {path: /etc/passwd, type: Directory}}]
YAML
check kubectl apply -f "$TMP/vols.yaml"
check kubectl wait pod/vols --for=condition=Ready --timeout=30s
uid=$(kubectl get pod vols -o 'jsonpath={.metadata.uid}')

step "what is shown"
check ex_is 1 cat /conf/one
check ex_is 1 cat /one
check ex_is 440 stat -L -c %a /conf/one
check ex_is 2000 stat -L -c %g /conf/one
check ex_is hunter2 cat /sec/deep/er/pw
check ex_is 'color="blue"' cat /down/labels
check ex_is 64 cat /down/memory
check_out "4.0M" ex df -h /mem
check ex test -s /var/run/secrets/kubernetes.io/serviceaccount/token
check ex test -s /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
check ex_is default cat /var/run/secrets/kubernetes.io/serviceaccount/namespace
refute ex touch /conf/new
refute ex touch /sec/new

step "subPath"
check ex sh -c "echo mine >/sub/f; echo named >/named/f; echo host >/hostsub/f"
check ex_is mine cat /data/x/y/f
check ex_is named cat /data/vols/z/f
check ex_is host cat /host/deep/f
check enter grep -q host /run/volumes-test/deep/f

step "an object that changes is seen, and the container's folders stay its own"
check ex chmod 700 /data
check kubectl patch configmap conf --type=merge -p '{"data":{"one":"changed","two":null}}'
check kubectl annotate pod vols look=again # or within a minute
eventually 10 ex_is changed cat /conf/one
refute ex test -e /conf/two
refute ex test -e /conf/..data/two
check ex_is 1 cat /one # as documented: a subPath does not follow
check ex_is 700 stat -c %a /data

step "the next run of the container finds its folders"
check ex touch /data/stop
eventually 30 out_has 1 kubectl get pod vols -o 'jsonpath={.status.containerStatuses[0].restartCount}'
eventually 30 ex_is mine cat /sub/f
check ex_is changed cat /one

step "no link leads out of a volume"
eventually 30 waits_for thief "subPath"
refute kubectl exec thief -c a -- true

step "a path of the wrong kind is told"
eventually 20 out_has "hostPath type check failed: /etc/passwd is not a directory" kubectl get events --field-selector involvedObject.name=wrong

step "logs by their options"
check kubectl run talk --image=coracle.local/busybox:1 --restart=Never -- sh -c 'echo one; sleep 0.3; echo two >&2; sleep 0.3; echo three'
eventually 20 out_has Succeeded kubectl get pod talk -o 'jsonpath={.status.phase}'
check_out three kubectl logs talk --tail=1
check [ "$(kubectl logs talk --tail=1 | wc -l)" = 1 ]
check [ "$(kubectl logs talk --limit-bytes=4)" = one ]
check_out "Z three" kubectl logs talk --timestamps
check [ -z "$(kubectl logs talk --since-time=2099-01-01T00:00:00Z)" ]
check [ "$(kubectl logs talk -f | wc -l)" = 3 ]

step "what pods and node use"
summary() { kubectl get --raw /api/v1/nodes/node-1/proxy/stats/summary | jq -e "$1" >/dev/null; }
of_vols='.pods[] | select(.podRef.name == "vols")'
check summary "$of_vols | .cpu.usageCoreNanoSeconds > 0 and .memory.workingSetBytes > 0 and .process_stats.process_count >= 2"
check summary "$of_vols | .network.name == \"eth0\" and (.network.interfaces | length) == 1"
check summary "$of_vols | .containers[0] | .rootfs.capacityBytes > 0 and .logs.capacityBytes > 0 and .memory.workingSetBytes > 0"
check summary '.node | .cpu.usageCoreNanoSeconds > 0 and .memory.availableBytes > 0 and .fs.capacityBytes > 0 and .runtime.imageFs.capacityBytes > 0 and .rlimit.curproc > 0'
check summary '[.node.systemContainers[].name] == ["kubelet", "pods"]'
eventually 20 summary "$of_vols | .volume | length >= 2 and all(.usedBytes >= 0 and .inodesUsed > 0)"
eventually 10 summary ".node.cpu.usageNanoCores > 0 and ($of_vols | .cpu | has(\"usageNanoCores\"))"
metrics() { kubectl get --raw "/api/v1/nodes/node-1/proxy/metrics/$1"; }
check_out 'pod_memory_working_set_bytes{namespace="default",pod="vols"}' metrics resource
check_out 'container_start_time_seconds{container="a",namespace="default",pod="vols"}' metrics resource
check_out 'container_network_receive_bytes_total{container="",' metrics cadvisor

step "a volume on disk that grows past its limit ends its pod"
kubectl create -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  containers:
  - {name: a, image: "coracle.local/busybox:1", command: [sh, -c, "dd if=/dev/zero of=/d/file bs=1M count=3; sleep 1000"], volumeMounts: [{name: d, mountPath: /d}]}
  volumes:
  - {name: d, emptyDir: {sizeLimit: 1Mi}}
YAML
eventually 30 out_has 'Failed Evicted Usage of EmptyDir volume "d" exceeds the limit "1Mi"' kubectl get pod greedy -o 'jsonpath={.status.phase} {.status.reason} {.status.message}'
check out_has TerminationByKubelet kubectl get pod greedy -o 'jsonpath={.status.conditions[?(@.type=="DisruptionTarget")].reason}'
eventually 10 out_has "exceeds the limit" kubectl get events --field-selector reason=Evicted

step "what is left"
check node_has_pod
check kubectl delete pod vols --wait
eventually 10 node_has_no_pod
check [ "$(node_mounts)" = 0 ]
check enter grep -q host /run/volumes-test/deep/f
