/*
 * Front proxies (--requestheader-*): a proxy that has authenticated somebody says who it is in headers. They are believed only from a
 * connection whose certificate the proxies' own CA signed, with one of the allowed common names; otherwise they are not there.
 */
#include "auth/auth-cache.h"
#include "auth/authn-table.h"
#include "auth/limits.h"
#include "base/encoding.h"
#include "net/http.h"
#include "pki/cert.h"

struct names {
    struct str *items; /* lower case where they are headers */
    size_t n;
};

struct authn_requestheader {
    struct authn authn;
    struct arena arena;
    char *path;
    struct pki_bundle roots;
    struct auth_cache *cache; /* chains that are proxies' */
    struct names allowed, users, uids, groups, prefixes;
};

/* ---- lifecycle ---- */

static struct names copy(struct arena *a, const struct str *src, size_t n, bool lower)
{
    struct names list = { .items = arena_new_n(a, struct str, n + 1), .n = n };
    for (size_t i = 0; list.items && i < n; i++) {
        char *text = arena_cstr(a, str_trim(src[i]));
        for (char *c = text; lower && c && *c; c++) {
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
        }
        list.items[i] = str_c(text);
    }
    if (!list.items) {
        abort();
    }
    return list;
}

static bool all_are_headers(const struct names *list, const char *flag, struct err *err)
{
    for (size_t i = 0; i < list->n; i++) {
        if (!http_is_token(list->items[i])) {
            return err_set(err, ERR_INVALID, "%s: \"%.*s\" is no name of a header", flag, STR_ARG(list->items[i]));
        }
    }
    return true;
}

static void requestheader_close(struct authn *self)
{
    struct authn_requestheader *q = CONTAINER_OF(self, struct authn_requestheader, authn);
    pki_bundle_deinit(&q->roots);
    auth_cache_free(q->cache);
    arena_deinit(&q->arena);
    free(q);
}

static bool requestheader_open(const struct authn_config *cfg, struct authn **ret, struct err *err)
{
    const struct authn_requestheader_config *c = &cfg->requestheader;
    if (!c->client_ca_file || !c->client_ca_file[0]) {
        *ret = NULL;
        return true;
    }
    struct authn_requestheader *q = calloc(1, sizeof(*q));
    if (!q) {
        abort();
    }
    q->authn.ops = &authn_requestheader_ops;
    arena_init(&q->arena, ARENA_NO_BUDGET);
    q->cache = auth_cache_new();
    q->path = arena_cstr(&q->arena, str_c(c->client_ca_file));
    q->allowed = copy(&q->arena, c->allowed_names, c->n_allowed_names, false);
    q->users = copy(&q->arena, c->username_headers, c->n_username_headers, true);
    q->uids = copy(&q->arena, c->uid_headers, c->n_uid_headers, true);
    q->groups = copy(&q->arena, c->group_headers, c->n_group_headers, true);
    q->prefixes = copy(&q->arena, c->extra_prefixes, c->n_extra_prefixes, true);
    if (!all_are_headers(&q->users, "--requestheader-username-headers", err) ||
        !all_are_headers(&q->uids, "--requestheader-uid-headers", err) ||
        !all_are_headers(&q->groups, "--requestheader-group-headers", err) ||
        !all_are_headers(&q->prefixes, "--requestheader-extra-headers-prefix", err) ||
        !(pki_bundle_load(&q->roots, q->path, err) || err_wrap(err, "--requestheader-client-ca-file"))) {
        requestheader_close(&q->authn);
        return false;
    }
    *ret = &q->authn;
    return true;
}

static bool requestheader_reload(struct authn *self, struct err *err)
{
    struct authn_requestheader *q = CONTAINER_OF(self, struct authn_requestheader, authn);
    struct pki_bundle roots;
    if (!pki_bundle_load(&roots, q->path, err)) {
        return err_wrap(err, "--requestheader-client-ca-file is kept as it was");
    }
    pki_bundle_deinit(&q->roots);
    q->roots = roots;
    auth_cache_clear(q->cache);
    return true;
}

static bool has(const struct names *list, struct str s)
{
    for (size_t i = 0; i < list->n; i++) {
        if (str_eq(list->items[i], s)) {
            return true;
        }
    }
    return false;
}

static bool requestheader_believes(const struct authn *self, struct str header)
{
    const struct authn_requestheader *q = (const struct authn_requestheader *)(const void *)((const char *)self -
                                          offsetof(struct authn_requestheader, authn));
    if (has(&q->users, header) || has(&q->uids, header) || has(&q->groups, header)) {
        return true;
    }
    for (size_t i = 0; i < q->prefixes.n; i++) {
        if (str_starts(header, q->prefixes.items[i])) {
            return true;
        }
    }
    return false;
}

/* ---- the proxy ---- */

static bool verify(struct authn_requestheader *q, struct authn_request *r, struct pki_cert *const *chain, const uint8_t digest[32])
{
    struct pki_cert_info info;
    if (!pki_cert_inspect(chain[0], r->arena, &info, &r->err) ||
        !pki_verify(&q->roots, chain, r->n_peer_chain, PKI_USAGE_CLIENT_AUTH, r->now, &r->err)) {
        return false;
    }
    if (q->allowed.n > 0 && !has(&q->allowed, info.names.cn)) {
        return err_set(&r->err, ERR_UNAUTHORIZED, "x509: subject with cn=%.*s is not in the allowed list", STR_ARG(info.names.cn));
    }
    int64_t until = r->now + AUTH_CERT_CACHE_S;
    for (size_t i = 0; i < r->n_peer_chain; i++) {
        until = MIN(until, pki_cert_not_after(chain[i]) + 1);
    }
    struct auth_user proxy = { .name = info.names.cn };
    auth_cache_put(q->cache, digest, until, &proxy, STR("requestheader"), NULL, 0);
    return true;
}

static bool is_proxy(struct authn_requestheader *q, struct authn_request *r)
{
    struct pki_cert *chain[PKI_MAX_CHAIN] = { NULL };
    uint8_t digest[32];
    if (r->n_peer_chain > PKI_MAX_CHAIN) {
        return err_set(&r->err, ERR_UNAUTHORIZED, "x509: a chain of %zu certificates, at most %d are accepted", r->n_peer_chain, PKI_MAX_CHAIN);
    }
    if (r->peer_digest) {
        memcpy(digest, r->peer_digest, sizeof(digest));
    } else {
        auth_cache_digest(r->peer_chain, r->n_peer_chain, digest);
    }
    if (auth_cache_get(q->cache, digest, r->now, NULL, NULL, NULL)) {
        return true;
    }
    bool ok = true;
    for (size_t i = 0; i < r->n_peer_chain && ok; i++) {
        chain[i] = pki_cert_of_der(r->peer_chain[i], &r->err);
        ok = chain[i] != NULL;
    }
    ok = ok && verify(q, r, chain, digest);
    for (size_t i = 0; i < PKI_MAX_CHAIN; i++) {
        pki_cert_unref(chain[i]);
    }
    return ok;
}

/* ---- what it says ---- */

/* The first header of the list that is there and not empty. */
static struct str first_of(const struct names *list, const struct http_headers *h)
{
    for (size_t i = 0; i < list->n; i++) {
        struct str v = http_header_get(h, list->items[i]);
        if (v.len > 0) {
            return v;
        }
    }
    return STR_NULL;
}

static bool read_groups(const struct authn_requestheader *q, struct authn_request *r)
{
    struct str *list = arena_new_n(r->arena, struct str, r->headers->n + 1);
    size_t n = 0;
    for (size_t i = 0; list && i < q->groups.n; i++) {
        size_t pos = 0;
        struct str v;
        while (n < r->headers->n && http_header_next(r->headers, q->groups.items[i], &pos, &v)) {
            if (v.len > 0) {
                list[n++] = v;
            }
        }
    }
    r->user.groups = list;
    r->user.n_groups = n;
    return list != NULL;
}

/* "X-Remote-Extra-Acme.com%2fProject: x" gives the key "acme.com/project". */
static bool read_extra(const struct authn_requestheader *q, struct authn_request *r)
{
    struct auth_extra *extra = arena_new_n(r->arena, struct auth_extra, r->headers->n + 1);
    size_t n = 0;
    if (!extra) {
        return false;
    }
    for (size_t i = 0; i < r->headers->n; i++) {
        struct http_header h = r->headers->items[i];
        for (size_t j = 0; j < q->prefixes.n; j++) {
            struct str prefix = q->prefixes.items[j], key, rest = str_sub(h.name, prefix.len, h.name.len);
            if (!str_starts(h.name, prefix) || rest.len == 0) {
                continue;
            }
            if (!percent_decode(r->arena, rest, false, &key)) {
                key = rest;
            }
            size_t at = 0;
            while (at < n && !str_eq(extra[at].key, key)) {
                at++;
            }
            struct str *values = arena_new_n(r->arena, struct str, extra[at].n_values + 1);
            if (!values) {
                return false;
            }
            for (size_t k = 0; k < extra[at].n_values; k++) {
                values[k] = extra[at].values[k];
            }
            values[extra[at].n_values] = h.value;
            extra[at] = (struct auth_extra){ .key = key, .values = values, .n_values = extra[at].n_values + 1 };
            n += at == n;
            break;
        }
    }
    r->user.extra = extra;
    r->user.n_extra = n;
    return true;
}

static enum authn_result requestheader_authenticate(struct authn *self, struct authn_request *r)
{
    struct authn_requestheader *q = CONTAINER_OF(self, struct authn_requestheader, authn);
    struct str name = r->headers ? first_of(&q->users, r->headers) : STR_NULL;
    if (r->n_peer_chain == 0 || name.len == 0) {
        return AUTHN_NONE;
    }
    if (!is_proxy(q, r)) {
        (void)err_wrap(&r->err, "the headers of a front proxy are not believed");
        return AUTHN_FAILED;
    }
    r->user = (struct auth_user){ .name = name, .uid = first_of(&q->uids, r->headers) };
    if (!read_groups(q, r) || !read_extra(q, r)) {
        (void)err_set(&r->err, ERR_NO_MEMORY, "out of memory while a user was built");
        return AUTHN_FAILED;
    }
    return AUTHN_OK;
}

const struct authn_ops authn_requestheader_ops = {
    .name = "requestheader",
    .open = requestheader_open,
    .authenticate = requestheader_authenticate,
    .reload = requestheader_reload,
    .believes = requestheader_believes,
    .free = requestheader_close,
};
