#include "kubelet/objects.h"

#include <stdlib.h>
#include <unistd.h>

#include "api/copy.h"
#include "api/decode-json.h"
#include "api/encode-json.h"
#include "api/gen/authentication_v1.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/time-floor.h"
#include "client/client.h"

/* An entry that nobody asked for so long is dropped. */
#define UNUSED_MS 600000

struct entry {
    struct objects *o;
    enum object_kind kind;
    char *ns, *name, *audience, *pod_name, *pod_uid, *key;
    int64_t expiration_s;
    struct arena arena;
    const void *obj;        /* NULL: not here, or missing */
    struct str token;
    int64_t token_renew_s;  /* wall clock */
    bool missing;           /* the apiserver said so */
    uint64_t fetched_ms, used_ms;
    struct client_call *call;
    struct err err;
    struct list waiters;    /* struct waiter */
};

struct waiter {
    struct list link;
    struct objects_fetch *f;
};

struct objects {
    struct kubelet *k;
    struct map entries;
    struct loop_timer sweep;
};

struct objects_fetch {
    struct objects *o;
    struct loop_task task;
    objects_done_fn *done;
    void *arg;
    size_t pending;
    struct err err;
    bool failed;
    size_t n;
    struct waiter waiters[OBJECT_NEEDS_MAX];
    bool optional[OBJECT_NEEDS_MAX];
};

static struct str key_of(char *dst, size_t size, enum object_kind kind, struct str ns, struct str name, struct str uid, struct str audience)
{
    int n = snprintf(dst, size, "%d/%.*s/%.*s/%.*s/%.*s", (int)kind, STR_ARG(ns), STR_ARG(name), STR_ARG(uid), STR_ARG(audience));
    return str_n(dst, MIN((size_t)MAX(n, 0), size - 1));
}

static char *copy(struct str s)
{
    return strndup(s.ptr ? s.ptr : "", s.len);
}

/* ---- ConfigMaps on disk, for a boot without the apiserver. Secrets and tokens stay in memory. ---- */

static void disk_path(const struct entry *e, char dst[PATH_MAX])
{
    snprintf(dst, PATH_MAX, "%s/objects/%016llx.json", e->o->k->root, (unsigned long long)str_fnv1a(str_c(e->key)));
}

static void disk_write(const struct entry *e)
{
    char path[PATH_MAX], dir[PATH_MAX];
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf b, old;
    buf_init(&b, KUBELET_MAX_POD_ARENA);
    buf_init(&old, KUBELET_MAX_POD_ARENA);
    disk_path(e, path);
    if (!api_encode_json(&b, &core_v1_config_map_type, e->obj, NULL, NULL) ||
        (fs_read(path, KUBELET_MAX_POD_ARENA, &old, NULL) && str_eq(buf_str(&old), buf_str(&b)))) {
        return;
    }
    snprintf(dir, sizeof(dir), "%s/objects", e->o->k->root);
    if (!fs_mkdirs(dir, 0700, &err) || !fs_write_atomic(path, buf_str(&b), 0600, &err)) {
        log_warning("configmap %s/%s is not remembered on disk: %s", e->ns, e->name, err.msg);
    }
}

static void disk_read(struct entry *e)
{
    char path[PATH_MAX];
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, KUBELET_MAX_POD_ARENA);
    disk_path(e, path);
    struct core_v1_config_map *m = arena_new(&e->arena, struct core_v1_config_map);
    const struct api_json_decode copy_strings = { .copy = true };
    if (m && fs_read(path, KUBELET_MAX_POD_ARENA, &b, &err) && api_decode_json(&e->arena, &core_v1_config_map_type, buf_str(&b), &copy_strings, m, &err) &&
        str_eq_c(m->metadata.name, e->name) && str_eq_c(m->metadata.namespace, e->ns)) {
        e->obj = m;
    }
}

static void entry_free(struct entry *e)
{
    client_cancel(e->call);
    arena_deinit(&e->arena);
    free(e->ns);
    free(e->name);
    free(e->audience);
    free(e->pod_name);
    free(e->pod_uid);
    free(e->key);
    free(e);
}

static void on_sweep(void *arg)
{
    struct objects *o = arg;
    uint64_t now = loop_now_ms(o->k->loop);
    void *v;
    struct str key;
    for (size_t pos = 0; map_next(&o->entries, &pos, &key, &v);) {
        struct entry *e = v;
        if (list_empty(&e->waiters) && now - e->used_ms > UNUSED_MS) {
            char path[PATH_MAX];
            disk_path(e, path);
            (void)(e->kind == OBJECT_CONFIG_MAP ? unlink(path) : 0);
            map_remove(&o->entries, str_c(e->key));
            entry_free(e);
        }
    }
    loop_timer_start(&o->sweep, UNUSED_MS);
}

struct objects *objects_new(struct kubelet *k)
{
    struct objects *o = calloc(1, sizeof(*o));
    if (!o) {
        abort();
    }
    o->k = k;
    map_init(&o->entries);
    loop_timer_init(&o->sweep, k->loop, on_sweep, o);
    loop_timer_start(&o->sweep, UNUSED_MS);
    return o;
}

struct objects *objects_free(struct objects *o)
{
    void *v;
    struct str key;
    if (o) {
        for (size_t pos = 0; map_next(&o->entries, &pos, &key, &v);) {
            entry_free(v);
        }
        map_deinit(&o->entries);
        loop_timer_stop(&o->sweep);
        free(o);
    }
    return NULL;
}

static void fetch_done(void *arg)
{
    struct objects_fetch *f = arg;
    objects_done_fn *done = f->done;
    void *user = f->arg;
    bool failed = f->failed;
    struct err err = f->err;
    objects_fetch_cancel(f);
    done(user, failed ? &err : NULL);
}

static void settle(struct objects_fetch *f, size_t i, const struct entry *e)
{
    if (e->missing && !f->optional[i] && !f->failed) {
        static const char *const names[] = { "configmap", "secret", "serviceaccount", "persistentvolumeclaim", "persistentvolume" };
        f->failed = true;
        err_set(&f->err, ERR_NOT_FOUND, "%s \"%s\" not found", names[e->kind], e->name);
    } else if (!e->missing && !e->obj && !e->token.len && !f->failed && !(e->kind == OBJECT_TOKEN && !e->o->k->pods_synced)) {
        /* A token serves to talk to the apiserver: while that cannot be reached pods start without one. */
        f->failed = true;
        f->err = e->err;
    }
    if (--f->pending == 0) {
        loop_task_defer(&f->task);
    }
}

static void answered(struct entry *e)
{
    struct list *l;
    e->call = NULL;
    while ((l = list_pop_front(&e->waiters))) {
        struct waiter *w = LIST_ENTRY(l, struct waiter, link);
        settle(w->f, (size_t)(w - w->f->waiters), e);
    }
}

static void on_object(void *data, const struct client_answer *answer)
{
    struct entry *e = data;
    struct objects *o = e->o;
    if (answer->err) {
        e->err = *answer->err;
        if (answer->err->code == ERR_NOT_FOUND) {
            char path[PATH_MAX];
            disk_path(e, path);
            (void)(e->kind == OBJECT_CONFIG_MAP ? unlink(path) : 0);
            e->missing = true;
            e->obj = NULL;
            e->token = STR_NULL;
            e->fetched_ms = loop_now_ms(o->k->loop);
        }
        answered(e);
        return;
    }
    e->missing = false;
    e->fetched_ms = loop_now_ms(o->k->loop);
    arena_deinit(&e->arena);
    arena_init(&e->arena, KUBELET_MAX_POD_ARENA);
    if (e->kind == OBJECT_TOKEN) {
        const struct authentication_v1_token_request *t = answer->object;
        int64_t now = time_floor_now_s(), life = t->status.expiration_timestamp.sec - now;
        e->token = arena_str(&e->arena, t->status.token);
        /* Renewed after 80 % of its life, and at least once a day (documentation of bound tokens). */
        e->token_renew_s = now + MIN(life * 8 / 10, (int64_t)86400);
    } else {
        e->obj = api_copy(&e->arena, answer->type, answer->object);
        if (e->obj && e->kind == OBJECT_CONFIG_MAP) {
            disk_write(e);
        }
    }
    answered(e);
}

static void ask(struct entry *e)
{
    struct client *c = e->o->k->client;
    static const char *const plurals[] = { "configmaps", "secrets", "serviceaccounts", "persistentvolumeclaims", "persistentvolumes" };
    struct client_target t = { .resource = api_resource_find(STR_EMPTY, STR("v1"), str_c(plurals[e->kind])), .ns = str_c(e->ns), .name = str_c(e->name),
                               .timeout_ms = e->o->k->pods_synced ? 0 : 3000 };
    if (e->kind != OBJECT_TOKEN) {
        e->call = client_get(c, &t, on_object, e);
        return;
    }
    struct str audience = str_c(e->audience);
    struct authentication_v1_bound_object_reference ref = { STR("Pod"), STR("v1"), str_c(e->pod_name), str_c(e->pod_uid) };
    struct authentication_v1_token_request r = { .kind = STR("TokenRequest"), .api_version = STR("authentication.k8s.io/v1") };
    r.spec.expiration_seconds = e->expiration_s;
    r.spec.has_expiration_seconds = true;
    r.spec.bound_object_ref = &ref;
    if (audience.len) {
        r.spec.audiences = &audience;
        r.spec.n_audiences = 1;
    }
    t.subresource = STR("token");
    t.answer_type = &authentication_v1_token_request_type;
    e->call = client_create(c, &t, &authentication_v1_token_request_type, &r, on_object, e);
}

static struct entry *entry_at(struct objects *o, const struct pod *p, const struct object_need *need)
{
    char key[1024];
    bool token = need->kind == OBJECT_TOKEN;
    struct str ns = need->kind == OBJECT_VOLUME ? STR_EMPTY : str_c(p->ns);
    struct str k = key_of(key, sizeof(key), need->kind, ns, need->name, token ? str_c(p->uid) : STR_EMPTY, token ? need->audience : STR_EMPTY);
    struct entry *e = map_get(&o->entries, k);
    if (e) {
        return e;
    }
    e = calloc(1, sizeof(*e));
    if (!e) {
        abort();
    }
    *e = (struct entry){ .o = o, .kind = need->kind, .ns = copy(ns), .name = copy(need->name), .audience = copy(need->audience),
                         .pod_name = strdup(p->name), .pod_uid = strdup(p->uid), .key = copy(k), .expiration_s = need->expiration_s };
    arena_init(&e->arena, KUBELET_MAX_POD_ARENA);
    list_init(&e->waiters);
    err_set(&e->err, ERR_UNAVAILABLE, "there is no apiserver to ask");
    map_put(&o->entries, str_c(e->key), e);
    if (e->kind == OBJECT_CONFIG_MAP) {
        disk_read(e);
    }
    return e;
}

struct objects_fetch *objects_fetch(struct objects *o, const struct pod *p, const struct object_need *needs, size_t n, uint64_t max_age_ms,
                                    objects_done_fn *done, void *arg)
{
    struct objects_fetch *f = calloc(1, sizeof(*f));
    uint64_t now = loop_now_ms(o->k->loop);
    if (!f) {
        abort();
    }
    f->o = o;
    f->done = done;
    f->arg = arg;
    f->pending = 1;
    loop_task_init(&f->task, o->k->loop, fetch_done, f);
    f->n = MIN(n, (size_t)OBJECT_NEEDS_MAX);
    for (size_t i = 0; i < f->n; i++) {
        struct entry *e = entry_at(o, p, &needs[i]);
        f->waiters[i].f = f;
        f->optional[i] = needs[i].optional;
        list_init(&f->waiters[i].link);
        e->used_ms = now;
        f->pending++;
        bool fresh = e->kind == OBJECT_TOKEN ? e->token.len && time_floor_now_s() < e->token_renew_s
                                             : e->fetched_ms && now - e->fetched_ms < max_age_ms && !(e->missing && now - e->fetched_ms > 1000);
        if (fresh || !o->k->client) {
            settle(f, i, e);
            continue;
        }
        list_push_back(&e->waiters, &f->waiters[i].link);
        if (!e->call) {
            ask(e);
        }
    }
    if (--f->pending == 0) {
        loop_task_defer(&f->task);
    }
    return f;
}

void objects_fetch_cancel(struct objects_fetch *f)
{
    if (f) {
        loop_task_cancel(&f->task);
        for (size_t i = 0; i < f->n; i++) {
            list_remove(&f->waiters[i].link);
        }
        free(f);
    }
}

static struct entry *find(struct objects *o, enum object_kind kind, struct str ns, struct str name, struct str uid, struct str audience)
{
    char key[1024];
    return map_get(&o->entries, key_of(key, sizeof(key), kind, ns, name, uid, audience));
}

const struct core_v1_config_map *objects_config_map(struct objects *o, struct str ns, struct str name)
{
    const struct entry *e = find(o, OBJECT_CONFIG_MAP, ns, name, STR_EMPTY, STR_EMPTY);
    return e ? e->obj : NULL;
}

const struct core_v1_secret *objects_secret(struct objects *o, struct str ns, struct str name)
{
    const struct entry *e = find(o, OBJECT_SECRET, ns, name, STR_EMPTY, STR_EMPTY);
    return e ? e->obj : NULL;
}

const struct core_v1_persistent_volume_claim *objects_claim(struct objects *o, struct str ns, struct str name)
{
    const struct entry *e = find(o, OBJECT_CLAIM, ns, name, STR_EMPTY, STR_EMPTY);
    return e ? e->obj : NULL;
}

const struct core_v1_persistent_volume *objects_volume(struct objects *o, struct str name)
{
    const struct entry *e = find(o, OBJECT_VOLUME, STR_EMPTY, name, STR_EMPTY, STR_EMPTY);
    return e ? e->obj : NULL;
}

struct str objects_token(struct objects *o, const struct pod *p, const struct object_need *need)
{
    const struct entry *e = find(o, OBJECT_TOKEN, str_c(p->ns), need->name, str_c(p->uid), need->audience);
    return e ? e->token : STR_NULL;
}
