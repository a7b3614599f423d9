# The flags of the six tables: what each address and port really listens on, what 0 disables, what is refused, what is read there.
# limit: 150 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
WITHOUT=--without=kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy
NODE=10.89.0.2

# start NAME PROGRAM FLAGS...: in the background, in the node; its log is /tmp/NAME.log there.
start() {
    local name=$1 program=$2
    shift 2
    enter sh -c 'name=$1; shift; "$@" >/tmp/$name.log 2>&1 & echo $! >/tmp/$name.pid' start "$name" "$BIN/$program" "$@"
}
stop() { enter sh -c 'for name; do pid=$(cat /tmp/$name.pid) && kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.05; done; done' stop "$@"; }
logged() { enter grep -F -- "$2" "/tmp/$1.log"; }
# listens PORT ADDRESS: that address and no other; silent PORT: nothing.
listens() { [ "$(enter ss -Hltn "sport = :$1" | awk '{ print $4 }' | sort | tr '\n' ' ')" = "$2:$1 " ]; }
silent() { [ -z "$(enter ss -Hltn "sport = :$1")" ]; }
get() { enter curl -s -g -k -m 5 "$@"; }
code() { get -o /dev/null -w '%{http_code}' "$@"; }
code_is() { local want=$1; shift; [ "$(code "$@")" = "$want" ]; }
# refused TEXT PROGRAM FLAGS...: it ends at once with an error that says TEXT.
refused() {
    local want=$1 program=$2
    shift 2
    if enter timeout 10 "$BIN/$program" "$@" >"$TMP/said" 2>&1; then cat "$TMP/said"; return 1; fi
    grep -qF -- "$want" "$TMP/said" || { cat "$TMP/said"; return 1; }
}

up --wait 0 $WITHOUT
eventually 20 out_has coracle.local/busybox:1 enter ctr -a /run/containerd/containerd.sock -n k8s.io images ls -q
# The cluster holds 6443 of its node for an apiserver of its own.
API="--store=memory --cert-dir=/tmp/pki --secure-port=16443"

step "kube-apiserver's ports are 6443 everywhere and 8080 on loopback"
alone() { enter unshare -n sh -c 'ip link set lo up; "$0" --store=memory --cert-dir=/tmp/pki 2>/dev/null & sleep 1; ss -Hltn | awk "{ print \$4 }" | sort | tr "\n" " "; kill $!' "$BIN/kube-apiserver"; }
check_out '0.0.0.0:6443 127.0.0.1:8080 ' alone

step "kube-apiserver by hand: the secure port everywhere, 8080 on loopback, where everybody is the administrator"
check start api kube-apiserver $API
eventually 10 out_has ok get http://127.0.0.1:8080/readyz
check listens 16443 0.0.0.0
check listens 8080 127.0.0.1
check code_is 200 "https://$NODE:16443/readyz"
check code_is 000 "http://$NODE:8080/readyz"
check_out '"kind": "NamespaceList"' get http://127.0.0.1:8080/api/v1/namespaces
check_out "$NODE" get http://127.0.0.1:8080/api/v1/namespaces/default/endpoints/kubernetes
check_out '"port": 16443' get http://127.0.0.1:8080/api/v1/namespaces/default/endpoints/kubernetes
check code_is 403 -H 'Origin: http://page.example' http://127.0.0.1:8080/api/v1/namespaces
check code_is 403 -H 'Host: page.example' http://127.0.0.1:8080/api/v1/namespaces
for flag in insecure-port=8080 authorization-mode=AlwaysAllow kubelet-certificate-authority=; do
    check logged api "unsafe on an untrusted network: --$flag (the default)"
done

step "kube-apiserver: --service-node-port-range"
service() { printf '{"apiVersion":"v1","kind":"Service","metadata":{"name":"s%s"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":%s}]}}' "$1" "$1"; }
post() { get -X POST -H 'content-type: application/json' -d "$2" "http://127.0.0.1:8080$1"; }
check_out '"nodePort": 30000' post /api/v1/namespaces/default/services "$(service 30000)"
check_out 'The range of valid ports is 30000-32767' post /api/v1/namespaces/default/services "$(service 29999)"

step "managers by hand: --master without credentials, plain ports everywhere"
check start manager kube-controller-manager --master=http://127.0.0.1:8080
check start scheduler kube-scheduler --master=http://127.0.0.1:8080
eventually 10 listens 10252 0.0.0.0
eventually 10 listens 10251 0.0.0.0
check listens 10257 0.0.0.0
check listens 10259 0.0.0.0
for port in 10251 10252; do
    check_out ok get "http://$NODE:$port/healthz"
    check_out coracle_unsafe_flag get "http://$NODE:$port/metrics"
    check_out '"master":"http://127.0.0.1:8080"' get "http://$NODE:$port/configz"
    check code_is 405 -X POST "http://$NODE:$port/healthz"
done
for port in 10257 10259; do
    check_out ok get "https://$NODE:$port/healthz"
    check code_is 403 "https://$NODE:$port/metrics"
done
check logged scheduler "unsafe on an untrusted network: --port=10251 (the default)"
stop manager scheduler
check start manager kube-controller-manager --master=http://127.0.0.1:8080 --address=127.0.0.1 --port=11252 --secure-port=0
check start scheduler kube-scheduler --master=http://127.0.0.1:8080 --address=:: --port=11251 --bind-address=::1 --secure-port=11259
eventually 10 listens 11252 127.0.0.1
eventually 10 listens 11251 '*'
check listens 11259 '[::1]'
check silent 10257
check code_is 200 "http://[::1]:11251/healthz"
check code_is 200 "http://$NODE:11251/healthz"
check code_is 200 "https://[::1]:11259/healthz"
refute logged manager "unsafe"
stop manager scheduler
printf '%s\n' 'apiVersion: v1' 'kind: Config' 'current-context: c' 'clusters: [{name: c, cluster: {server: "http://127.0.0.1:8080"}}]' \
    'contexts: [{name: c, context: {cluster: c, user: u}}]' 'users: [{name: u, user: {}}]' | enter sh -c 'cat >/tmp/ask.kubeconfig'
check start scheduler kube-scheduler --master=http://127.0.0.1:8080 --port=0 --authentication-kubeconfig=/tmp/ask.kubeconfig --authorization-kubeconfig=/tmp/ask.kubeconfig
eventually 10 listens 10259 0.0.0.0
check_out process_open_fds get "https://$NODE:10259/metrics"
check code_is 401 -H 'Authorization: Bearer nobody' "https://$NODE:10259/metrics"
check silent 10251
stop scheduler
check start scheduler kube-scheduler --flag-defaults=secure --master=http://127.0.0.1:8080
eventually 10 listens 10259 0.0.0.0
check silent 10251
stop scheduler

step "cloud-controller-manager by hand: its ports, and what it refuses"
check start cloud cloud-controller-manager --master=http://127.0.0.1:8080 --cloud-provider=bare-metal
eventually 10 listens 10253 0.0.0.0
check listens 10258 0.0.0.0
check_out ok get "http://$NODE:10253/healthz"
check_out '"cloud-provider":"bare-metal"' get "http://$NODE:10253/configz"
check code_is 403 "https://$NODE:10258/metrics"
check logged cloud "unsafe on an untrusted network: --port=10253 (the default)"
stop cloud
check start cloud cloud-controller-manager --master=http://127.0.0.1:8080 --cloud-provider=bare-metal --address=127.0.0.1 --port=11253 --secure-port=0
eventually 10 listens 11253 127.0.0.1
check silent 10258
stop cloud
check start cloud cloud-controller-manager --flag-defaults=secure --master=http://127.0.0.1:8080 --cloud-provider=bare-metal
eventually 10 listens 10258 0.0.0.0
check silent 10253
stop cloud
check refused '--cloud-provider must be given' cloud-controller-manager --master=http://127.0.0.1:8080
check refused 'there is no provider "gce"' cloud-controller-manager --master=http://127.0.0.1:8080 --cloud-provider=gce
check refused '--allocate-node-cidrs needs --cluster-cidr' cloud-controller-manager --master=http://127.0.0.1:8080 --cloud-provider=bare-metal --allocate-node-cidrs
check refused 'there is no controller "routes"' cloud-controller-manager --master=http://127.0.0.1:8080 --cloud-provider=bare-metal --controllers=routes

step "kube-scheduler --config: profiles by name, flags before the file"
printf '%s\n' 'apiVersion: kubescheduler.config.k8s.io/v1' 'kind: KubeSchedulerConfiguration' 'clientConnection: {kubeconfig: ""}' \
    'leaderElection: {leaderElect: false}' 'profiles: [{schedulerName: packer, pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}]}, {schedulerName: other}]' |
    enter sh -c 'cat >/tmp/scheduler.yaml'
check start scheduler kube-scheduler --config=/tmp/scheduler.yaml --master=http://127.0.0.1:8080
node() { printf '{"apiVersion":"v1","kind":"Node","metadata":{"name":"%s"},"status":{"allocatable":{"cpu":"4","memory":"4Gi","pods":"9"},"conditions":[{"type":"Ready","status":"True"}]}}' "$1"; }
pod() { printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s"},"spec":{"schedulerName":"%s","automountServiceAccountToken":false,"tolerations":[{"operator":"Exists"}],"containers":[{"name":"c","image":"x","resources":{"requests":{"cpu":"1","memory":"1Gi"}}}]}}' "$1" "$2"; }
where() { get "http://127.0.0.1:8080/api/v1/namespaces/default/pods/$1" | sed -nE 's/.*"nodeName": "(.*)".*/\1/p'; }
bound() { [ -n "$(where "$1")" ]; }
post /api/v1/nodes "$(node one)" >/dev/null
post /api/v1/nodes "$(node two)" >/dev/null
post /api/v1/namespaces/default/serviceaccounts '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}' >/dev/null
check_out '"serviceAccountName": "default"' post /api/v1/namespaces/default/pods "$(pod p1 packer)"
eventually 10 bound p1
post /api/v1/namespaces/default/pods "$(pod p2 packer)" >/dev/null
eventually 10 bound p2
check [ "$(where p1)" = "$(where p2)" ]
post /api/v1/namespaces/default/pods "$(pod p3 other)" >/dev/null
eventually 10 bound p3
check [ "$(where p1)" != "$(where p3)" ]
post /api/v1/namespaces/default/pods "$(pod p4 default-scheduler)" >/dev/null
sleep 1
refute bound p4
stop scheduler

step "kubelet by hand: 10250 and 10255 and 4194 everywhere, 10248 on loopback"
# A node here is not the whole machine: no control groups of its own, and a kubelet that runs as itself.
KUBELET="--master=http://127.0.0.1:8080 --fail-swap-on=false --cgroups-per-qos=false --hostname-override=hand --root-dir=/var/lib/hand
    --cert-dir=/tmp/hand-pki --container-runtime-endpoint=unix:///run/containerd/containerd.sock"
manifest() { printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {hostNetwork: true, terminationGracePeriodSeconds: 0, containers: [{name: c, image: "coracle.local/busybox:1", imagePullPolicy: Never, command: [sleep, "%s"]}]}\n' "$1" "${2:-1000}"; }
put() { enter sh -c 'cat >"$1"' put "$1"; }
pods() { get "http://127.0.0.1:10255/pods"; }
runs() { pods | grep -qF "\"name\":\"$1-hand\"" && pods | grep -qF '"phase":"Running"'; }
gone() { ! pods | grep -qF "\"name\":\"$1-hand\""; }
enter mkdir -p /tmp/manifests/folder.yaml
manifest first | put /tmp/manifests/first.yaml
manifest hidden | put /tmp/manifests/.hidden.yaml
check start kubelet kubelet $KUBELET --pod-manifest-path=/tmp/manifests
eventually 10 listens 10250 0.0.0.0
check listens 10255 0.0.0.0
check listens 4194 0.0.0.0
check listens 10248 127.0.0.1
check code_is 200 "http://127.0.0.1:10248/healthz"
check code_is 000 "http://$NODE:10248/healthz"
check code_is 200 "https://$NODE:10250/healthz"
for flag in read-only-port=10255 cadvisor-port=4194 anonymous-auth=true authorization-mode=AlwaysAllow; do
    check logged kubelet "unsafe on an untrusted network: --$flag (the default)"
done

step "--pod-manifest-path: a folder; files with dots are not looked at; changes are seen at once"
eventually 20 runs first
check gone hidden
manifest second | put /tmp/manifests/second.yaml
eventually 10 runs second
before=$(pods | grep -oE '"name":"first-hand"[^}]*"uid":"[^"]*"' | head -1)
manifest first 1001 | put /tmp/manifests/first.yaml
changed() { [ -n "$(pods | grep -oE '"name":"first-hand"[^}]*"uid":"[^"]*"' | grep -vF "$before")" ]; }
eventually 15 changed
enter rm /tmp/manifests/second.yaml
eventually 15 gone second

step "the read-only port: reads without side effects and nothing else"
check_out '"kind":"PodList"' get "http://$NODE:10255/pods"
check_out '"podRef"' get "http://$NODE:10255/stats/summary"
check_out kubelet_running_pods get "http://$NODE:10255/metrics"
check_out container_cpu_usage_seconds_total get "http://$NODE:10255/metrics/cadvisor"
check_out '"num_cores":' get "http://$NODE:10255/spec"
check code_is 404 "http://$NODE:10255/exec/default/first-hand/c?command=id&output=1"
check code_is 404 "http://$NODE:10255/containerLogs/default/first-hand/c"
check code_is 404 "http://$NODE:10255/configz"
check code_is 405 -X POST "http://$NODE:10255/run/default/first-hand/c?cmd=id"
check code_is 405 -X DELETE "http://$NODE:10255/pods"

step "--cadvisor-port: metrics of containers, and a page"
check_out 'container_memory_working_set_bytes{container="c"' get "http://$NODE:4194/metrics"
check_out '<td>first-hand</td>' get "http://$NODE:4194/"
check code_is 404 "http://$NODE:4194/pods"
check code_is 405 -X POST "http://$NODE:4194/"
stop kubelet

step "--pod-manifest-path: a single file, also when it is replaced by renaming; ports that are 0"
manifest single | put /tmp/single.yaml
check start kubelet kubelet $KUBELET --pod-manifest-path=/tmp/single.yaml --address=127.0.0.1 --port=0 --cadvisor-port=0 --healthz-port=0
eventually 10 listens 10255 127.0.0.1
eventually 20 runs single
manifest other | put /tmp/single.new
enter mv /tmp/single.new /tmp/single.yaml
eventually 15 runs other
eventually 15 gone single
for port in 10250 4194 10248; do check silent $port; done
stop kubelet
enter rm /tmp/single.yaml

step "kubelet with --flag-defaults=secure opens no plain port but healthz on loopback, and knows nobody"
check start kubelet kubelet --flag-defaults=secure $KUBELET --healthz-bind-address=::1 --healthz-port=11248
eventually 10 listens 10250 0.0.0.0
check listens 11248 '[::1]'
check code_is 200 'http://[::1]:11248/healthz'
for port in 10255 4194 10248; do check silent $port; done
eventually 10 code_is 401 "https://$NODE:10250/pods"
refute logged kubelet unsafe
stop kubelet

step "kube-proxy by hand: 10256 everywhere, 10249 on loopback"
check start proxy kube-proxy --master=http://127.0.0.1:8080 --hostname-override=hand
eventually 10 listens 10256 0.0.0.0
check listens 10249 127.0.0.1
eventually 10 code_is 200 "http://$NODE:10256/livez"
check_out nftables get http://127.0.0.1:10249/proxyMode
check code_is 000 "http://$NODE:10249/metrics"
check logged proxy "unsafe on an untrusted network: --healthz-bind-address"
stop proxy
check start proxy kube-proxy --master=http://127.0.0.1:8080 --hostname-override=hand --healthz-bind-address=::1 --healthz-port=11256 --metrics-bind-address=0.0.0.0:11249
eventually 10 listens 11256 '[::1]'
check listens 11249 0.0.0.0
stop proxy
check start proxy kube-proxy --flag-defaults=secure --master=http://127.0.0.1:8080 --hostname-override=hand --metrics-bind-address=127.0.0.1:0
eventually 10 listens 10256 127.0.0.1
check silent 10249
refute logged proxy unsafe
stop proxy
check start proxy kube-proxy --master=http://127.0.0.1:8080 --hostname-override=hand --healthz-port=0
eventually 10 listens 10249 127.0.0.1
check silent 10256
stop proxy
check_out coracle enter nft list tables
check enter "$BIN/kube-proxy" --cleanup
refute sh -c "'$BIN/coracle' enter --name $NAME -- nft list tables | grep coracle"

step "kube-apiserver: ports that are 0, IPv6, and loopback"
stop api
check start api kube-apiserver $API --insecure-port=0 --bind-address=::1 --secure-port=7443
eventually 10 listens 7443 '[::1]'
check silent 8080
check code_is 200 'https://[::1]:7443/readyz'
stop api
check start api kube-apiserver $API --secure-port=0 --insecure-bind-address=::1 --insecure-port=7080
eventually 10 listens 7080 '[::1]'
check silent 16443
check code_is 200 'http://[::1]:7080/readyz'
stop api
check start api kube-apiserver $API --insecure-bind-address=0.0.0.0 --unsafe-insecure-port-beyond-loopback
eventually 10 listens 8080 0.0.0.0
check code_is 200 "http://$NODE:8080/readyz"
stop api
check start api kube-apiserver --flag-defaults=secure $API
eventually 10 listens 16443 0.0.0.0
check silent 8080
check code_is 403 "https://$NODE:16443/api/v1/namespaces"
refute logged api 'authorization-mode'
stop api

step "what is unknown, absent, contradictory or unsafe without saying so is refused by name"
check refused 'unknown flag: --insecure-prot; the nearest is --insecure-port' kube-apiserver --insecure-prot=1
check refused 'known to Kubernetes, not implemented by Coracle' kube-apiserver --audit-log-path=/x
check refused '--unsafe-insecure-port-beyond-loopback' kube-apiserver $API --insecure-bind-address=0.0.0.0
check refused '--secure-port=0 and --insecure-port=0' kube-apiserver $API --secure-port=0 --insecure-port=0
check refused '--tls-cert-file needs --tls-private-key-file' kube-apiserver $API --tls-cert-file=/x
check refused 'unrecognized feature gate: NoSuchGate' kube-scheduler --feature-gates=NoSuchGate=true
check refused 'is not implemented' kubelet $KUBELET --feature-gates=APIServerIdentity=false
check refused '--cloud-provider=gce: providers are the cloud-controller-manager' kubelet $KUBELET --cloud-provider=gce
check refused '--port and --read-only-port are both 10250' kubelet $KUBELET --read-only-port=10250
check refused '--master nor /var/lib/kubelet/kubeconfig' kube-controller-manager
check refused '--proxy-port-range=4000-4100 and --proxy-mode=nftables contradict each other' kube-proxy --proxy-port-range=4000-4100
check refused '--healthz-bind-address=127.0.0.1:1 and --healthz-port=2 contradict each other' kube-proxy --healthz-bind-address=127.0.0.1:1 --healthz-port=2
printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nreadOnlyPorts: 1\n' | put /tmp/bad.yaml
check refused 'readOnlyPorts' kubelet $KUBELET --config=/tmp/bad.yaml
printf 'apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofile: []\n' | put /tmp/bad.yaml
check refused 'unknown field "profile"' kube-scheduler --config=/tmp/bad.yaml
printf 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmodes: ""\n' | put /tmp/bad.yaml
check refused 'unknown field "modes"' kube-proxy --config=/tmp/bad.yaml
down
