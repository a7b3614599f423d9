#include "client/path-report.h"

#include <unistd.h>

#include "api/json-writer.h"
#include "base/unsafe.h"

struct writer {
    struct buf *b;
    bool first;
};

static void text(struct buf *b, const char *name, struct str value)
{
    if (value.len) {
        buf_printf(b, ",\"%s\":", name);
        json_write_string(b, value);
    }
}

static void number(struct buf *b, const char *name, uint64_t value)
{
    if (value) {
        buf_printf(b, ",\"%s\":", name);
        json_write_u64(b, value);
    }
}

static void write_path(const struct net_path_info *i, void *arg)
{
    static const char *const transports[] = { [NET_TRANSPORT_UNKNOWN] = NULL, [NET_TRANSPORT_PLAIN] = "plain",
                                              [NET_TRANSPORT_UNIX] = "unix", [NET_TRANSPORT_TLS] = "tls" };
    static const char *const states[] = { [NET_PEER_NONE] = NULL, [NET_PEER_VERIFIED] = "verified", [NET_PEER_BAD] = "refused" };
    struct writer *w = arg;
    struct buf *b = w->b;
    buf_printf(b, "%s{\"way\":\"%s\"", w->first ? "" : ",", i->listener ? "listen" : i->outgoing ? "out" : "in");
    w->first = false;
    text(b, "peer", i->peer);
    text(b, "purpose", i->purpose);
    text(b, "address", i->address);
    text(b, "remote", i->remote);
    text(b, "authn", str_c(i->authn));
    text(b, "authz", str_c(i->authz));
    text(b, "transport", str_c(transports[i->transport]));
    text(b, "tls", str_c(i->tls_version));
    text(b, "cipher", str_c(i->cipher));
    text(b, "http", str_c(i->http));
    text(b, "peerState", str_c(states[i->peer_state]));
    text(b, "peerReason", str_c(i->peer_reason));
    text(b, "peerSubject", i->peer_subject);
    number(b, "peerNotBefore", (uint64_t)MAX(i->peer_not_before, (int64_t)0));
    number(b, "peerNotAfter", (uint64_t)MAX(i->peer_not_after, (int64_t)0));
    text(b, "ownSubject", i->own_subject);
    number(b, "ownNotBefore", (uint64_t)MAX(i->own_not_before, (int64_t)0));
    number(b, "ownNotAfter", (uint64_t)MAX(i->own_not_after, (int64_t)0));
    if (i->asks_certificates) {
        buf_append_c(b, ",\"asksCertificates\":true");
    }
    number(b, "bytesIn", i->bytes_in);
    number(b, "bytesOut", i->bytes_out);
    number(b, "opened", i->opened);
    number(b, "open", i->open);
    number(b, "failed", i->failed);
    if (i->last_error.len) {
        text(b, "lastError", i->last_error);
        number(b, "errorAgeMs", i->error_age_ms == UINT64_MAX ? 0 : i->error_age_ms);
    }
    buf_append_char(b, '}');
}

void path_report_write(struct loop *l, const char *process, struct str more, struct buf *b)
{
    char host[256] = "";
    struct writer w = { .b = b, .first = true };
    if (gethostname(host, sizeof(host) - 1) < 0) {
        host[0] = 0;
    }
    buf_append_c(b, "{\"process\":");
    json_write_string(b, str_c(process));
    text(b, "host", str_c(host));
    number(b, "pid", (uint64_t)getpid());
    text(b, "version", STR(CORACLE_VERSION));
    buf_append_c(b, ",\"unsafeFlags\":");
    unsafe_write_json(b);
    buf_append_c(b, ",\"paths\":[");
    net_path_each(l, write_path, &w);
    if (more.len) {
        buf_append(b, w.first ? str_sub(more, 1, more.len) : more);
    }
    buf_append_c(b, "]}");
}

void path_report_answer(struct loop *l, const char *process, struct str more, struct str others, struct buf *b)
{
    buf_append_c(b, "{\"parts\":[");
    path_report_write(l, process, more, b);
    buf_append(b, others);
    buf_append_c(b, "]}");
}
