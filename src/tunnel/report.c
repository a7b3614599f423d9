#include "tunnel/report.h"

#include "api/json-writer.h"
#include "base/clock.h"
#include "client/path-report.h"

static void text(struct buf *b, const char *key, const char *value)
{
    buf_printf(b, ",\"%s\":", key);
    json_write_string(b, str_c(value));
}

static void number(struct buf *b, const char *key, uint64_t value)
{
    buf_printf(b, ",\"%s\":%llu", key, (unsigned long long)value);
}

void report_link(struct buf *b, struct str node, struct tunnel_link *l)
{
    static const char *const states[] = { "waiting", "connecting", "open" };
    const struct tunnel_facts *f = &l->facts;
    char since[CLOCK_RFC3339_SIZE];
    if (l->ops->refresh) {
        l->ops->refresh(l);
    }
    (void)clock_format_rfc3339(f->since, 0, 0, since);
    buf_append_c(b, "{\"node\":");
    json_write_string(b, node);
    text(b, "direction", l->ops->kind);
    text(b, "address", f->address);
    text(b, "state", states[f->state]);
    text(b, "since", since);
    /* SSH: the host key's fingerprint; reverse: the certificate's subject. */
    text(b, "identity", f->identity);
    text(b, "trust", f->trust ? f->trust : "");
    text(b, "kubelet", f->state != TUNNEL_OPEN ? "" : f->kubelet[0] ? f->kubelet : "reachable");
    number(b, "streams", f->streams);
    number(b, "bytesIn", f->bytes_in);
    number(b, "bytesOut", f->bytes_out);
    number(b, "opened", f->opened);
    number(b, "failed", f->failed);
    text(b, "lastError", f->last_error);
    buf_append_char(b, '}');
}

void report_link_path(struct buf *b, struct str node, struct tunnel_link *l, const struct tunnel_facts *f)
{
    bool ssh = strcmp(l->ops->kind, "ssh") == 0, direct = strcmp(l->ops->kind, "direct") == 0;
    bool kubelet = direct && f == &l->facts;
    buf_printf(b, ",{\"way\":\"%s\",\"purpose\":\"" PATH_PURPOSE_TUNNEL "\",\"transport\":\"%s\",\"peer\":", ssh || direct ? "out" : "in",
               ssh ? "ssh" : direct && !kubelet ? "plain" : "tls");
    CLEANUP(buf_deinit) struct buf peer;
    buf_init(&peer, 1024);
    buf_printf(&peer, "node/%.*s", STR_ARG(node));
    json_write_string(b, buf_str(&peer));
    text(b, "address", f->address);
    text(b, "authn", ssh ? "SSH key" : direct && !kubelet ? "what pods and services ask for" : "client certificate");
    text(b, "authz", ssh ? "authorized_keys of the node" : kubelet ? "Webhook" : direct ? "pods and services" : "the certificate's node");
    text(b, "peerSubject", f->identity);
    text(b, "peerState", f->trust && f->trust[0] && (!direct || kubelet) ? "verified" : "");
    text(b, "trust", f->trust ? f->trust : "");
    number(b, "bytesIn", f->bytes_in);
    number(b, "bytesOut", f->bytes_out);
    number(b, "opened", f->opened);
    number(b, "open", f->state == TUNNEL_OPEN);
    number(b, "failed", f->failed);
    text(b, "lastError", f->last_error);
    buf_append_char(b, '}');
}
