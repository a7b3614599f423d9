#include "apiserver/auth-configmap.h"

#include "api/gen/core_v1.h"
#include "api/json-reader.h"
#include "api/json-writer.h"
#include "apiserver/server.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/rand.h"
#include "pki/cert.h"

enum { MAX_NAMES = 64, MAX_CERTS = 256, MAX_KEYS = 16 };

struct sync {
    struct apiserver *srv;
    struct arena arena;
    const struct core_v1_config_map *old; /* NULL: absent */
    struct api_str_pair data[MAX_KEYS];   /* sorted by key */
    size_t n;
};

static struct str had(const struct sync *y, const char *key)
{
    for (size_t i = 0; y->old && i < y->old->n_data; i++) {
        if (str_eq_c(y->old->data[i].key, key)) {
            return y->old->data[i].value;
        }
    }
    return STR_NULL;
}

static void put(struct sync *y, const char *key, struct str value)
{
    size_t at = y->n;
    if (!value.ptr || y->n == MAX_KEYS) {
        return;
    }
    y->n++;
    while (at > 0 && str_cmp(y->data[at - 1].key, str_c(key)) > 0) {
        y->data[at] = y->data[at - 1];
        at--;
    }
    y->data[at] = (struct api_str_pair){ .key = str_c(key), .value = value };
}

/* ---- CAs ---- */

struct certs {
    uint8_t seen[MAX_CERTS][32];
    size_t n;
};

/* Appends the certificates of the text that are not there yet and not expired. */
static void add_certs(struct certs *c, struct str pem, struct buf *b)
{
    for (;;) {
        uint8_t digest[32];
        bool known = false;
        CLEANUP(pki_cert_unrefp) struct pki_cert *cert = pki_cert_read(&pem, NULL);
        if (!cert || c->n == MAX_CERTS) {
            return;
        }
        pki_cert_sha256(cert, digest);
        for (size_t i = 0; i < c->n; i++) {
            known |= memcmp(c->seen[i], digest, sizeof(digest)) == 0;
        }
        if (!known && pki_cert_not_after(cert) >= clock_real_s()) {
            memcpy(c->seen[c->n++], digest, sizeof(digest));
            pki_cert_write_pem(cert, b);
        }
    }
}

static void put_cas(struct sync *y, const char *key, struct str file)
{
    struct err err = { 0 };
    struct certs *c = arena_new(&y->arena, struct certs);
    const char *path = str_empty(file) ? NULL : arena_cstr(&y->arena, file);
    CLEANUP(buf_deinit) struct buf own, all;
    buf_init(&own, PKI_MAX_FILE + 1);
    buf_init(&all, PKI_MAX_FILE + 1);
    if (path && !fs_read(path, PKI_MAX_FILE, &own, &err)) {
        log_warning("apiserver: %s of extension-apiserver-authentication stays as it was: %s", key, err.msg);
    }
    if (c) {
        add_certs(c, had(y, key), &all);
        add_certs(c, buf_str(&own), &all);
    }
    if (all.len > 0 && !buf_failed(&all)) {
        put(y, key, arena_str(&y->arena, buf_str(&all)));
    }
}

/* ---- names, as JSON lists ---- */

struct names {
    struct str items[MAX_NAMES];
    size_t n;
};

static void add_name(struct names *l, struct str s)
{
    for (size_t i = 0; i < l->n; i++) {
        if (str_eq(l->items[i], s)) {
            return;
        }
    }
    if (l->n < MAX_NAMES) {
        l->items[l->n++] = s;
    }
}

static void put_names(struct sync *y, const char *key, const struct flag_strings *own)
{
    struct json_reader r;
    struct names *l = arena_new(&y->arena, struct names);
    struct str old = had(y, key), one;
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1u << 20);
    if (!l) {
        return;
    }
    json_reader_init(&r, old.ptr ? old : STR("[]"), &y->arena, 2, NULL);
    if (json_array_begin(&r)) {
        while (json_array_next(&r) > 0 && json_string(&r, &one)) {
            add_name(l, one);
        }
    }
    for (size_t i = 0; i < own->n; i++) {
        add_name(l, own->items[i]);
    }
    buf_append_char(&b, '[');
    for (size_t i = 0; i < l->n; i++) {
        buf_append_c(&b, i ? "," : "");
        json_write_string(&b, l->items[i]);
    }
    buf_append_char(&b, ']');
    put(y, key, arena_str(&y->arena, buf_str(&b)));
}

/* ---- writing ---- */

static bool same(const struct sync *y)
{
    if (!y->old || y->old->n_data != y->n) {
        return false;
    }
    for (size_t i = 0; i < y->n; i++) {
        if (!str_eq(y->old->data[i].key, y->data[i].key) || !str_eq(y->old->data[i].value, y->data[i].value)) {
            return false;
        }
    }
    return true;
}

static void on_written(void *arg, const struct store_result *res)
{
    (void)arg;
    if (res->status != STORE_OK && res->status != STORE_E_CONFLICT) {
        log_warning("apiserver: extension-apiserver-authentication cannot be written: %s; it is tried again", store_status_text(res->status));
    }
}

static void write_map(struct sync *y, struct rest *rest, int64_t revision)
{
    struct apiserver *s = y->srv;
    struct err err = { 0 };
    struct core_v1_config_map cm = { 0 };
    char uid[RAND_UUID_SIZE];
    CLEANUP(buf_deinit) struct buf key, value;
    buf_init(&key, 2048);
    buf_init(&value, 8u << 20);
    if (y->old) {
        cm = *y->old;
    } else {
        rand_uuid(uid);
        cm.metadata.name = STR("extension-apiserver-authentication");
        cm.metadata.namespace = STR("kube-system");
        cm.metadata.uid = str_c(uid);
        cm.metadata.creation_timestamp = (struct api_time){ .sec = clock_real_s(), .set = true };
    }
    cm.data = y->data;
    cm.n_data = y->n;
    struct object *o = rest_publish(rest, &y->arena, &cm, &err);
    if (!o || !rest_encode_stored(rest, &cm, &value, &err)) {
        log_error("apiserver: extension-apiserver-authentication cannot be encoded: %s", err.msg);
        (void)object_unref(o);
        return;
    }
    watch_cache_key(rest->cache, cm.metadata.namespace, cm.metadata.name, &key);
    struct store_write w = { .resource = watch_cache_resource(rest->cache), .key = buf_str(&key), .value = buf_str(&value),
                             .expect = revision, .object = o, .done = on_written };
    store_write(s->store, &w);
    (void)object_unref(o);
}

void auth_configmap_sync(struct apiserver *s)
{
    const struct apiserver_auth_config *c = &s->cfg.auth;
    struct rest *rest = registry_rest(s, STR_EMPTY, STR("configmaps"));
    const struct object *there = watch_cache_get(rest->cache, STR("kube-system"), STR("extension-apiserver-authentication"));
    struct sync *y = calloc(1, sizeof(*y));
    if (!y) {
        abort();
    }
    y->srv = s;
    arena_init(&y->arena, 64u << 20);
    y->old = there ? rest_decode(rest, &y->arena, there) : NULL;
    if (!there || y->old) {
        put_cas(y, "client-ca-file", s->cfg.client_ca_file);
        if (c->requestheader_client_ca_file.len > 0) {
            put_cas(y, "requestheader-client-ca-file", c->requestheader_client_ca_file);
            put_names(y, "requestheader-allowed-names", &c->requestheader_allowed_names);
            put_names(y, "requestheader-username-headers", &c->requestheader_username_headers);
            put_names(y, "requestheader-uid-headers", &c->requestheader_uid_headers);
            put_names(y, "requestheader-group-headers", &c->requestheader_group_headers);
            put_names(y, "requestheader-extra-headers-prefix", &c->requestheader_extra_prefixes);
        }
        for (size_t i = 0; y->old && i < y->old->n_data; i++) {
            bool known = false; /* what other servers said stays */
            for (size_t j = 0; j < y->n; j++) {
                known |= str_eq(y->data[j].key, y->old->data[i].key);
            }
            if (!known) {
                put(y, arena_cstr(&y->arena, y->old->data[i].key), y->old->data[i].value);
            }
        }
        if (!same(y) && y->n > 0) {
            write_map(y, rest, there ? object_revision(there) : STORE_ABSENT);
        }
    }
    arena_deinit(&y->arena);
    free(y);
}
