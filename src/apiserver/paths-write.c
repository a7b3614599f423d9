/* The catalog as JSON. Texts of peers are written as JSON strings with HTML's characters escaped. */
#include "api/json-writer.h"
#include "apiserver/paths.h"
#include "base/clock.h"

static void text(struct buf *b, const char *name, struct str s)
{
    if (s.len) {
        buf_printf(b, ",\"%s\":", name);
        json_write_string(b, s);
    }
}

static void number(struct buf *b, const char *name, uint64_t n)
{
    buf_printf(b, ",\"%s\":", name);
    json_write_u64(b, n);
}

static void when(struct buf *b, const char *name, int64_t at)
{
    char t[CLOCK_RFC3339_SIZE];
    if (at) {
        (void)clock_format_rfc3339(at, 0, 0, t);
        text(b, name, str_c(t));
    }
}

static void certificate(struct buf *b, const char *name, const struct path_certificate *c)
{
    if (!str_empty(c->subject) || c->not_after) {
        buf_printf(b, ",\"%s\":{\"subject\":", name);
        json_write_string(b, c->subject);
        when(b, "notBefore", c->not_before);
        when(b, "notAfter", c->not_after);
        buf_append_char(b, '}');
    }
}

static void end(struct buf *b, const char *name, const struct path_end *e)
{
    buf_printf(b, ",\"%s\":{\"name\":", name);
    json_write_string(b, e->name);
    text(b, "node", e->node);
    buf_append_char(b, '}');
}

static void write_row(struct buf *b, const struct path_row *r)
{
    static const char *const verified[] = { [PATH_VERIFY_UNKNOWN] = NULL, [PATH_VERIFIED] = "verified", [PATH_NOT_VERIFIED] = "not verified" };
    buf_printf(b, "{\"id\":\"%s\",\"verdict\":\"%s\"", r->kind->id, path_verdict_word(r->verdict));
    text(b, "reason", r->reason);
    text(b, "mend", r->mend);
    text(b, "warning", r->warning);
    end(b, "from", &r->from);
    end(b, "to", &r->to);
    text(b, "purpose", r->purpose);
    text(b, "section", str_c(r->kind->section));
    text(b, "address", r->address);
    text(b, "transport", str_c(path_transport_word(r->transport)));
    text(b, "tls", r->tls);
    text(b, "cipher", r->cipher);
    text(b, "http", r->http);
    text(b, "authentication", r->authn);
    text(b, "authorization", r->authz);
    text(b, "server", str_c(verified[r->server_verified]));
    certificate(b, "serverCertificate", &r->server);
    certificate(b, "clientCertificate", &r->client);
    number(b, "bytesSent", r->sent);
    number(b, "bytesReceived", r->received);
    number(b, "openConnections", r->open);
    number(b, "connections", r->opened);
    number(b, "failedConnections", r->failed);
    text(b, "lastError", r->last_error);
    text(b, "seenBy", r->seen_by);
    buf_append_char(b, '}');
}

static void write_part(struct buf *b, const struct path_part *p)
{
    buf_append_c(b, "{\"name\":");
    json_write_string(b, p->process);
    text(b, "node", p->node);
    text(b, "host", p->host);
    text(b, "version", p->version);
    text(b, "error", p->error);
    buf_append_c(b, ",\"unsafeFlags\":[");
    for (size_t i = 0; i < p->n_flags; i++) {
        const struct path_flag *f = &p->flags[i];
        buf_printf(b, "%s{\"flag\":", i ? "," : "");
        json_write_string(b, f->flag);
        text(b, "value", f->value);
        buf_printf(b, ",\"given\":%s", f->given ? "true" : "false");
        text(b, "why", f->why);
        text(b, "mend", f->mend);
        buf_append_char(b, '}');
    }
    buf_append_c(b, "]}");
}

void path_catalog_write_json(const struct path_catalog *c, struct buf *b)
{
    buf_append_c(b, "{\"kind\":\"CommunicationPaths\",\"apiVersion\":\"coracle/v1\"");
    when(b, "time", c->now);
    buf_printf(b, ",\"unsafe\":%s,\"summary\":{\"safe\":%zu,\"local\":%zu,\"unused\":%zu,\"unsafe\":%zu,\"unsafeFlags\":%zu},\"programs\":[",
               path_catalog_unsafe(c) ? "true" : "false", c->n_verdict[PATH_SAFE], c->n_verdict[PATH_LOCAL], c->n_verdict[PATH_UNUSED],
               c->n_verdict[PATH_UNSAFE], c->n_flags);
    for (size_t i = 0; i < c->n_parts; i++) {
        buf_append_c(b, i ? "," : "");
        write_part(b, &c->parts[i]);
    }
    buf_append_c(b, "],\"paths\":[");
    for (size_t i = 0; i < c->n_rows; i++) {
        buf_append_c(b, i ? "," : "");
        write_row(b, &c->rows[i]);
    }
    buf_append_c(b, "]}\n");
}
