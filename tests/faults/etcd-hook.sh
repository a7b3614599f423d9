# Hurts one member of etcd, or heals it. Called by store-checker; runs in a namespace of its own, so "ip netns" is what it uses.
case $1 in
hurt)
    i=$((RANDOM % 3 + 1))
    what=$((RANDOM % 3))
    echo "$i $what" >"$ETCD/hurt"
    case $what in
    0) kill -9 "$(cat "$ETCD/m$i.pid")" ;;
    1) kill -STOP "$(cat "$ETCD/m$i.pid")" ;;
    2) ip -n "$NAME-sw" link set "p$i" down ;;
    esac
    ;;
heal)
    read -r i what <"$ETCD/hurt" || exit 1
    case $what in
    0)
        ip netns exec "$NAME-$i" etcd --name "m$i" --data-dir "$ETCD/m$i" --listen-client-urls "http://10.77.0.$i:2379,http://127.0.0.1:2379" \
            --advertise-client-urls "http://10.77.0.$i:2379" --listen-peer-urls "http://10.77.0.$i:2380" \
            --initial-advertise-peer-urls "http://10.77.0.$i:2380" --initial-cluster "$CLUSTER" --initial-cluster-state existing \
            --heartbeat-interval 50 --election-timeout 500 >>"$ETCD/m$i.log" 2>&1 </dev/null &
        echo $! >"$ETCD/m$i.pid"
        ;;
    1) kill -CONT "$(cat "$ETCD/m$i.pid")" ;;
    2) ip -n "$NAME-sw" link set "p$i" up ;;
    esac
    ;;
esac
