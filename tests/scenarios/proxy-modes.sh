# limit: 90 s
# kube-proxy's two modes, in both families: an API server of one family after the other, the EndpointSlice controller, and kube-proxy in a
# namespace that plays a node between clients and pods. The pods are objects whose addresses answer in a namespace of their own.
. "$(dirname "$0")/../lib/scenario.sh"
need_root
for program in kube-apiserver kube-controller-manager kube-proxy; do need_program $program; done
NS=c-$$-modes
PIDS=
trap 'for pid in $PIDS; do kill $pid 2>/dev/null; done; wait 2>/dev/null; for n in node pods clients; do ip netns del $NS-$n 2>/dev/null; done; _end' EXIT
in_ns() { # in_ns NAME COMMAND...
    local n=$1
    shift
    ip netns exec "$NS-$n" "$@"
}
background() { # background NAMESPACE FILE COMMAND...: its pid is in LAST
    local n=$1 out=$2
    shift 2
    ip netns exec "$NS-$n" timeout 85 "$@" >"$TMP/$out" 2>&1 &
    LAST=$!
    PIDS="$PIDS $LAST"
}
end() { # end PID
    kill "$1" 2>/dev/null
    wait "$1" 2>/dev/null
}

for n in node pods clients; do ip netns add $NS-$n && in_ns $n ip link set lo up; done
cable() { # cable NAMESPACE IPV4 IPV6
    ip -n $NS-node link add "v$1" type veth peer name eth0 netns $NS-"$1"
    ip -n $NS-node addr add "$2.254/24" dev "v$1"
    ip -n $NS-node addr add "$3::fe/64" dev "v$1" nodad
    ip -n $NS-node link set "v$1" up
    for i in 1 2 3; do
        ip -n $NS-"$1" addr add "$2.$i/24" dev eth0
        ip -n $NS-"$1" addr add "$3::$i/64" dev eth0 nodad
    done
    ip -n $NS-"$1" link set eth0 up
    ip -n $NS-"$1" route add default via "$2.254"
    ip -n $NS-"$1" -6 route add default via "$3::fe"
}
cable pods 10.9.1 fd09:1
cable clients 10.9.2 fd09:2
ip -n $NS-node route add default via 10.9.1.253
ip -n $NS-node -6 route add default via fd09:1::fd
in_ns node sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
cat >"$TMP/pod.py" <<'PY'
# Answers on every address of this namespace with it, over HTTP and UDP.
import http.server, socket, socketserver, threading
class Pod(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("pod=%s peer=%s\n" % (self.server.server_address[0], self.client_address[0])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
class Four(socketserver.ThreadingTCPServer): # http.server's own asks for the address's name, which takes its time
    allow_reuse_address = daemon_threads = True
    request_queue_size = 100
class Six(Four):
    address_family = socket.AF_INET6
def udp(ip):
    s = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((ip, 8080))
    while True:
        data, peer = s.recvfrom(2048)
        s.sendto(b"pod=%s %s" % (ip.encode(), data), peer)
for i in (1, 2, 3):
    for ip, server in (("10.9.1.%d" % i, Four), ("fd09:1::%d" % i, Six)):
        threading.Thread(target=server((ip, 8080), Pod).serve_forever).start()
        threading.Thread(target=udp, args=(ip,)).start()
PY
cat >"$TMP/ask.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b"question")
print(s.recv(2048).decode())
PY
background pods pods.out python3 "$TMP/pod.py"
API=
MANAGER=
api() { # api METHOD PATH [BODY]
    in_ns node curl -sSg -m 5 -X "$1" -H "content-type: ${TYPE:-application/json}" ${3:+-d "$3"} "http://127.0.0.1:8080$2"
}
N=/api/v1/namespaces/default
pod_ready() { TYPE=application/merge-patch+json api PATCH "$N/pods/p$1/status" '{"status":{"phase":"Running","podIP":"10.9.1.'"$1"'","podIPs":[{"ip":"10.9.1.'"$1"'"},{"ip":"fd09:1::'"$1"'"}],"conditions":[{"type":"Ready","status":"'"$2"'"}]}}'; }

# cluster RANGE: an API server of that family with a Service "web" and three pods; the Service's address is in IP.
cluster() {
    background node api.log "$BIN/kube-apiserver" --store=memory --cert-dir="$TMP/pki" --bind-address=127.0.0.1 --secure-port=16443 \
        --service-cluster-ip-range="$1" --advertise-address="$2"
    API=$LAST
    eventually 15 out_has ok api GET /readyz
    background node manager.log "$BIN/kube-controller-manager" --master=http://127.0.0.1:8080 --controllers=endpointslice-controller
    MANAGER=$LAST
    check_out '"kind": "Node"' api POST /api/v1/nodes '{"metadata":{"name":"here"}}'
    check_out '"kind": "ServiceAccount"' api POST $N/serviceaccounts '{"metadata":{"name":"default"}}'
    for i in 1 2 3; do
        check_out '"kind": "Pod"' api POST $N/pods '{"metadata":{"name":"p'$i'","labels":{"app":"web"}},"spec":{"nodeName":"here","containers":[{"name":"c","image":"none"}]}}'
        check_out "fd09:1::$i" pod_ready $i True
    done
    check_out '"kind": "Service"' api POST $N/services '{"metadata":{"name":"web"},"spec":{"type":"NodePort","selector":{"app":"web"},"ports":[{"name":"http","port":80,"targetPort":8080,"nodePort":30080},{"name":"udp","protocol":"UDP","port":80,"targetPort":8080,"nodePort":30080}]}}' || exit 1
    IP=$(api GET $N/services/web | sed -n 's/.*"clusterIP": "\(.*\)".*/\1/p')
    eventually 10 out_has "${3}3" api GET /apis/discovery.k8s.io/v1/namespaces/default/endpointslices || { tail -n 5 "$TMP/manager.log"; exit 1; }
}
background pods pods.out python3 "$TMP/pod.py"

get() { in_ns "$1" curl -sSg -m 3 "http://$2/"; }
spreads() { [ "$(for _ in $(seq 12); do get "$1" "$2"; done | sed 's/ .*//' | sort -u | grep -c "pod=$POD")" = 3 ]; }
refused() { get "$@" >/dev/null 2>&1; [ $? = 7 ]; }
asked() { in_ns "$1" python3 "$TMP/ask.py" "$2" "$3"; }
only_others() { ! for _ in $(seq 9); do get clients "$URL"; done | grep -q "pod=${POD}1 "; }
nobody() { [ "$(in_ns clients curl -sg -m 1 -o /dev/null -w '%{http_code}' "$@")" = 000 ]; }
proxy() { # proxy FLAGS...: kube-proxy in the node; its pid is in PROXY
    background node proxy.log "$BIN/kube-proxy" --master=http://127.0.0.1:8080 --hostname-override=here --cluster-cidr=10.9.1.0/24,fd09:1::/64 "$@"
    PROXY=$LAST
    eventually 10 out_has 200 in_ns node curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:10256/healthz
}
# localnet 1|0: 127.0.0.0/8 has a way over the link, as the flaw needs it.
localnet() {
    in_ns node sh -c "echo $1 >/proc/sys/net/ipv4/conf/all/route_localnet"
    in_ns clients sh -c "echo $1 >/proc/sys/net/ipv4/conf/all/route_localnet"
    if [ "$1" = 1 ]; then
        in_ns clients sh -c 'ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via 10.9.2.254'
    else
        in_ns clients sh -c 'ip route del 127.0.0.0/8 via 10.9.2.254; ip addr add 127.0.0.1/8 dev lo'
    fi
}

for family in 6 4; do
    if [ $family = 4 ]; then
        end "$API"
        end "$MANAGER"
        POD=10.9.1. NODE=10.9.2.254
        cluster 10.96.0.0/16 10.9.1.254 $POD
        URL=$IP
    else
        POD=fd09:1:: NODE='[fd09:2::fe]'
        cluster fd96::/112 fd09:1::fe $POD
        URL="[$IP]"
    fi
    for mode in nftables userspace; do
        step "$mode, IPv$family: cluster IPs and node ports, TCP and UDP"
        proxy --proxy-mode=$mode
        eventually 5 spreads clients "$URL"
        check spreads node "$URL"
        check spreads clients "$NODE:30080"
        # All pods are in one namespace here: what one sends to another does not come back by way of the node.
        [ $mode = nftables ] || check_out "pod=$POD" get pods "$URL"
        check_out "pod=$POD" asked clients "$IP" 80
        check_out "pod=$POD" asked node "$IP" 80
        check_out "pod=$POD" asked clients "$(echo "$NODE" | tr -d '[]')" 30080
        check refused clients "$URL:81"
        check_out $mode in_ns node curl -s http://127.0.0.1:10249/proxyMode
        check_out 'kubeproxy_service_ports 3' in_ns node curl -s http://127.0.0.1:10249/metrics
        check in_ns node nft list table ip coracle-proxy
        check in_ns node nft list table ip6 coracle-proxy

        step "$mode, IPv$family: a pod that is not ready gets nothing"
        check pod_ready 1 False
        eventually 5 only_others
        check pod_ready 1 True
        eventually 5 spreads clients "$URL"
        if [ $family = 4 ]; then
            step "$mode: a neighbour does not reach what listens on loopback, even with route_localnet (CVE-2020-8558)"
            localnet 1
            check nobody --interface 10.9.2.1 http://127.0.0.1:10249/healthz
            check nobody --interface 10.9.2.1 http://127.0.0.1:30080/
            in_ns node nft delete table ip coracle-proxy
            check_out ok in_ns clients curl -s -m 2 --interface 10.9.2.1 http://127.0.0.1:10249/healthz
            localnet 0
        fi
        end "$PROXY"
        step "$mode, IPv$family: --cleanup leaves nothing"
        check in_ns node "$BIN/kube-proxy" --cleanup
        refute in_ns node nft list table ip coracle-proxy
        refute in_ns node nft list table ip6 coracle-proxy
    done
done

step "userspace: ports are of --proxy-port-range, nobody reaches them directly, and what finds none hears so and waits"
proxy --proxy-mode=userspace --proxy-port-range=36000+2
eventually 5 spreads clients "$URL"
taken() { [ "$(in_ns node ss -Hlnt | grep -cE '0\.0\.0\.0:3600[0-2] ')" = "$1" ]; }
eventually 5 taken 2
check nobody "http://10.9.2.254:$(in_ns node ss -Hlnt | grep -oE ':3600[0-2]' | head -n 1 | tr -d :)/"
for i in 1 2; do
    check_out '"kind": "Service"' api POST $N/services '{"metadata":{"name":"more'$i'"},"spec":{"selector":{"app":"web"},"ports":[{"port":80,"targetPort":8080}]}}'
done
eventually 8 out_has 'all ports of --proxy-port-range=36000-36002 are taken' api GET $N/events
check grep -q 'no port of the host for port' "$TMP/proxy.log"
URL=$(api GET $N/services/more2 | sed -n 's/.*"clusterIP": "\(.*\)".*/\1/p')
check_out '"kind"' api DELETE $N/services/web
eventually 5 spreads clients "$URL"
end "$PROXY"

step "flags that contradict each other"
refused_with() { local want=$1; shift; check_out "$want" sh -c '"$@" 2>&1; true' sh timeout 5 "$BIN/kube-proxy" --master=http://127.0.0.1:1 "$@"; }
refused_with 'contradict' --proxy-port-range=4000-4100
refused_with 'contradict' --udp-timeout=1s
refused_with 'contradict' --proxy-mode=userspace --bind-address=127.0.0.1
refused_with 'is no range of ports' --proxy-mode=userspace --proxy-port-range=5000-4000
refused_with 'is not supported' --proxy-mode=ipvs
