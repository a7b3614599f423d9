/* Reports become rows, each with a verdict. Pure. */
#include <stdlib.h>

#include "apiserver/paths.h"
#include "base/clock.h"
#include "client/path-report.h"

/* A certificate is said to end soon in the last fifth of its life, but not before its last week: rotation begins much earlier. */
#define SOON_S (7 * 86400)
/* Errors older than that are history. */
#define ERROR_AGE_MS (10u * 60u * 1000u)

struct builder {
    struct arena *a;
    const struct path_world *w;
    struct path_row *rows;
    size_t n, capacity;
    bool failed;
};

const char *path_verdict_word(enum path_verdict v)
{
    static const char *const words[] = { [PATH_SAFE] = "safe", [PATH_LOCAL] = "local", [PATH_UNUSED] = "unused", [PATH_UNSAFE] = "unsafe" };
    return words[v];
}

const char *path_transport_word(enum path_transport t)
{
    static const char *const words[] = { [PATH_UNKNOWN] = "", [PATH_PLAIN] = "plain", [PATH_UNIX] = "unix", [PATH_TLS] = "tls", [PATH_SSH] = "ssh" };
    return words[t];
}

bool path_catalog_unsafe(const struct path_catalog *c)
{
    return c->n_verdict[PATH_UNSAFE] > 0 || c->n_flags > 0;
}

static struct path_row *add(struct builder *b)
{
    if (b->n == b->capacity) {
        size_t more = b->capacity ? 2 * b->capacity : 64;
        struct path_row *grown = arena_grow_n(b->a, b->rows, b->n, more, sizeof(*grown));
        if (!grown) {
            b->failed = true;
            return NULL;
        }
        b->rows = grown;
        b->capacity = more;
    }
    struct path_row *r = &b->rows[b->n++];
    *r = (struct path_row){ .kind = NULL };
    return r;
}

/* "kubelet server" is a part of the kubelet. */
static struct str program_of(struct str process)
{
    struct str head = process, tail;
    (void)str_cut(process, ' ', &head, &tail);
    return head;
}

/* "kubelet/node-1" is a kubelet on node-1. */
static struct path_end end_of(struct str name)
{
    struct path_end e = { .name = name };
    struct str node;
    if (str_cut(name, '/', &e.name, &node)) {
        e.node = node;
    }
    return e;
}

static bool starts(struct str s, const char *with)
{
    return str_starts(s, str_c(with));
}

/* ---- from a fact to a row ---- */

static void fill_ends(struct path_row *r, const struct path_part *p, const struct path_fact *f)
{
    const struct path_kind *k = r->kind;
    struct path_end here = { .name = program_of(p->process), .node = p->node };
    struct path_end there = end_of(!str_empty(f->peer) ? f->peer : f->way == PATH_OUT ? f->address : STR("anybody"));
    if (f->way == PATH_OUT) {
        r->from = k->from ? (struct path_end){ str_c(k->from), p->node } : here;
        r->to = k->to ? (struct path_end){ str_c(k->to), there.node } : there;
    } else {
        r->from = k->from ? (struct path_end){ str_c(k->from), there.node } : there;
        r->to = k->to ? (struct path_end){ str_c(k->to), p->node } : here;
    }
}

static void fill_row(struct builder *b, struct path_row *r, const struct path_part *p, const struct path_fact *f)
{
    struct str how, rest;
    r->kind = path_kind_of(p->process, f);
    r->fact = f;
    fill_ends(r, p, f);
    r->purpose = str_c(r->kind->what);
    if (str_eq_c(str_c(r->kind->id), "other") && !str_empty(f->purpose)) {
        r->purpose = f->purpose;
    }
    r->address = f->address;
    r->transport = f->transport;
    r->tls = f->tls;
    r->cipher = f->cipher;
    r->http = f->http;
    r->authn = f->authn;
    r->authz = f->authz;
    if (f->way == PATH_IN && str_cut(f->purpose, ':', &rest, &how)) {
        r->authn = how;
    }
    bool out = f->way == PATH_OUT;
    r->server = out ? f->peer_cert : f->own_cert;
    r->client = out ? f->own_cert : f->peer_cert;
    if (f->way == PATH_LISTEN) {
        r->client = (struct path_certificate){ 0 }; /* of whoever came last: says nothing of the port */
    }
    if (out && f->transport == PATH_TLS) {
        r->server_verified = str_eq_c(f->peer_state, "verified") ? PATH_VERIFIED : PATH_NOT_VERIFIED;
    }
    if (!out && f->transport == PATH_TLS && !str_eq_c(f->peer_state, "verified") && f->way != PATH_LISTEN) {
        r->client = (struct path_certificate){ 0 }; /* refused, or none: the request was known by something else */
    }
    r->sent = out ? f->bytes_out : f->bytes_in;
    r->received = out ? f->bytes_in : f->bytes_out;
    r->open = f->open;
    r->opened = f->opened;
    r->failed = f->failed;
    r->last_error = f->last_error;
    r->seen_by = str_empty(p->node) ? program_of(p->process) : arena_printf(b->a, "%.*s of %.*s", STR_ARG(program_of(p->process)), STR_ARG(p->node));
}

/* ---- what a row of a component's own report lacks: the apiserver's end of the same connections ---- */

static const char *const components[] = { "kubelet", "kube-proxy", "kube-controller-manager", "cloud-controller-manager", "kube-scheduler", "tunnel" };

static const struct path_fact *apiserver_end(const struct path_world *w, struct str program)
{
    const struct path_part *own = &w->parts[0];
    const struct path_fact *best = NULL;
    for (size_t i = 0; i < own->n_facts; i++) {
        const struct path_fact *f = &own->facts[i];
        if (f->way == PATH_IN && starts(f->purpose, PATH_PURPOSE_API) && str_eq(f->peer, program) && (!best || f->opened > best->opened)) {
            best = f;
        }
    }
    return best;
}

/* Have all of that program reported, as far as they are known? */
static bool all_reported(const struct path_world *w, struct str program)
{
    size_t n = 0;
    for (size_t i = 1; i < w->n_parts; i++) {
        if (str_eq(program_of(w->parts[i].process), program)) {
            if (!str_empty(w->parts[i].error)) {
                return false;
            }
            n++;
        }
    }
    return n > 0;
}

static bool is_component(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(components); i++) {
        if (str_eq_c(name, components[i])) {
            return true;
        }
    }
    return false;
}

/* Is the row told better by the components' own reports? */
static bool told_elsewhere(const struct path_world *w, const struct path_part *p, const struct path_fact *f)
{
    return p == &w->parts[0] && f->way == PATH_IN && starts(f->purpose, PATH_PURPOSE_API) && is_component(f->peer) && all_reported(w, f->peer);
}

static void join_apiserver_end(struct builder *b, struct path_row *r)
{
    const struct path_fact *f = apiserver_end(b->w, r->from.name);
    struct str rest, how;
    if (f && str_cut(f->purpose, ':', &rest, &how)) {
        r->authn = how;
        r->authz = f->authz;
    } else {
        r->authz = b->w->authz;
    }
}

/* The kubelet's end of what the apiserver dials: who decides there. */
static void join_kubelet_end(struct builder *b, struct path_row *r)
{
    for (size_t i = 1; i < b->w->n_parts; i++) {
        const struct path_part *p = &b->w->parts[i];
        for (size_t k = 0; str_eq(p->node, r->to.node) && !str_empty(p->node) && k < p->n_facts; k++) {
            if (p->facts[k].way == PATH_LISTEN && str_eq_c(p->facts[k].purpose, PATH_PURPOSE_KUBELET)) {
                r->authz = p->facts[k].authz;
            }
        }
    }
}

/* ---- paths that are possible and were not seen ---- */

static bool have_row(const struct builder *b, const char *id, struct str node)
{
    for (size_t i = 0; i < b->n; i++) {
        if (str_eq_c(str_c(b->rows[i].kind->id), id) && (str_empty(node) || str_eq(b->rows[i].to.node, node))) {
            return true;
        }
    }
    return false;
}

static struct path_row *possible(struct builder *b, const char *id, struct path_end from, struct path_end to)
{
    struct path_row *r = add(b);
    if (r) {
        r->kind = path_kind_by_id(id);
        r->from = from;
        r->to = to;
        r->purpose = str_c(r->kind->what);
        r->seen_by = STR("kube-apiserver");
    }
    return r;
}

static void add_possible(struct builder *b)
{
    const struct path_world *w = b->w;
    static const struct {
        const char *id;
        struct str known_by;
    } clients[] = { { "apiserver-users", STR_INIT("certificates, tokens") }, { "apiserver-pods", STR_INIT("service-account tokens") },
                    { "apiserver-bootstrap", STR_INIT("bootstrap tokens") }, { "apiserver-anonymous", STR_INIT("nothing") } };
    struct path_end master = { .name = STR("kube-apiserver") };
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        const struct path_kind *k = path_kind_by_id(clients[i].id);
        struct path_row *r = have_row(b, clients[i].id, STR_NULL) ? NULL : possible(b, clients[i].id, (struct path_end){ .name = str_c(k->from) }, master);
        if (r) {
            r->transport = PATH_TLS;
            r->address = i == 1 && w->service_address.len ? w->service_address : w->address;
            r->authn = clients[i].known_by;
            r->authz = w->authz;
        }
    }
    for (size_t i = 0; i < w->n_nodes; i++) {
        struct path_end kubelet = { .name = STR("kubelet"), .node = w->nodes[i].name };
        struct path_row *r = have_row(b, "apiserver-kubelet", w->nodes[i].name) ? NULL : possible(b, "apiserver-kubelet", master, kubelet);
        if (r) {
            r->address = w->nodes[i].address;
            r->transport = PATH_TLS;
            r->authn = w->kubelet_identity ? STR("client certificate") : STR_NULL;
        }
    }
    if (!have_row(b, "apiserver-backends", STR_NULL)) {
        (void)possible(b, "apiserver-backends", master, (struct path_end){ .name = STR("pods, services") });
    }
}

/* ---- certificates, errors ---- */

static struct str day(struct arena *a, int64_t at)
{
    char text[CLOCK_RFC3339_SIZE];
    (void)clock_format_rfc3339(at, 0, 0, text);
    return arena_str(a, str_c(text));
}

static void judge_certificate(struct builder *b, struct path_row *r, const char *whose, const struct path_certificate *c)
{
    int64_t now = b->w->now, left = c->not_after - now;
    if (!c->not_after) {
        return;
    }
    if (left <= 0) {
        r->verdict = PATH_UNSAFE;
        r->reason = arena_printf(b->a, "the %s's certificate (%.*s) has ended at %.*s", whose, STR_ARG(c->subject), STR_ARG(day(b->a, c->not_after)));
        r->mend = STR("a new certificate (coracle up renews those it made)");
    } else if (c->not_before > now) {
        r->verdict = PATH_UNSAFE;
        r->reason = arena_printf(b->a, "the %s's certificate (%.*s) begins only at %.*s: one of the clocks is wrong", whose, STR_ARG(c->subject),
                                 STR_ARG(day(b->a, c->not_before)));
        r->mend = STR_NULL;
    } else if (left < MIN((int64_t)SOON_S, (c->not_after - c->not_before) / 5)) {
        r->warning = arena_printf(b->a, "the %s's certificate ends at %.*s", whose, STR_ARG(day(b->a, c->not_after)));
    }
}

static void judge(struct builder *b, struct path_row *r)
{
    r->kind->judge(b->w, r, b->a);
    judge_certificate(b, r, "client", &r->client);
    judge_certificate(b, r, "server", &r->server);
    if (str_empty(r->warning) && r->fact && r->last_error.len && r->fact->error_age_ms < ERROR_AGE_MS && r->fact->way == PATH_OUT) {
        r->warning = arena_printf(b->a, "%.*s", STR_ARG(r->last_error));
    }
}

/* ---- order ---- */

static size_t section_of(const struct path_row *r)
{
    for (size_t i = 0; i < path_n_kinds; i++) {
        if (strcmp(path_kinds[i].section, r->kind->section) == 0) {
            return i;
        }
    }
    return path_n_kinds;
}

static int by_order(const void *x, const void *y)
{
    const struct path_row *a = x, *b = y;
    size_t sa = section_of(a), sb = section_of(b);
    if (sa != sb) {
        return sa < sb ? -1 : 1;
    }
    if (a->verdict != b->verdict) {
        return a->verdict > b->verdict ? -1 : 1;
    }
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    int c = str_cmp(a->from.node, b->from.node);
    c = c ? c : str_cmp(a->to.node, b->to.node);
    c = c ? c : str_cmp(a->from.name, b->from.name);
    return c ? c : str_cmp(a->address, b->address);
}

/* The same path of one process, told by several of its loops or lasting under several addresses, stays several rows; a listener
 * nobody came to and that has no purpose of its own is none. */
static bool is_row(const struct path_world *w, const struct path_part *p, const struct path_fact *f)
{
    bool silent = f->way == PATH_OUT && !f->opened && (str_empty(f->purpose) ? !f->failed : str_eq_c(f->purpose, PATH_PURPOSE_REPORT));
    return !told_elsewhere(w, p, f) && !silent;
}

bool path_catalog_build(struct arena *a, const struct path_world *w, struct path_catalog *ret)
{
    struct builder b = { .a = a, .w = w };
    *ret = (struct path_catalog){ .now = w->now, .parts = w->parts, .n_parts = w->n_parts };
    for (size_t i = 0; i < w->n_parts && !b.failed; i++) {
        const struct path_part *p = &w->parts[i];
        ret->n_flags += p->n_flags;
        for (size_t k = 0; k < p->n_facts && !b.failed; k++) {
            struct path_row *r = is_row(w, p, &p->facts[k]) ? add(&b) : NULL;
            if (!r) {
                continue;
            }
            fill_row(&b, r, p, &p->facts[k]);
            if (strcmp(r->kind->id, "component-apiserver") == 0) {
                join_apiserver_end(&b, r);
            } else if (p == &w->parts[0] && p->facts[k].way == PATH_IN && is_component(p->facts[k].peer)) {
                r->seen_by = STR("kube-apiserver (its end of the connection)");
            }
            if (strcmp(r->kind->id, "apiserver-kubelet") == 0) {
                join_kubelet_end(&b, r);
            }
            if (strcmp(r->kind->id, "apiserver-pods") == 0 && p->facts[k].way == PATH_IN && w->service_address.len) {
                r->address = arena_printf(a, "%.*s", STR_ARG(w->service_address));
            }
        }
    }
    if (!b.failed && w->n_parts) {
        add_possible(&b);
    }
    for (size_t i = 0; i < b.n; i++) {
        judge(&b, &b.rows[i]);
        ret->n_verdict[b.rows[i].verdict]++;
    }
    if (b.n) {
        qsort(b.rows, b.n, sizeof(*b.rows), by_order);
    }
    ret->rows = b.rows;
    ret->n_rows = b.n;
    return !b.failed;
}
