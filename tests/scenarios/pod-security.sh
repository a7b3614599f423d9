# Pod Security Standards: a namespace's labels refuse pods and warn about workloads, and a file exempts.
# limit: 60 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
up
kubectl_1_35
fails() { ! "$@"; }
check kubectl create namespace strict
check kubectl label namespace strict pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/warn=restricted

step "what breaks the standard is refused, and said of a workload"
check_out 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false' fails kubectl -n strict run bad --image=coracle.local/demo:1
check_out 'Warning: would violate PodSecurity "restricted:latest"' kubectl -n strict create deployment bad --image=coracle.local/demo:1
eventually 20 out_has 'violates PodSecurity' kubectl -n strict get events
check_out 'must be one of privileged, baseline, restricted' fails kubectl label --overwrite namespace strict pod-security.kubernetes.io/enforce=high

step "what keeps to it is made"
cat >"$TMP/good.yaml" <<'END'
apiVersion: v1
kind: Pod
metadata: {name: good, namespace: strict}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
  - {name: c, image: "coracle.local/demo:1", securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
END
check kubectl apply -f "$TMP/good.yaml"

step "a namespace that becomes stricter tells of the pods that are there"
check kubectl -n default run plain --image=coracle.local/demo:1
check_out 'plain: allowPrivilegeEscalation != false' kubectl label --dry-run=server namespace default pod-security.kubernetes.io/enforce=restricted
down
