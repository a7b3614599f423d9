# Persistent volumes: claims get volumes and pods their data; a pod goes where its volume is; what is in use stays; what is released.
# limit: 60 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kubelet
up --nodes 2
kubectl_1_35
cd "$TMP" || exit 1
volume() { # NAME CLASS SOURCE POLICY [NODE]
    local where=
    [ -z "${5:-}" ] || where="nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$5]}]}]}}"
    cat <<E2
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: $1}
spec:
  capacity: {storage: 10Mi}
  accessModes: [ReadWriteOnce]
  storageClassName: "$2"
  persistentVolumeReclaimPolicy: $4
  $3
  $where
E2
}
claim() { # NAME CLASS
    cat <<E2
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1}
spec: {storageClassName: "$2", accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
E2
}
pod() { # NAME CLAIM COMMAND
    cat <<E2
---
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: coracle.local/busybox:1, command: [sh, -c, "$3; sleep 1000"], volumeMounts: [{name: data, mountPath: /data}]}
  volumes: [{name: data, persistentVolumeClaim: {claimName: $2}}]
E2
}
phase_is() { out_has "$3" kubectl get "$1" "$2" -o 'jsonpath={.status.phase}'; }
gone() { ! kubectl get "$@" >/dev/null 2>&1; }

step "a claim gets a volume, and a pod its data"
check kubectl apply -f - <<<"$(volume disk-1 "" "hostPath: {path: /run/pv-test, type: DirectoryOrCreate}" Retain node-1; claim data ""; pod writer data "echo kept > /data/f")"
check kubectl wait pod writer --for=condition=Ready --timeout=30s
check_out 'disk-1' kubectl get pvc data -o 'jsonpath={.spec.volumeName}'
eventually 10 phase_is pvc data Bound
eventually 10 phase_is pv disk-1 Bound
check_out 'node-1' kubectl get pod writer -o 'jsonpath={.spec.nodeName}'

step "what is in use stays, what was written too"
check kubectl delete pvc data --wait=false
check_out 'Terminating' kubectl get pvc data
check kubectl get pv disk-1
check kubectl delete pod writer
eventually 10 gone pvc data
eventually 10 phase_is pv disk-1 Released
check kubectl patch pv disk-1 --type=json -p '[{"op":"remove","path":"/spec/claimRef"}]'
eventually 10 phase_is pv disk-1 Available
check kubectl apply -f - <<<"$(claim again ""; pod reader again true)"
check kubectl wait pod reader --for=condition=Ready --timeout=30s
check_out 'kept' kubectl exec reader -- cat /data/f
check kubectl delete pod reader
check kubectl delete pvc again

step "a local volume waits for a pod, which goes to its node"
check enter sh -c 'mkdir -p /run/pv-local' # of node-1: node-2 has its own
check coracle enter --name "$NAME" --node node-2 -- mkdir -p /run/pv-local
check kubectl apply -f - <<<"$(printf 'apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: local}\nprovisioner: kubernetes.io/no-provisioner\nvolumeBindingMode: WaitForFirstConsumer\n'; volume there local "local: {path: /run/pv-local}" Retain node-2; claim late local)"
eventually 10 out_has WaitForFirstConsumer kubectl get events --field-selector involvedObject.name=late
check_out 'Pending' kubectl get pvc late
check kubectl apply -f - <<<"$(pod follower late 'echo here > /data/f')"
check kubectl wait pod follower --for=condition=Ready --timeout=30s
check_out 'node-2' kubectl get pod follower -o 'jsonpath={.spec.nodeName}'
check_out 'here' coracle enter --name "$NAME" --node node-2 -- cat /run/pv-local/f
check_out 'Bound' kubectl get pvc late
check kubectl apply -f - <<<"$(claim no-more local; pod hopeless no-more true)"
eventually 10 out_has "didn't find available persistent volumes to bind" kubectl get events --field-selector involvedObject.name=hopeless
check kubectl delete pod follower hopeless
check kubectl delete pvc late no-more

step "claims of a StatefulSet outlive its pods, and go with it when they are told to"
check kubectl apply -f - <<<"$(volume set-0 fast 'hostPath: {path: /run/pv-0}' Retain node-1; volume set-1 fast 'hostPath: {path: /run/pv-1}' Delete node-1; cat <<'E2'
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Retain}
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: coracle.local/busybox:1, command: [sh, -c, "hostname >> /data/who; sleep 1000"], volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: fast, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
E2
)"
check kubectl rollout status statefulset db --timeout=30s
check kubectl delete pod db-1
check kubectl rollout status statefulset db --timeout=30s
eventually 10 out_has 'db-1
db-1' kubectl exec db-1 -- cat /data/who
check kubectl scale statefulset db --replicas=1
eventually 10 gone pod db-1
check kubectl get pvc data-db-1
check kubectl delete statefulset db
eventually 20 gone pvc data-db-0 data-db-1

step "a volume that cannot be deleted says so; a claim that nobody serves waits"
one_failed() { kubectl get pv set-0 set-1 -o 'jsonpath={.items[*].status.phase}' | grep -q Failed; }
eventually 10 one_failed
check_out 'host_path deleter only supports /tmp/.+' kubectl get events --field-selector reason=VolumeFailedDelete
check kubectl apply -f - <<<"$(printf 'apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: default, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}\nprovisioner: disks.example.com\n')"
check kubectl apply -f - <<<"$(claim wants x | sed 's/storageClassName: "x", //')"
eventually 10 out_has "external provisioner 'disks.example.com'" kubectl get events --field-selector involvedObject.name=wants
check_out 'default disks.example.com' kubectl get pvc wants -o 'jsonpath={.spec.storageClassName} {.metadata.annotations.volume\.kubernetes\.io/storage-provisioner}'
check kubectl delete pvc wants
down
