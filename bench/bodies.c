#include "bench/bodies.h"

#include <inttypes.h>

static const char pod_spec[] =
    "\"tolerations\":[{\"operator\":\"Exists\"}],\"terminationGracePeriodSeconds\":30,\"restartPolicy\":\"Always\","
    "\"containers\":[{\"name\":\"web\",\"image\":\"registry.example/shop/web:1.42.0\",\"args\":[\"--listen=:8080\","
    "\"--log-format=json\",\"--config=/etc/web/config.yaml\"],\"ports\":[{\"name\":\"http\",\"containerPort\":8080}],\"env\":[{\"name\":\"POD_NAME\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":"
    "\"metadata.name\"}}},{\"name\":\"POD_IP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}},{\"name\":"
    "\"DATABASE_URL\",\"value\":\"postgres://db.shop.svc:5432/shop\"},{\"name\":\"CACHE_SIZE\",\"value\":\"4096\"}],"
    "\"resources\":{\"requests\":{\"cpu\":\"1m\",\"memory\":\"1Mi\"},\"limits\":{\"memory\":\"128Mi\"}},\"readinessProbe\":{\"httpGet\":{\"path\":\"/readyz\","
    "\"port\":8080},\"periodSeconds\":5},\"volumeMounts\":[{\"name\":\"config\",\"mountPath\":\"/etc/web\",\"readOnly\":true},"
    "{\"name\":\"work\",\"mountPath\":\"/work\"}],\"securityContext\":{\"runAsNonRoot\":true,\"runAsUser\":1000,"
    "\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]}}}],"
    "\"volumes\":[{\"name\":\"config\",\"configMap\":{\"name\":\"web-config\"}},{\"name\":\"work\",\"emptyDir\":{}}]";

static const char labels[] = "\"labels\":{\"app\":\"web\",\"tier\":\"front\",\"pod-template-hash\":\"5d9c7b8f6d\"}";

void body_pod(struct buf *b, const char *name, const char *scheduler)
{
    buf_printf(b, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",%s,\"annotations\":{\"example.com/owner\":"
                  "\"team-shop\",\"example.com/revision\":\"42\"}},\"spec\":{", name, labels);
    if (scheduler) {
        buf_printf(b, "\"schedulerName\":\"%s\",", scheduler);
    }
    buf_printf(b, "%s}}", pod_spec);
}

void body_pod_status(struct buf *b, unsigned turn)
{
    static const char *const types[] = { "Initialized", "Ready", "ContainersReady", "PodScheduled" };
    buf_append_c(b, "{\"status\":{\"phase\":\"Running\",\"conditions\":[");
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        buf_printf(b, "%s{\"type\":\"%s\",\"status\":\"True\",\"lastTransitionTime\":\"2026-01-01T00:%02u:%02uZ\"}",
                   i ? "," : "", types[i], turn / 60 % 60, turn % 60);
    }
    buf_printf(b, "],\"hostIP\":\"192.0.2.1\",\"podIP\":\"198.51.100.7\",\"podIPs\":[{\"ip\":\"198.51.100.7\"}],"
                  "\"startTime\":\"2026-01-01T00:00:00Z\",\"containerStatuses\":[{\"name\":\"web\",\"image\":"
                  "\"registry.example/shop/web:1.42.0\",\"imageID\":\"sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945\","
                  "\"containerID\":\"containerd://9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\",\"ready\":true,"
                  "\"started\":true,\"restartCount\":%u,\"state\":{\"running\":{\"startedAt\":\"2026-01-01T00:00:00Z\"}}}]}}",
               turn);
}

void body_node(struct buf *b, const char *name)
{
    static const char room[] = "{\"cpu\":\"64\",\"memory\":\"256Gi\",\"pods\":\"5000\",\"ephemeral-storage\":\"100Gi\"}";
    buf_printf(b, "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\",\"labels\":{\"kubernetes.io/hostname\":"
                  "\"%s\",\"kubernetes.io/os\":\"linux\",\"kubernetes.io/arch\":\"amd64\"}},\"status\":{\"capacity\":%s,"
                  "\"allocatable\":%s,\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"KubeletReady\","
                  "\"message\":\"on paper\"}]}}", name, name, room, room);
}

void body_config_map(struct buf *b, const char *name, uint64_t at_ns)
{
    buf_printf(b, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\"},\"data\":{\"sent\":\"%020" PRIu64 "\"}}",
               name, at_ns);
}

void body_deployment(struct buf *b, const char *name, unsigned replicas)
{
    buf_printf(b, "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"%s\"},\"spec\":{\"replicas\":%u,"
                  "\"selector\":{\"matchLabels\":{\"deployment\":\"%s\"}},\"template\":{\"metadata\":{\"labels\":{\"deployment\":"
                  "\"%s\",\"app\":\"web\"}},\"spec\":{%s}}}}", name, replicas, name, name, pod_spec);
}
