# kill -9 of every component: it comes back, nothing acknowledged is lost, running containers are left alone.
# limit: 240 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
kubectl_1_35
WEB=$(free_port)
pid_of() { coracle status --name "$NAME" | awk -v c="$1" '$1 == c' | sed -nE 's/^[^ ]+ +node-1 +.* ([0-9]+) +[0-9.]+ MB .*/\1/p'; }
comes_back() { local pid; pid=$(pid_of "$1"); [ -n "$pid" ] && [ "$pid" != "$2" ] && coracle status --name "$NAME" | grep -qE "^$1 +node-1 +ok "; }
web() { curl -sf --max-time 2 "http://127.0.0.1:$WEB/"; }
containers() { enter ctr -n k8s.io tasks ls | awk 'NR > 1 { print $1, $2 }' | sort; }
all_well() { coracle status --name "$NAME"; }

up --demo --publish "$WEB:30080"
check kubectl create configmap kept --from-literal=a=1
eventually 20 web
before=$(containers)
for component in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy containerd; do
    step "$component"
    pid=$(pid_of $component)
    check kill -9 "$pid"
    eventually 15 comes_back $component "$pid"
    check_out kept kubectl get configmap kept -o name
    eventually 10 web
    check test "$(containers)" = "$before"
done
step "work goes on"
eventually 20 all_well
check kubectl scale deployment web --replicas=3
check_out "successfully rolled out" kubectl rollout status deployment/web --timeout=40s
eventually 10 out_has "node-1" sh -c "'$KUBECTL' get nodes --no-headers | grep -w Ready"

step "everything at once: up goes on with the same data"
check kill -9 "$(cat "/run/coracle/$NAME/lock")"
eventually 10 sh -c "! '$BIN/coracle' status --name '$NAME' 2>/dev/null"
check coracle up --name "$NAME"
check_out kept kubectl get configmap kept -o name
eventually 60 out_has "3/3" kubectl get deployment web
eventually 20 web
down
