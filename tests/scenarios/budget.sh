# Disruption budgets: an eviction that leaves too few healthy pods is refused until there are enough again.
# limit: 90 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
need_program kubelet
up
kubectl_1_35
allowed() { kubectl get pdb web -o 'jsonpath={.status.disruptionsAllowed}'; }
is_allowed() { [ "$(allowed)" = "$1" ] || { kubectl get pdb web -o yaml; return 1; }; }
evict() { printf '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"%s","namespace":"default"},"deleteOptions":{"gracePeriodSeconds":0}}' "$1" | kubectl create --raw "/api/v1/namespaces/default/pods/$1/eviction" -f -; }
a_pod() { kubectl get pods -l app=web -o 'jsonpath={.items[0].metadata.name}'; }
fails() { ! "$@"; }

step "as many as the budget leaves"
check kubectl create deployment web --image=coracle.local/demo:1 --replicas=2
check kubectl rollout status deployment web --timeout=30s
check kubectl create pdb web --selector=app=web --min-available=2
eventually 10 kubectl wait --for='jsonpath={.status.currentHealthy}=2' pdb/web --timeout=1s
check is_allowed 0
check_out "violate the pod's disruption budget" fails evict "$(a_pod)"
check kubectl scale deployment web --replicas=3
eventually 30 is_allowed 1

step "one goes, and the next has to wait for its successor"
check evict "$(a_pod)"
eventually 30 is_allowed 1
check_out '3/3' kubectl get deployment web

step "drain keeps to it"
check kubectl patch pdb web --type=merge -p '{"spec":{"minAvailable":3}}'
eventually 10 is_allowed 0
check_out "violate the pod's disruption budget" fails timeout 20 "$KUBECTL" drain node-1 --timeout=3s
check kubectl uncordon node-1
check kubectl patch pdb web --type=merge -p '{"spec":{"minAvailable":"50%"}}'
eventually 10 is_allowed 1
check_out 3 kubectl get pdb web -o 'jsonpath={.status.expectedPods}'
down
