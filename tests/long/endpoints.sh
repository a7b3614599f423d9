. "$(dirname "$0")/../lib/scenario.sh"
# limit: 120 s
# Three API servers on one etcd: each is among the endpoints of the kubernetes Service while it renews its lease, and only then.
need_root
kubectl_1_35
command -v etcd >/dev/null || skip "etcd is not installed"
up --store etcd --masters 3 --nodes 3
endpoints() { kubectl get endpointslice kubernetes -o 'jsonpath={.endpoints[*].addresses[*]}'; }

step "all of them"
eventually 10 out_has "10.89.0.2 10.89.0.3 10.89.0.4" endpoints

step "one that hangs is taken out when its lease is over, and comes back"
for dir in /proc/[0-9]*; do
    if { tr '\0' ' ' <"$dir/cmdline"; } 2>/dev/null | grep -q -- "^kube-apiserver .*--advertise-address=10.89.0.3 .*/$NAME/"; then
        HUNG=${dir#/proc/}
    fi
done
check test -n "${HUNG:-}"
check kill -STOP "$HUNG"
eventually 25 sh -c "! '$KUBECTL' get endpointslice kubernetes -o 'jsonpath={.endpoints[*].addresses[*]}' | grep -q 10.89.0.3"
check_out "10.89.0.2 10.89.0.4" endpoints
check kill -CONT "$HUNG"
eventually 15 out_has "10.89.0.2 10.89.0.3 10.89.0.4" endpoints
down
