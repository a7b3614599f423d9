#include "auth/node-graph.h"

#include "api/gen/core_v1.h"
#include "api/gen/storage_v1.h"
#include "base/map.h"

/* What a key begins with; the rest is "namespace/name" or "name". */
static const char ref_letters[NODE_REF_MAX] = { 's', 'c', 'p', 'a', 'r' };

#define KEY_SIZE 600
/* References that one pod may have; the rest would be refused by the API's size limit long before.
 */
#define MAX_POD_REFS 8192

struct node {
    struct map refs; /* "s:ns/name" -> how many pods refer to it */
    size_t n_pods, n_attachments;
};

struct pod {
    char *node;
    struct str *keys; /* one allocation with their text; NULL: none */
    size_t n_keys;
};

struct volume {
    struct str claim;    /* "ns/name", or absent */
    struct str *secrets; /* "ns/name" */
    size_t n_secrets;
    struct arena arena;
};

struct attachment {
    char *node;
};

/* Volumes that a secret is for. */
struct volume_list {
    struct volume **items;
    size_t n;
};

struct node_graph {
    struct map nodes;          /* name -> struct node */
    struct map pods;           /* "ns/name" -> struct pod */
    struct map volumes;        /* name -> struct volume */
    struct map volume_secrets; /* "ns/name" of the secret -> struct volume_list */
    struct map attachments;    /* name -> struct attachment */
};

static struct str join(char dst[KEY_SIZE], struct str namespace_, struct str name)
{
    int n = snprintf(dst, KEY_SIZE, "%.*s/%.*s", STR_ARG(namespace_), STR_ARG(name));
    return n > 0 && n < KEY_SIZE ? str_n(dst, (size_t)n) : STR_NULL;
}

static struct str ref_key(char dst[KEY_SIZE], enum node_ref kind, struct str namespace_,
                          struct str name)
{
    int n = snprintf(dst, KEY_SIZE, "%c:%.*s/%.*s", ref_letters[kind], STR_ARG(namespace_),
                     STR_ARG(name));
    return n > 0 && n < KEY_SIZE ? str_n(dst, (size_t)n) : STR_NULL;
}

static void *must(void *p)
{
    if (!p) {
        abort();
    }
    return p;
}

struct node_graph *node_graph_new(void)
{
    struct node_graph *g = must(calloc(1, sizeof(*g)));
    map_init(&g->nodes);
    map_init(&g->pods);
    map_init(&g->volumes);
    map_init(&g->volume_secrets);
    map_init(&g->attachments);
    return g;
}

/* ---- nodes ---- */

static struct node *node_at(struct node_graph *g, struct str name)
{
    struct node *n = map_get(&g->nodes, name);
    if (!n) {
        n = must(calloc(1, sizeof(*n)));
        map_init(&n->refs);
        (void)map_put(&g->nodes, name, n);
    }
    return n;
}

static void node_forget(struct node_graph *g, struct str name, struct node *n)
{
    if (n->n_pods == 0 && n->n_attachments == 0) {
        (void)map_remove(&g->nodes, name);
        map_deinit(&n->refs);
        free(n);
    }
}

/* The count is kept in the pointer's place. */
static void count_ref(struct node *n, struct str key, bool up)
{
    uintptr_t count = (uintptr_t)map_get(&n->refs, key);
    count = up ? count + 1 : count - 1;
    if (count == 0) {
        (void)map_remove(&n->refs, key);
    } else {
        (void)map_put(&n->refs, key, (void *)count); // NOLINT: a number, never followed
    }
}

/* ---- pods ---- */

struct collector {
    struct arena *arena;
    struct str namespace_;
    struct str *keys;
    size_t n, capacity;
};

static void refer(struct collector *c, enum node_ref kind, struct str name)
{
    char buf[KEY_SIZE];
    struct str key = ref_key(buf, kind, c->namespace_, name);
    if (str_empty(name) || !key.ptr || c->n == MAX_POD_REFS) {
        return;
    }
    for (size_t i = 0; i < c->n; i++) {
        if (str_eq(c->keys[i], key)) {
            return;
        }
    }
    if (c->n == c->capacity) {
        c->capacity = c->capacity ? 2 * c->capacity : 8;
        c->keys = must(arena_grow_n(c->arena, c->keys, c->n, c->capacity, sizeof(*c->keys)));
    }
    c->keys[c->n++] = arena_str(c->arena, key);
}

static void refer_local(struct collector *c, const struct core_v1_local_object_reference *ref)
{
    if (ref) {
        refer(c, NODE_REF_SECRET, ref->name);
    }
}

static void from_env(struct collector *c, const struct core_v1_env_var *env, size_t n_env,
                     const struct core_v1_env_from_source *from, size_t n_from)
{
    for (size_t i = 0; i < n_env; i++) {
        const struct core_v1_env_var_source *v = env[i].value_from;
        if (v && v->secret_key_ref) {
            refer(c, NODE_REF_SECRET, v->secret_key_ref->local_object_reference.name);
        }
        if (v && v->config_map_key_ref) {
            refer(c, NODE_REF_CONFIG_MAP, v->config_map_key_ref->local_object_reference.name);
        }
    }
    for (size_t i = 0; i < n_from; i++) {
        if (from[i].secret_ref) {
            refer(c, NODE_REF_SECRET, from[i].secret_ref->local_object_reference.name);
        }
        if (from[i].config_map_ref) {
            refer(c, NODE_REF_CONFIG_MAP, from[i].config_map_ref->local_object_reference.name);
        }
    }
}

static void from_volume(struct collector *c, const struct core_v1_pod *pod,
                        const struct core_v1_volume *volume)
{
    const struct core_v1_volume_source *v = &volume->volume_source;
    if (v->secret) {
        refer(c, NODE_REF_SECRET, v->secret->secret_name);
    }
    if (v->config_map) {
        refer(c, NODE_REF_CONFIG_MAP, v->config_map->local_object_reference.name);
    }
    if (v->azure_file) {
        refer(c, NODE_REF_SECRET, v->azure_file->secret_name);
    }
    refer_local(c, v->cephfs ? v->cephfs->secret_ref : NULL);
    refer_local(c, v->cinder ? v->cinder->secret_ref : NULL);
    refer_local(c, v->flex_volume ? v->flex_volume->secret_ref : NULL);
    refer_local(c, v->rbd ? v->rbd->secret_ref : NULL);
    refer_local(c, v->scale_io ? v->scale_io->secret_ref : NULL);
    refer_local(c, v->iscsi ? v->iscsi->secret_ref : NULL);
    refer_local(c, v->storageos ? v->storageos->secret_ref : NULL);
    refer_local(c, v->csi ? v->csi->node_publish_secret_ref : NULL);
    for (size_t i = 0; v->projected && i < v->projected->n_sources; i++) {
        const struct core_v1_volume_projection *p = &v->projected->sources[i];
        if (p->secret) {
            refer(c, NODE_REF_SECRET, p->secret->local_object_reference.name);
        }
        if (p->config_map) {
            refer(c, NODE_REF_CONFIG_MAP, p->config_map->local_object_reference.name);
        }
    }
    if (v->persistent_volume_claim) {
        refer(c, NODE_REF_CLAIM, v->persistent_volume_claim->claim_name);
    }
    if (v->ephemeral) {
        struct str claim =
            arena_printf(c->arena, "%.*s-%.*s", STR_ARG(pod->metadata.name), STR_ARG(volume->name));
        refer(c, NODE_REF_CLAIM, claim);
    }
}

static void collect_refs(struct collector *c, const struct core_v1_pod *pod)
{
    const struct core_v1_pod_spec *s = &pod->spec;
    refer(c, NODE_REF_SERVICE_ACCOUNT, s->service_account_name);
    for (size_t i = 0; i < s->n_image_pull_secrets; i++) {
        refer(c, NODE_REF_SECRET, s->image_pull_secrets[i].name);
    }
    for (size_t i = 0; i < s->n_init_containers; i++) {
        const struct core_v1_container *k = &s->init_containers[i];
        from_env(c, k->env, k->n_env, k->env_from, k->n_env_from);
    }
    for (size_t i = 0; i < s->n_containers; i++) {
        const struct core_v1_container *k = &s->containers[i];
        from_env(c, k->env, k->n_env, k->env_from, k->n_env_from);
    }
    for (size_t i = 0; i < s->n_ephemeral_containers; i++) {
        const struct core_v1_ephemeral_container_common *k =
            &s->ephemeral_containers[i].ephemeral_container_common;
        from_env(c, k->env, k->n_env, k->env_from, k->n_env_from);
    }
    for (size_t i = 0; i < s->n_volumes; i++) {
        from_volume(c, pod, &s->volumes[i]);
    }
    for (size_t i = 0; i < s->n_resource_claims; i++) {
        refer(c, NODE_REF_RESOURCE_CLAIM, s->resource_claims[i].resource_claim_name);
    }
    for (size_t i = 0; i < pod->status.n_resource_claim_statuses; i++) {
        refer(c, NODE_REF_RESOURCE_CLAIM,
              pod->status.resource_claim_statuses[i].resource_claim_name);
    }
}

static bool is_mirror(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->metadata.n_annotations; i++) {
        if (str_eq(pod->metadata.annotations[i].key, STR("kubernetes.io/config.mirror"))) {
            return true;
        }
    }
    return false;
}

static void pod_drop(struct node_graph *g, struct pod *p)
{
    struct str name = str_c(p->node);
    struct node *n = map_get(&g->nodes, name);
    for (size_t i = 0; i < p->n_keys; i++) {
        count_ref(n, p->keys[i], false);
    }
    n->n_pods--;
    node_forget(g, name, n);
    free(p->keys);
    free(p->node);
    free(p);
}

/* There are as many of these as pods, so they take no more than they need. */
static struct str *keep_keys(const struct collector *c)
{
    size_t size = c->n * sizeof(struct str);
    for (size_t i = 0; i < c->n; i++) {
        size += c->keys[i].len;
    }
    if (size == 0) {
        return NULL;
    }
    struct str *kept = must(malloc(size));
    char *text = (char *)(kept + c->n);
    for (size_t i = 0; i < c->n; i++) {
        struct str k = c->keys[i];
        memcpy(text, k.ptr, k.len);
        kept[i] = str_n(text, k.len);
        text += k.len;
    }
    return kept;
}

void node_graph_put_pod(struct node_graph *g, const struct core_v1_pod *pod)
{
    char buf[KEY_SIZE];
    struct str key = join(buf, pod->metadata.namespace, pod->metadata.name);
    node_graph_delete_pod(g, pod->metadata.namespace, pod->metadata.name);
    if (!key.ptr || str_empty(pod->spec.node_name)) {
        return;
    }
    struct pod *p = must(calloc(1, sizeof(*p)));
    p->node = must(strndup(pod->spec.node_name.ptr, pod->spec.node_name.len));
    CLEANUP(arena_deinit) struct arena passing;
    arena_init(&passing, ARENA_NO_BUDGET); /* at most MAX_POD_REFS keys */
    struct collector c = { .arena = &passing, .namespace_ = pod->metadata.namespace };
    if (!is_mirror(pod)) {
        collect_refs(&c, pod);
    }
    p->keys = keep_keys(&c);
    p->n_keys = c.n;
    struct node *n = node_at(g, str_c(p->node));
    n->n_pods++;
    for (size_t i = 0; i < p->n_keys; i++) {
        count_ref(n, p->keys[i], true);
    }
    (void)map_put(&g->pods, key, p);
}

void node_graph_delete_pod(struct node_graph *g, struct str namespace_, struct str name)
{
    char buf[KEY_SIZE];
    struct str key = join(buf, namespace_, name);
    struct pod *p = key.ptr ? map_remove(&g->pods, key) : NULL;
    if (p) {
        pod_drop(g, p);
    }
}

bool node_graph_has_pod(const struct node_graph *g, struct str node, struct str namespace_,
                        struct str name)
{
    char buf[KEY_SIZE];
    struct str key = join(buf, namespace_, name);
    const struct pod *p = key.ptr ? map_get(&g->pods, key) : NULL;
    return p && str_eq_c(node, p->node);
}

/* ---- volumes ---- */

static void add_secret(struct volume *v, struct str namespace_, struct str name)
{
    char buf[KEY_SIZE];
    struct str key = join(buf, namespace_, name);
    if (!str_empty(name) && !str_empty(namespace_) && key.ptr) {
        v->secrets = must(arena_grow_n(&v->arena, v->secrets, v->n_secrets, v->n_secrets + 1,
                                       sizeof(*v->secrets)));
        v->secrets[v->n_secrets++] = arena_str(&v->arena, key);
    }
}

static void add_secret_ref(struct volume *v, const struct core_v1_secret_reference *ref,
                           struct str claim_namespace)
{
    if (ref) {
        add_secret(v, str_empty(ref->namespace) ? claim_namespace : ref->namespace, ref->name);
    }
}

/* Secrets a node needs to mount the volume; those for attaching and expanding on the controller's
 * side are none of its business. */
static void volume_secrets(struct volume *v, const struct core_v1_persistent_volume_source *s,
                           struct str ns)
{
    if (s->azure_file) {
        add_secret(
            v, str_empty(s->azure_file->secret_namespace) ? ns : s->azure_file->secret_namespace,
            s->azure_file->secret_name);
    }
    add_secret_ref(v, s->cephfs ? s->cephfs->secret_ref : NULL, ns);
    add_secret_ref(v, s->cinder ? s->cinder->secret_ref : NULL, ns);
    add_secret_ref(v, s->flex_volume ? s->flex_volume->secret_ref : NULL, ns);
    add_secret_ref(v, s->rbd ? s->rbd->secret_ref : NULL, ns);
    add_secret_ref(v, s->scale_io ? s->scale_io->secret_ref : NULL, ns);
    add_secret_ref(v, s->iscsi ? s->iscsi->secret_ref : NULL, ns);
    if (s->storageos && s->storageos->secret_ref) {
        struct str own = s->storageos->secret_ref->namespace;
        add_secret(v, str_empty(own) ? ns : own, s->storageos->secret_ref->name);
    }
    if (s->csi) {
        add_secret_ref(v, s->csi->node_publish_secret_ref, ns);
        add_secret_ref(v, s->csi->node_stage_secret_ref, ns);
        add_secret_ref(v, s->csi->node_expand_secret_ref, ns);
    }
}

static void volume_unlink(struct node_graph *g, struct volume *v)
{
    for (size_t i = 0; i < v->n_secrets; i++) {
        struct volume_list *l = map_get(&g->volume_secrets, v->secrets[i]);
        for (size_t k = 0; l && k < l->n; k++) {
            if (l->items[k] == v) {
                l->items[k] = l->items[--l->n];
                break;
            }
        }
        if (l && l->n == 0) {
            (void)map_remove(&g->volume_secrets, v->secrets[i]);
            free(l->items);
            free(l);
        }
    }
    arena_deinit(&v->arena);
    free(v);
}

void node_graph_put_volume(struct node_graph *g, const struct core_v1_persistent_volume *pv)
{
    char buf[KEY_SIZE];
    node_graph_delete_volume(g, pv->metadata.name);
    const struct core_v1_object_reference *ref = pv->spec.claim_ref;
    if (!ref || str_empty(pv->metadata.name)) {
        return; /* no claim, no way to a node */
    }
    struct str claim = join(buf, ref->namespace, ref->name);
    if (!claim.ptr) {
        return;
    }
    struct volume *v = must(calloc(1, sizeof(*v)));
    arena_init(&v->arena, ARENA_NO_BUDGET); /* a few keys */
    v->claim = arena_str(&v->arena, claim);
    volume_secrets(v, &pv->spec.persistent_volume_source, ref->namespace);
    for (size_t i = 0; i < v->n_secrets; i++) {
        struct volume_list *l = map_get(&g->volume_secrets, v->secrets[i]);
        if (!l) {
            l = must(calloc(1, sizeof(*l)));
            (void)map_put(&g->volume_secrets, v->secrets[i], l);
        }
        l->items = must(realloc(l->items, (l->n + 1) * sizeof(struct volume *)));
        l->items[l->n++] = v;
    }
    (void)map_put(&g->volumes, pv->metadata.name, v);
}

void node_graph_delete_volume(struct node_graph *g, struct str name)
{
    struct volume *v = map_remove(&g->volumes, name);
    if (v) {
        volume_unlink(g, v);
    }
}

static bool claim_reaches(const struct node *n, struct str claim)
{
    char buf[KEY_SIZE];
    int len = snprintf(buf, sizeof(buf), "%c:%.*s", ref_letters[NODE_REF_CLAIM], STR_ARG(claim));
    return len > 0 && len < KEY_SIZE && map_has(&n->refs, str_n(buf, (size_t)len));
}

bool node_graph_has_volume(const struct node_graph *g, struct str node, struct str name)
{
    const struct node *n = map_get(&g->nodes, node);
    const struct volume *v = map_get(&g->volumes, name);
    return n && v && claim_reaches(n, v->claim);
}

bool node_graph_refers(const struct node_graph *g, struct str node, enum node_ref kind,
                       struct str namespace_, struct str name)
{
    char buf[KEY_SIZE];
    const struct node *n = map_get(&g->nodes, node);
    struct str key = ref_key(buf, kind, namespace_, name);
    if (!n || !key.ptr) {
        return false;
    }
    if (map_has(&n->refs, key)) {
        return true;
    }
    const struct volume_list *l =
        kind == NODE_REF_SECRET ? map_get(&g->volume_secrets, str_sub(key, 2, key.len)) : NULL;
    for (size_t i = 0; l && i < l->n; i++) {
        if (claim_reaches(n, l->items[i]->claim)) {
            return true;
        }
    }
    return false;
}

/* ---- attachments ---- */

void node_graph_put_attachment(struct node_graph *g, const struct storage_v1_volume_attachment *va)
{
    node_graph_delete_attachment(g, va->metadata.name);
    if (str_empty(va->metadata.name) || str_empty(va->spec.node_name)) {
        return;
    }
    struct attachment *a = must(calloc(1, sizeof(*a)));
    a->node = must(strndup(va->spec.node_name.ptr, va->spec.node_name.len));
    node_at(g, va->spec.node_name)->n_attachments++;
    (void)map_put(&g->attachments, va->metadata.name, a);
}

static void attachment_drop(struct node_graph *g, struct attachment *a)
{
    struct str name = str_c(a->node);
    struct node *n = map_get(&g->nodes, name);
    n->n_attachments--;
    node_forget(g, name, n);
    free(a->node);
    free(a);
}

void node_graph_delete_attachment(struct node_graph *g, struct str name)
{
    struct attachment *a = map_remove(&g->attachments, name);
    if (a) {
        attachment_drop(g, a);
    }
}

bool node_graph_has_attachment(const struct node_graph *g, struct str node, struct str name)
{
    const struct attachment *a = map_get(&g->attachments, name);
    return a && str_eq_c(node, a->node);
}

void node_graph_forget_pods(struct node_graph *g)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&g->pods, &pos, &key, &value);) {
        pod_drop(g, value);
    }
    map_clear(&g->pods);
}

void node_graph_forget_volumes(struct node_graph *g)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&g->volumes, &pos, &key, &value);) {
        volume_unlink(g, value);
    }
    map_clear(&g->volumes);
}

void node_graph_forget_attachments(struct node_graph *g)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&g->attachments, &pos, &key, &value);) {
        attachment_drop(g, value);
    }
    map_clear(&g->attachments);
}

struct node_graph *node_graph_free(struct node_graph *g)
{
    if (!g) {
        return NULL;
    }
    node_graph_forget_pods(g);
    node_graph_forget_volumes(g);
    node_graph_forget_attachments(g);
    map_deinit(&g->pods);
    map_deinit(&g->volumes);
    map_deinit(&g->volume_secrets);
    map_deinit(&g->attachments);
    map_deinit(&g->nodes);
    free(g);
    return NULL;
}
