# The other runtime: the kubelet drives a real dockerd; pods, streams, images, and both of them killed.
# limit: 100 s
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do need_program $program; done
[ -x /usr/sbin/dockerd ] && [ -x /usr/bin/docker ] || skip "docker.io is not installed"
kubectl_1_35
docker() { enter /usr/bin/docker -H unix:///run/docker.sock "$@"; }
pod() { kubectl get pod "$1" -o "jsonpath=$2"; }
pod_is() { [ "$(pod "$1" "$2")" = "$3" ]; }
pid_of() { enter pgrep -x "$1" | head -n 1; }
ids() { docker ps --no-trunc --format '{{.ID}} {{.Names}}' | grep -E '_(two|talk)_' | sort; }
before=$(host_state)

step "a cluster whose containers are dockerd's"
up --runtime docker
check_out docker://20 kubectl get node node-1 -o wide

cat >"$TMP/pods.yaml" <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: cm}
data: {greeting: hello}
---
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}, annotations: {note: "a=b"}}
spec:
  terminationGracePeriodSeconds: 2
  dnsConfig: {nameservers: [10.96.0.10], searches: [far.example], options: [{name: ndots, value: "3"}]}
  volumes:
  - {name: data, emptyDir: {}}
  - {name: cm, configMap: {name: cm}}
  - {name: token, projected: {sources: [{serviceAccountToken: {path: token, expirationSeconds: 3600}}]}}
  containers:
  - name: a
    image: coracle.local/busybox:1
    command: [sh, -c, 'n=0; while :; do n=$((n+1)); echo out $n; echo err $n >&2; sleep 0.2; done']
    volumeMounts: [{name: data, mountPath: /data}, {name: cm, mountPath: /cm}, {name: token, mountPath: /token}]
    readinessProbe: {exec: {command: [cat, /cm/greeting]}, periodSeconds: 1}
    resources: {limits: {memory: 64Mi, cpu: 500m}}
  - name: b
    image: coracle.local/busybox:1
    command: [sh, -c, 'mkdir -p /tmp/w; echo page >/tmp/w/index.html; echo shared >/data/x; httpd -f -p 80 -h /tmp/w']
    volumeMounts: [{name: data, mountPath: /data}]
    ports: [{containerPort: 80, hostPort: 8088}]
    livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: talk}
spec:
  terminationGracePeriodSeconds: 0
  shareProcessNamespace: true
  containers:
  - {name: cat, image: coracle.local/busybox:1, stdin: true, command: [cat]}
  - {name: sleep, image: coracle.local/busybox:1, command: [sleep, "1000"]}
  - {name: stuck, image: coracle.local/busybox:1, command: [sleep, "2000"],
     readinessProbe: {exec: {command: [sleep, "77"]}, timeoutSeconds: 1, periodSeconds: 2}}
---
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  containers: [{name: c, image: coracle.local/busybox:1, command: [sh, -c, 'echo the end; exit 3'], terminationMessagePolicy: FallbackToLogsOnError}]
---
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers: [{name: c, image: coracle.local/busybox:1, command: [tail, /dev/zero], resources: {limits: {memory: 16Mi}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: lost}
spec:
  restartPolicy: Never
  containers: [{name: c, image: coracle.local/busybox:1, command: [/nowhere]}]
---
apiVersion: v1
kind: Pod
metadata: {name: meek}
spec:
  restartPolicy: Never
  hostNetwork: true
  containers:
  - name: c
    image: coracle.local/busybox:1
    command: [sh, -c, 'id; touch /x; grep -E "NoNewPrivs|CapEff|Seccomp:" /proc/self/status; hostname']
    securityContext: {runAsUser: 1000, runAsGroup: 1001, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]},
                      seccompProfile: {type: RuntimeDefault}}
YAML
check kubectl create -f "$TMP/pods.yaml"

step "pods run, and end as they should"
eventually 20 pod_is two '{.status.conditions[?(@.type=="Ready")].status}' True
eventually 10 pod_is crash '{.status.containerStatuses[0].lastState.terminated.exitCode}' 3
check_out "the end" pod crash '{.status.containerStatuses[0].lastState.terminated.message}'
eventually 10 pod_is crash '{.status.containerStatuses[0].restartCount}' 1
eventually 10 pod_is greedy '{.status.containerStatuses[0].state.terminated.exitCode}' 137
# On a busy machine dockerd may see a container's end before the kernel's word about memory, and forgets that word then.
said() { if [ "$(docker inspect -f '{{.State.OOMKilled}}' "$(docker ps -aq --filter name=k8s_c_greedy_)")" = true ]; then echo OOMKilled; else echo Error; fi; }
check pod_is greedy '{.status.containerStatuses[0].state.terminated.reason}' "$(said)"
eventually 10 pod_is lost '{.status.containerStatuses[0].state.terminated.reason}' ContainerCannotRun
eventually 10 pod_is meek '{.status.phase}' Succeeded
check_out "uid=1000 gid=1001" kubectl logs meek
check_out "Read-only file system" kubectl logs meek
check_out "CapEff:	0000000000000000" kubectl logs meek
check_out "NoNewPrivs:	1" kubectl logs meek
check_out "Seccomp:	2" kubectl logs meek
check_out docker:// pod two '{.status.containerStatuses[0].containerID}'
check_out 10.244. pod two '{.status.podIP}'

step "names and labels are those of dockershim"
check_out k8s_a_two_default_ docker ps --format '{{.Names}}'
check_out k8s_POD_two_default_ docker ps --format '{{.Names}}'
check_out '"a=b"' docker inspect -f '{{json (index .Config.Labels "annotation.note")}}' "$(docker ps -q --filter label=io.kubernetes.docker.type=podsandbox --filter label=io.kubernetes.pod.name=two)"

step "volumes, the token, name servers, limits, a shared process namespace"
check_out shared kubectl exec two -c a -- cat /data/x
check_out hello kubectl exec two -c a -- cat /cm/greeting
check_out eyJ kubectl exec two -c a -- cat /token/token
check_out "search far.example" kubectl exec two -c b -- cat /etc/resolv.conf
check_out "nameserver 10.96.0.10" kubectl exec two -c a -- cat /etc/resolv.conf
check_out "options ndots:3" kubectl exec two -c a -- cat /etc/resolv.conf
check_out "10.244." kubectl exec two -c a -- grep -w two /etc/hosts
check_out two kubectl exec two -c a -- hostname
check_out 67108864 docker inspect -f '{{.HostConfig.Memory}}' "$(docker ps -q --filter name=k8s_a_two_)"
check_out sleep kubectl exec talk -c cat -- ps

step "logs"
check_out "err 1" kubectl logs two -c a
check_out "out 2" kubectl logs two -c a --timestamps --limit-bytes=400
check_out "2" sh -c "'$KUBECTL' logs two -c a --tail=2 | wc -l"
follow() { timeout 3 "$KUBECTL" logs -f two -c a --tail=1 | head -n 6 | wc -l; }
check_out 6 follow
check_out "the end" kubectl logs crash --previous

step "exec, with and without a terminal, in and out"
kubectl exec two -c b -- sh -c 'echo to out; echo to err >&2; exit 7' >"$TMP/o" 2>"$TMP/e"
check [ $? = 7 ]
check_out "to out" cat "$TMP/o"
check_out "to err" cat "$TMP/e"
check_out 3000000 sh -c "head -c 3000000 /dev/zero | '$KUBECTL' exec -i two -c b -- wc -c"
check_out 3000000 sh -c "'$KUBECTL' exec two -c b -- head -c 3000000 /dev/zero | wc -c"
terminal() { timeout 15 script -qec "stty rows 33 cols 99; '$KUBECTL' exec -it two -c a -- sh -c 'sleep 0.5; stty size; tty'" /dev/null </dev/null; }
check_out "33 99" terminal
check_out "/dev/pts/" terminal

step "attach and port-forward"
attach() { (echo over there; sleep 1) | timeout 10 "$KUBECTL" attach -q -i talk -c cat; }
check_out "over there" attach
port=$(free_port)
"$KUBECTL" port-forward pod/two "$port:80" "$((port + 1)):81" >"$TMP/forward" 2>&1 &
forward=$!
eventually 5 out_has page curl -sS -m 2 "http://127.0.0.1:$port/"
refute curl -sS -m 2 "http://127.0.0.1:$((port + 1))/"
eventually 3 grep -q "port 81 of the pod: Connection refused" "$TMP/forward"
kill $forward 2>/dev/null; wait $forward 2>/dev/null

step "a port of the host"
if [ -x /usr/sbin/iptables ]; then check_out page enter curl -sS -m 3 http://10.89.0.2:8088/; fi

step "a probe whose time is up is ended"
eventually 10 out_has "timed out" kubectl get events --field-selector involvedObject.name=talk
few() { [ "$(kubectl exec talk -c cat -- ps | grep -c 'sleep 77')" -le 1 ]; }
check few

step "figures"
check_out '"name":"a"' kubectl get --raw /api/v1/nodes/node-1/proxy/stats/summary

step "images come from a registry, for those who know the password"
enter python3 - "/var/lib/coracle/$NAME/images/coracle.tar" coracle.local/busybox:1 5000 joe sesame <"$ROOT/tests/lib/registry.py" >"$TMP/registry" 2>&1 &
registry=$!
secret() { kubectl create secret docker-registry "$1" --docker-server=127.0.0.1:5000 --docker-username=joe --docker-password="$2"; }
check secret right sesame
check secret wrong simsala
puller() { printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {restartPolicy: Never, imagePullSecrets: [{name: %s}], containers: [{name: c, image: "127.0.0.1:5000/team/%s", command: [echo, pulled]}]}\n' "$1" "$2" "$3" | kubectl create -f -; }
check puller denied wrong app:1
eventually 10 out_has unauthorized kubectl get events --field-selector involvedObject.name=denied
check puller absent right other:1
check puller allowed right app:1
eventually 20 pod_is allowed '{.status.phase}' Succeeded
check_out pulled kubectl logs allowed
check_out "Successfully pulled" kubectl get events --field-selector involvedObject.name=allowed
eventually 10 out_has "not found" kubectl get events --field-selector involvedObject.name=absent
kill $registry 2>/dev/null; wait $registry 2>/dev/null

step "a kubelet that is killed finds its containers again"
eventually 10 out_has _talk_ ids
was=$(ids)
old=$(pid_of kubelet)
check enter kill -9 "$old"
came_back() { local now; now=$(pid_of "$1"); [ -n "$now" ] && [ "$now" != "$2" ]; }
eventually 15 came_back kubelet "$old"
eventually 15 kubectl exec two -c a -- true
check [ "$(ids)" = "$was" ]

step "dockerd that is killed comes back to them"
old=$(pid_of dockerd)
check enter kill -9 "$old"
eventually 20 came_back dockerd "$old"
eventually 20 kubectl exec two -c a -- true
check [ "$(ids)" = "$was" ]
check pod_is two '{.status.containerStatuses[0].restartCount}' 0
check_out True kubectl get node node-1 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'

step "a sandbox whose kubelet ended before it had a network is made anew"
echo 'apiVersion: v1
kind: Pod
metadata: {name: bare}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "coracle.local/busybox:1", command: [sleep, "1000"]}]}' | kubectl create -f - >/dev/null
eventually 10 pod_is bare '{.status.phase}' Running
sandbox=$(docker ps -q --no-trunc --filter name=k8s_POD_bare_)
check enter sh -c 'jq "del(.result)" $1 >/tmp/state && cp /tmp/state $1' sh "/var/lib/kubelet/cni/$sandbox.json"
old=$(pid_of kubelet)
check enter kill -9 "$old"
eventually 15 came_back kubelet "$old"
another() { local now; now=$(docker ps -q --no-trunc --filter name=k8s_POD_bare_); [ -n "$now" ] && [ "$now" != "$sandbox" ]; }
eventually 15 another
eventually 10 kubectl exec bare -- ip addr show eth0

step "deleted pods leave nothing"
check kubectl delete pod --all --grace-period=1 --timeout=40s
left() { docker ps -a --format '{{.Names}} {{.Status}}'; enter sh -c 'cd /var/lib/kubelet && ls -d cni/* pods/* /var/log/pods/* /var/lib/cni/networks/coracle/10.* 2>/dev/null'; }
nothing() { left; [ -z "$(left)" ]; }
eventually 15 nothing
step "which runtime is driven, by hand"
hand() { enter timeout 3 "/var/lib/coracle/$NAME/bin/kubelet" --root-dir=/tmp/hand --cert-dir=/tmp/hand --fail-swap-on=false --hostname-override=hand --kubeconfig= --port=0 --read-only-port=0 --cadvisor-port=0 --healthz-port=0 "$@" 2>&1; true; }
check_out "dockerd at unix:///var/run/docker.sock" hand
check_out "dockerd at unix:///run/docker.sock" hand --flag-defaults=secure --docker-endpoint=unix:///run/docker.sock
check_out "are two runtimes" hand --docker-endpoint=unix:///run/docker.sock --container-runtime-endpoint=unix:///run/c.sock
check_out "is no unix socket" hand --docker-endpoint=tcp://127.0.0.1:2375
check_out "cgroup driver is" hand --cgroup-driver=systemd --docker-endpoint=unix:///run/docker.sock
refute out_has dockerd hand --flag-defaults=secure
enter sh -c 'echo "{apiVersion: kubelet.config.k8s.io/v1beta1, kind: KubeletConfiguration, authorization: {mode: AlwaysAllow}}" >/tmp/hand.yaml'
refute out_has dockerd hand --config=/tmp/hand.yaml

down
check same_state "$before"
