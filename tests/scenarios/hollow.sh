# Hollow nodes: kubelets without machines, each with a connection and an identity of its own, as a control plane sees them.
# limit: 90 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
kubectl_1_35
up --wait 0 --without containerd,images,kubelet,kube-proxy
begin() { "$BIN/coracle" hollow --kubeconfig "$KUBECONFIG" --nodes 60 --rate 60 --pod-start 200ms --pod-stop 100ms --job-duration 500ms \
    --lease-renew-interval 2s --report-interval 1s --report "$TMP/figures" "$@" >"$TMP/fleet" 2>&1 & FLEET=$!; }
ready_nodes() { kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l; }
has() { [ "$("${@:2}")" = "$1" ] || { "${@:2}"; tail -n 3 "$TMP/fleet"; return 1; }; }
field() { kubectl get "$1" -o "jsonpath={$2}"; }
connections() { ss -Hnt state established "dport = :$(sed -nE 's,.*server: https://127.0.0.1:([0-9]+).*,\1,p' "$KUBECONFIG")" | wc -l; }

step "they register, and each has a connection of its own"
begin
eventually 15 has 60 ready_nodes
check test "$(connections)" -ge 60

step "a Deployment becomes ready on them, a Job ends"
check kubectl create deployment web --image=any --replicas=300
check kubectl create job once --image=any
eventually 20 has 300 field deployment/web .status.readyReplicas
eventually 15 has 1 field job/once .status.succeeded
check_out hollow- kubectl get pods -o wide

step "it is rolled, and scaled to nothing"
check kubectl rollout restart deployment web
check kubectl rollout status deployment web --timeout=30s
check kubectl scale deployment web --replicas=0
eventually 15 out_has "No resources found" kubectl get pods -l app=web

step "what the nodes counted"
check kill -TERM "$FLEET"
wait "$FLEET"
check jq -se 'last | .total and .nodes == 60 and .podsStarted >= 601 and .podsEnded >= 600 and .refused == 0 and .failed == 0 and .milliseconds.lease.n >= 60' "$TMP/figures"

step "a fleet that starts again finds its Nodes, and takes them away at its end"
rm "$TMP/figures"
begin --remove
eventually 15 out_has '"nodes":60' tail -n 1 "$TMP/figures"
check kill -TERM "$FLEET"
wait "$FLEET"
check test "$(kubectl get nodes --no-headers 2>/dev/null | wc -l)" = 0
down
