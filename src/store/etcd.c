#include <assert.h>

#include "base/fs.h"
#include "base/log.h"
#include "net/addr.h"
#include "net/path.h"
#include "store/etcd-private.h"

/* etcd's interceptor answers a call that says so with "no leader" at once, rather than after an election's time. */
static const struct grpc_header metadata[] = { { "hasleader", "true" } };

enum { MAX_SERVERS = 32, MAX_PEM = 4u << 20, KEEPALIVE_MS = 5000, CONNECT_MS = 700, SILENCE_MS = 300 };

/* ---- keys ---- */

struct str etcd_key_out(const struct etcd_store *s, struct str key, char dst[ETCD_KEY_SIZE])
{
    struct str rest = str_starts(key, STR(ETCD_LOCAL_PREFIX)) ? str_sub(key, sizeof(ETCD_LOCAL_PREFIX) - 1, SIZE_MAX) : key;
    size_t n = strlen(s->prefix);
    assert(n + rest.len <= ETCD_KEY_SIZE);
    memcpy(dst, s->prefix, n);
    memcpy(dst + n, rest.ptr, rest.len);
    return str_n(dst, n + rest.len);
}

bool etcd_key_in(const struct etcd_store *s, struct str key, char dst[ETCD_KEY_SIZE], struct str *ret)
{
    size_t n = strlen(s->prefix), own = sizeof(ETCD_LOCAL_PREFIX) - 1;
    if (!str_starts(key, str_n(s->prefix, n)) || key.len == n || key.ptr[n] != '/' || key.len - n + own > ETCD_KEY_SIZE) {
        return false;
    }
    memcpy(dst, ETCD_LOCAL_PREFIX, own);
    memcpy(dst + own, key.ptr + n, key.len - n);
    *ret = str_n(dst, own + key.len - n);
    return true;
}

/* ---- resources ---- */

struct etcd_resource *etcd_find_resource(struct etcd_store *s, struct str key)
{
    LIST_FOREACH(&s->resources, struct etcd_resource, link, r) {
        if (!r->closed && str_starts(key, r->cfg.prefix)) {
            return r;
        }
    }
    return NULL;
}

static struct store_resource *resource_open(struct store *base, const struct store_resource_config *cfg)
{
    struct etcd_store *s = etcd_of(base);
    struct etcd_resource *r = calloc(1, sizeof(*r));
    if (!r || !(r->prefix = malloc(cfg->prefix.len + 1))) {
        abort();
    }
    memcpy(r->prefix, cfg->prefix.ptr, cfg->prefix.len);
    r->base.store = base;
    r->cfg = *cfg;
    r->cfg.prefix = str_n(r->prefix, cfg->prefix.len);
    r->refs = 1;
    list_push_back(&s->resources, &r->link);
    return &r->base;
}

void etcd_resource_unref(struct etcd_resource *r)
{
    if (r && --r->refs == 0) {
        free(r->prefix);
        free(r);
    }
}

static void want_progress(struct store_resource *base, bool on)
{
    struct etcd_resource *r = CONTAINER_OF(base, struct etcd_resource, base);
    struct etcd_store *s = etcd_of(base->store);
    if (r->want_progress != on) {
        r->want_progress = on;
        s->n_want_progress += on ? 1 : -1u;
        etcd_want_progress(s);
    }
}

static void resource_close(struct store_resource *base)
{
    struct etcd_resource *r = CONTAINER_OF(base, struct etcd_resource, base);
    want_progress(base, false);
    r->closed = true;
    list_remove(&r->link);
    etcd_resource_unref(r);
}

static int64_t watermark(struct store_resource *base)
{
    return etcd_of(base->store)->watermark;
}

/* ---- ranges ---- */

struct etcd_range {
    struct list link;
    struct etcd_store *s;
    char *start, *end;
    struct str start_key, end_key; /* in 'start', 'end'; the latter absent: no end */
    uint32_t limit;
    store_page_fn *done;
    void *arg;
};

static void range_end(struct etcd_range *r, const struct store_page *page)
{
    r->done(r->arg, page);
    free(r->start);
    free(r->end);
    free(r);
}

static void range_call(struct etcd_range *r);

static void on_range(void *arg, const void *response, const struct etcd_result *result)
{
    struct etcd_range *r = arg;
    const struct etcd_v3_range_response *resp = response;
    if (result->status == STORE_E_TOO_LARGE && r->limit > 1) {
        r->limit /= 2;
        range_call(r);
        return;
    }
    if (!resp && (result->status == STORE_E_UNAVAILABLE || result->status == STORE_E_UNKNOWN)) {
        log_warning("store: etcd cannot be read: %s; trying again", result->message ? result->message : "no answer");
        range_call(r); /* whoever loads cannot go on without */
        return;
    }
    if (!resp || !resp->header) {
        struct store_page page = { .status = resp ? STORE_E_IO : result->status };
        if (result->message && page.status != STORE_E_CLOSED) {
            log_warning("store: etcd does not answer: %s", result->message);
        }
        range_end(r, &page);
        return;
    }
    etcd_note_header(r->s, resp->header);
    CLEANUP(arena_deinit) struct arena a;
    arena_init(&a, ARENA_NO_BUDGET);
    struct store_kv *items = arena_new_n(&a, struct store_kv, resp->n_kvs + 1);
    size_t n = 0;
    if (!items) {
        abort();
    }
    for (size_t i = 0; i < resp->n_kvs; i++) {
        const struct etcd_v3_key_value *kv = &resp->kvs[i];
        char key[ETCD_KEY_SIZE];
        if (etcd_key_in(r->s, kv->key, key, &items[n].key)) {
            items[n].key = arena_str(&a, items[n].key);
            items[n].value = kv->value.ptr ? kv->value : STR_EMPTY;
            items[n++].revision = kv->mod_revision;
        }
    }
    /* A page of foreign keys alone cannot be, for the range lies below the prefix. */
    struct store_page page = { .status = STORE_OK, .items = items, .n_items = n, .more = resp->more && n > 0,
                               .revision = resp->header->revision };
    range_end(r, &page);
}

static void range_call(struct etcd_range *r)
{
    struct etcd_v3_range_request req = { .key = r->start_key, .range_end = r->end_key.ptr ? r->end_key : str_n("\0", 1),
                                         .limit = r->limit };
    (void)etcd_call(r->s, &etcd_v3_kv_range_rpc, &req, true, 0, on_range, r);
}

static char *keep(struct str *s)
{
    char *copy = malloc(s->len + 1);
    if (!copy) {
        abort();
    }
    memcpy(copy, s->ptr, s->len);
    *s = str_n(copy, s->len);
    return copy;
}

static void range(struct store *base, struct str start, struct str end, uint32_t limit, store_page_fn *done, void *arg)
{
    struct etcd_store *s = etcd_of(base);
    struct etcd_range *r = calloc(1, sizeof(*r));
    char from[ETCD_KEY_SIZE], to[ETCD_KEY_SIZE];
    if (!r) {
        abort();
    }
    *r = (struct etcd_range){ .s = s, .limit = limit ? MIN(limit, STORE_PAGE_ITEMS) : STORE_ETCD_PAGE, .done = done, .arg = arg };
    list_init(&r->link);
    r->start_key = etcd_key_out(s, start, from);
    r->start = keep(&r->start_key);
    if (end.ptr) {
        r->end_key = etcd_key_out(s, end, to);
        r->end = keep(&r->end_key);
    }
    if (s->started) {
        range_call(r);
    } else {
        list_push_back(&s->before_start, &r->link); /* the watch has to begin before what is read */
    }
}

void etcd_release_ranges(struct etcd_store *s)
{
    while (!list_empty(&s->before_start)) {
        range_call(LIST_ENTRY(list_pop_front(&s->before_start), struct etcd_range, link));
    }
}

/* ---- the newest revision, and health ---- */

struct etcd_ask {
    struct list link;
    store_revision_fn *done;
    void *arg;
};

static void end_asks(struct etcd_store *s, enum store_status status, int64_t revision)
{
    struct list asks;
    list_init(&asks);
    while (!list_empty(&s->asked)) {
        list_push_back(&asks, list_pop_front(&s->asked));
    }
    while (!list_empty(&asks)) {
        struct etcd_ask *a = LIST_ENTRY(list_pop_front(&asks), struct etcd_ask, link);
        a->done(a->arg, status, revision);
        free(a);
    }
}

static void on_asked(void *arg, const void *response, const struct etcd_result *result)
{
    struct etcd_store *s = arg;
    const struct etcd_v3_range_response *r = response;
    int64_t revision = r && r->header ? r->header->revision : 0;
    s->ask = NULL;
    etcd_note_revision(s, revision);
    end_asks(s, r && !r->header ? STORE_E_IO : result->status, revision);
    etcd_want_progress(s);
    if (!list_empty(&s->asking)) {
        loop_task_defer(&s->ask_task);
    }
}

/* A read of one key that is never there, through the quorum. */
static struct etcd_call *quorum_read(struct etcd_store *s, uint32_t timeout_ms, etcd_done_fn *done, void *arg)
{
    char key[ETCD_KEY_SIZE];
    struct etcd_v3_range_request req = { .key = etcd_key_out(s, STR(ETCD_LOCAL_PREFIX "/health"), key), .keys_only = true, .limit = 1 };
    return etcd_call(s, &etcd_v3_kv_range_rpc, &req, true, timeout_ms, done, arg);
}

static void on_ask(void *arg)
{
    struct etcd_store *s = arg;
    if (s->ask || list_empty(&s->asking)) {
        return;
    }
    while (!list_empty(&s->asking)) {
        list_push_back(&s->asked, list_pop_front(&s->asking));
    }
    s->ask = quorum_read(s, 0, on_asked, s);
}

static void revision(struct store *base, store_revision_fn *done, void *arg)
{
    struct etcd_store *s = etcd_of(base);
    struct etcd_ask *a = malloc(sizeof(*a));
    if (!a) {
        abort();
    }
    *a = (struct etcd_ask){ .done = done, .arg = arg };
    list_push_back(&s->asking, &a->link);
    loop_task_defer(&s->ask_task);
}

struct etcd_health {
    store_health_fn *done;
    void *arg;
};

static void on_health(void *arg, const void *response UNUSED, const struct etcd_result *result)
{
    struct etcd_health h = *(struct etcd_health *)arg;
    free(arg);
    h.done(h.arg, result->status);
}

static void health(struct store *base, uint32_t timeout_ms, store_health_fn *done, void *arg)
{
    struct etcd_health *h = malloc(sizeof(*h));
    if (!h) {
        abort();
    }
    *h = (struct etcd_health){ .done = done, .arg = arg };
    (void)quorum_read(etcd_of(base), timeout_ms, on_health, h);
}

static int64_t revision_seen(struct store *base)
{
    return etcd_of(base)->seen;
}

static void stats(struct store *base, struct store_stats *ret)
{
    struct etcd_store *s = etcd_of(base);
    *ret = s->stats;
    ret->revision = s->seen;
}

/* ---- life ---- */

static void etcd_close(struct store *base)
{
    struct etcd_store *s = etcd_of(base);
    s->closing = true;
    etcd_upkeep_stop(s);
    etcd_watch_stop(s);
    etcd_writes_end(s);
    while (!list_empty(&s->calls)) {
        /* Their 'done' hears that the store is closed. */
        struct etcd_call *c = LIST_ENTRY(s->calls.next, struct etcd_call, link);
        etcd_done_fn *done = c->done;
        void *arg = c->arg;
        struct etcd_result r = { .status = STORE_E_CLOSED };
        etcd_call_cancel(c);
        done(arg, NULL, &r);
    }
    while (!list_empty(&s->before_start)) {
        struct store_page page = { .status = STORE_E_CLOSED };
        range_end(LIST_ENTRY(list_pop_front(&s->before_start), struct etcd_range, link), &page);
    }
    while (!list_empty(&s->asking)) {
        list_push_back(&s->asked, list_pop_front(&s->asking));
    }
    end_asks(s, STORE_E_CLOSED, 0);
    loop_task_cancel(&s->ask_task);
    grpc_client_free(s->grpc);
    net_tls_client_unref(s->tls);
    while (!list_empty(&s->resources)) {
        etcd_resource_unref(LIST_ENTRY(list_pop_front(&s->resources), struct etcd_resource, link));
    }
    map_deinit(&s->by_key);
    free(s->ca_file);
    free(s->cert_file);
    free(s->key_file);
    free(s->prefix);
    free(s);
}

static bool read_pem(const char *flag, const char *path, struct buf *b, struct err *err)
{
    return !path[0] || fs_read(path, MAX_PEM, b, err) || err_wrap(err, "%s", flag);
}

static bool load_tls(struct etcd_store *s, struct err *err)
{
    CLEANUP(buf_deinit) struct buf ca, cert, key;
    buf_init(&ca, MAX_PEM);
    buf_init(&cert, MAX_PEM);
    buf_init(&key, MAX_PEM);
    if (!read_pem("--etcd-cafile", s->ca_file, &ca, err) || !read_pem("--etcd-certfile", s->cert_file, &cert, err) ||
        !read_pem("--etcd-keyfile", s->key_file, &key, err)) {
        return false;
    }
    struct net_tls_client_config cfg = {
        .ca_pem = buf_str(&ca), .identity = { .cert_pem = buf_str(&cert), .key_pem = buf_str(&key) }, .alpn = NET_ALPN_H2,
    };
    if (s->tls) {
        return net_tls_client_reload(s->tls, &cfg, err);
    }
    s->tls = net_tls_client_new(&cfg, err);
    return s->tls != NULL;
}

static bool reload(struct store *base, struct err *err)
{
    struct etcd_store *s = etcd_of(base);
    return !s->tls || load_tls(s, err);
}

static const struct store_ops etcd_ops = {
    .name = "etcd",
    .close = etcd_close,
    .resource_open = resource_open,
    .resource_close = resource_close,
    .watermark = watermark,
    .want_progress = want_progress,
    .write = etcd_write,
    .range = range,
    .revision = revision,
    .revision_seen = revision_seen,
    .stats = stats,
    .health = health,
    .reload = reload,
};

/* "https://10.0.0.1:2379" */
static bool parse_server(struct str text, struct grpc_endpoint *ret, bool *ret_tls, struct err *err)
{
    struct str rest;
    if (str_starts(text, STR("unix://"))) {
        *ret = (struct grpc_endpoint){ .host = str_sub(text, 7, SIZE_MAX) };
        *ret_tls = false;
        return (ret->host.len > 1 && ret->host.ptr[0] == '/') || err_set(err, ERR_INVALID, "--etcd-servers: \"%.*s\" has no path", STR_ARG(text));
    }
    *ret_tls = str_starts(text, STR("https://"));
    if (!*ret_tls && !str_starts(text, STR("http://"))) {
        return err_set(err, ERR_INVALID, "--etcd-servers: \"%.*s\" begins with neither https:// nor http:// nor unix://", STR_ARG(text));
    }
    rest = str_sub(text, *ret_tls ? 8 : 7, SIZE_MAX);
    if (rest.len && rest.ptr[rest.len - 1] == '/') {
        rest.len--;
    }
    ret->port = 0;
    if (!net_split_host_port(rest, &ret->host, &ret->port) || ret->port == 0 || str_empty(ret->host) || str_find_char(rest, '/') >= 0) {
        return err_set(err, ERR_INVALID, "--etcd-servers: \"%.*s\" is not scheme://host:port", STR_ARG(text));
    }
    return true;
}

struct store *store_open_etcd(const struct store_config *cfg, const struct store_etcd_config *etcd, struct err *err)
{
    struct grpc_endpoint endpoints[MAX_SERVERS];
    bool tls = false;
    if (etcd->n_servers == 0 || etcd->n_servers > MAX_SERVERS) {
        err_set(err, ERR_INVALID, "--etcd-servers takes 1 to %d addresses", MAX_SERVERS);
        return NULL;
    }
    for (size_t i = 0; i < etcd->n_servers; i++) {
        bool one;
        if (!parse_server(etcd->servers[i], &endpoints[i], &one, err)) {
            return NULL;
        }
        if (i > 0 && one != tls) {
            err_set(err, ERR_INVALID, "--etcd-servers: either all addresses are https:// or none is");
            return NULL;
        }
        tls = one;
    }
    struct str prefix = etcd->prefix;
    while (prefix.len && prefix.ptr[prefix.len - 1] == '/') {
        prefix.len--;
    }
    if (prefix.len > 200) {
        err_set(err, ERR_INVALID, "--etcd-prefix is longer than 200 bytes");
        return NULL;
    }
    if ((etcd->cert_file.len > 0) != (etcd->key_file.len > 0)) {
        err_set(err, ERR_INVALID, "--etcd-certfile and --etcd-keyfile belong together");
        return NULL;
    }
    struct etcd_store *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    assert(cfg->loop);
    s->base.ops = &etcd_ops;
    s->cfg = *cfg;
    s->loop = cfg->loop;
    s->ca_file = str_dup(etcd->ca_file);
    s->cert_file = str_dup(etcd->cert_file);
    s->key_file = str_dup(etcd->key_file);
    s->force_trust = etcd->trust_progress;
    s->compaction_interval_ms = etcd->compaction_interval_ms;
    if (prefix.len == 0) {
        s->prefix = str_dup(STR(ETCD_LOCAL_PREFIX));
    } else if (asprintf(&s->prefix, "%s%.*s", prefix.ptr[0] == '/' ? "" : "/", STR_ARG(prefix)) < 0) {
        abort();
    }
    list_init(&s->calls);
    list_init(&s->resources);
    list_init(&s->before_start);
    list_init(&s->asking);
    list_init(&s->asked);
    list_init(&s->writes);
    list_init(&s->queued);
    list_init(&s->lease_waiters);
    map_init(&s->by_key);
    loop_task_init(&s->ask_task, s->loop, on_ask, s);
    loop_timer_init(&s->stall, s->loop, etcd_writes_stalled, s);
    loop_timer_init(&s->queue_timer, s->loop, etcd_writes_late, s);
    if (tls && !load_tls(s, err)) {
        map_deinit(&s->by_key);
        free(s->ca_file);
        free(s->cert_file);
        free(s->key_file);
        free(s->prefix);
        free(s);
        return NULL;
    }
    struct net_path_spec spec = { .outgoing = true, .peer = STR("etcd"), .purpose = STR("store"),
                                  .authn = !tls ? "nobody" : etcd->cert_file.len ? "client certificate" : "nobody",
                                  .authz = "etcd" };
    struct net_path *path = net_path_get(s->loop, &spec);
    struct grpc_config grpc = {
        .path = path, .dialer = etcd->dialer,
        .endpoints = endpoints, .n_endpoints = etcd->n_servers, .tls = s->tls, .metadata = metadata, .n_metadata = ARRAY_SIZE(metadata),
        .connect_ms = CONNECT_MS, .silence_ms = etcd->silence_ms ? etcd->silence_ms : SILENCE_MS, .keepalive_ms = KEEPALIVE_MS,
        .max_message = STORE_ETCD_MAX_MESSAGE, .backoff_min_ms = 50, .backoff_max_ms = 1000,
    };
    s->grpc = grpc_client_new(s->loop, &grpc);
    net_path_unref(path);
    etcd_watch_start(s);
    etcd_upkeep_start(s);
    return &s->base;
}
