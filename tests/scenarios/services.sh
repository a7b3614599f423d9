# Services of every kind reach their pods: cluster IPs, node ports, load balancers, affinity, policies, none ready, kube-proxy gone.
# limit: 180 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
kubectl_1_35
get() { enter curl -s --max-time 2 "http://$1/"; }
pods_of() { for _ in $(seq 30); do get "$1"; done | sed -nE 's/.*pod=([^ ]+).*/\1/p' | sort -u | wc -l; }
spreads() { [ "$(pods_of "$1")" = 2 ]; }
sticks() { [ "$(pods_of "$1")" = 1 ]; }
refused() { get "$1"; [ $? = 7 ]; }
rules() { enter nft list table ip coracle-proxy; }
proxy_pid() { coracle status --name "$NAME" | awk '$1 == "kube-proxy" { for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+$/) { print $i; exit } }'; }

up --demo
eventually 30 out_has "2/2" kubectl get deployment web
IP=$(kubectl get service web -o 'jsonpath={.spec.clusterIP}')

step "a cluster IP and a node port spread over the pods"
eventually 5 spreads "$IP"
eventually 5 spreads 10.89.0.2:30080
check refused "$IP:81"

step "a client with affinity stays with one"
check kubectl patch service web -p '{"spec":{"sessionAffinity":"ClientIP"}}'
eventually 5 sticks "$IP"
check sticks 10.89.0.2:30080
check kubectl patch service web -p '{"spec":{"sessionAffinity":"None"}}'
eventually 5 spreads "$IP"

step "a load balancer's address, external IPs, and the health check for it"
cat >"$TMP/lb.yaml" <<EOF
apiVersion: v1
kind: Service
metadata: {name: lb}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
  externalIPs: [203.0.113.9]
EOF
check kubectl apply -f "$TMP/lb.yaml"
check kubectl patch service lb --subresource=status -p '{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.10"}]}}}'
eventually 5 spreads 203.0.113.9
eventually 5 spreads 203.0.113.10
PORT=$(kubectl get service lb -o 'jsonpath={.spec.healthCheckNodePort}')
check_out '"localEndpoints": 2' get "127.0.0.1:$PORT"

step "without pods connections are refused at once"
check kubectl scale deployment web --replicas=0
eventually 10 refused "$IP"
eventually 10 refused 10.89.0.2:30080
check_out '"localEndpoints": 0' get "127.0.0.1:$PORT"
check kubectl scale deployment web --replicas=2
eventually 30 spreads "$IP"

step "kube-proxy ends: Services work on; it comes back; the table is mended when somebody flushed it"
pid=$(proxy_pid)
check kill "$pid"
check spreads "$IP"
eventually 20 out_has "ok" enter curl -s -o /dev/null -w 'ok' http://127.0.0.1:10256/healthz
check enter nft flush ruleset
eventually 40 spreads "$IP"

step "what is measured"
check_out "kubeproxy_sync_proxy_rules_duration_seconds_count" enter curl -s http://127.0.0.1:10249/metrics
check_out "nftables" enter curl -s http://127.0.0.1:10249/proxyMode

step "a Service that is gone leaves no rule"
check kubectl delete service lb
eventually 5 sh -c "! '$BIN/coracle' enter --name '$NAME' -- nft list table ip coracle-proxy | grep -qF 203.0.113"
down
