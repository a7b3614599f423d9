#include "apiserver/discovery.h"

#include <openssl/evp.h>

#include "api/json-writer.h"
#include "base/arena.h"
#include "base/encoding.h"

/* Priorities of the groups that Kubernetes itself brings (kube-aggregator registers them with these places). Others follow. */
static const char *const group_order[] = {
    "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch",
    "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io",
    "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io",
    "discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io",
};

struct group {
    struct str name;
    struct str versions[8]; /* by priority */
    size_t n_versions;
};

struct discovery {
    const struct api_resource **served;
    size_t n_served;
    struct group *groups; /* by priority; without the core group */
    size_t n_groups;
    struct discovery_doc *docs;
    size_t n_docs, docs_capacity;
    struct discovery_doc aggregated_api, aggregated_apis;
    char *root;
    struct arena arena;
};

static size_t group_rank(struct str name)
{
    size_t i = 0;
    while (i < ARRAY_SIZE(group_order) && !str_eq_c(name, group_order[i])) {
        i++;
    }
    return i;
}

/* Kubernetes' version priority: GA before beta before alpha, then the higher number (v2, v1, v2beta1, v1beta1). */
static int64_t version_rank(struct str v)
{
    int64_t major = 0, minor = 0, level = 3;
    size_t i = 1;
    while (i < v.len && v.ptr[i] >= '0' && v.ptr[i] <= '9') {
        major = major * 10 + (v.ptr[i++] - '0');
    }
    struct str rest = str_sub(v, i, v.len);
    if (str_starts(rest, STR("beta"))) {
        level = 2;
        i += 4;
    } else if (str_starts(rest, STR("alpha"))) {
        level = 1;
        i += 5;
    }
    while (i < v.len && v.ptr[i] >= '0' && v.ptr[i] <= '9') {
        minor = minor * 10 + (v.ptr[i++] - '0');
    }
    return level * 1000000 + major * 1000 + minor;
}

static int by_rank(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    size_t rx = group_rank(x->name), ry = group_rank(y->name);
    return rx != ry ? (rx < ry ? -1 : 1) : str_cmp(x->name, y->name);
}

static void collect_groups(struct discovery *d)
{
    d->groups = calloc(d->n_served ? d->n_served : 1, sizeof(*d->groups));
    if (!d->groups) {
        abort();
    }
    for (size_t i = 0; i < d->n_served; i++) {
        const struct api_resource *r = d->served[i];
        if (str_empty(r->group)) {
            continue;
        }
        struct group *g = NULL;
        for (size_t j = 0; j < d->n_groups && !g; j++) {
            g = str_eq(d->groups[j].name, r->group) ? &d->groups[j] : NULL;
        }
        if (!g) {
            g = &d->groups[d->n_groups++];
            g->name = r->group;
        }
        bool known = false;
        for (size_t j = 0; j < g->n_versions; j++) {
            known |= str_eq(g->versions[j], r->version);
        }
        if (!known && g->n_versions < ARRAY_SIZE(g->versions)) {
            size_t at = g->n_versions++;
            while (at > 0 && version_rank(g->versions[at - 1]) < version_rank(r->version)) {
                g->versions[at] = g->versions[at - 1];
                at--;
            }
            g->versions[at] = r->version;
        }
    }
    qsort(d->groups, d->n_groups, sizeof(*d->groups), by_rank);
}

static void key(struct buf *b, const char *name)
{
    buf_printf(b, "\"%s\":", name);
}

static void text_list(struct buf *b, const struct str *items)
{
    buf_append_char(b, '[');
    for (size_t i = 0; items[i].ptr; i++) {
        if (i > 0) {
            buf_append_char(b, ',');
        }
        json_write_string(b, items[i]);
    }
    buf_append_char(b, ']');
}

static int cmp_str(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* "get,list" as a sorted JSON list. */
static void verb_list(struct buf *b, struct str verbs)
{
    struct str rest = verbs, v, all[16];
    size_t n = 0;
    while (n < ARRAY_SIZE(all) && str_split(&rest, ',', &v)) {
        all[n++] = v;
    }
    qsort(all, n, sizeof(all[0]), cmp_str);
    buf_append_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            buf_append_char(b, ',');
        }
        json_write_string(b, all[i]);
    }
    buf_append_char(b, ']');
}

/* Group, version and kind of the body of a subresource: "autoscaling/v1.Scale", or a kind of the resource's own version. */
static void foreign_kind(struct str kind, struct str *ret_group, struct str *ret_version, struct str *ret_kind)
{
    struct str gv = STR_EMPTY;
    ptrdiff_t slash = str_find_char(kind, '/'), dot = str_rfind_char(kind, '.');
    *ret_group = *ret_version = STR_EMPTY;
    *ret_kind = kind;
    if (slash >= 0 && dot > slash) {
        *ret_group = str_sub(kind, 0, (size_t)slash);
        gv = str_sub(kind, (size_t)slash + 1, (size_t)(dot - slash) - 1);
        *ret_version = gv;
        *ret_kind = str_sub(kind, (size_t)dot + 1, kind.len);
    }
}

/* The first eight bytes of the SHA-256 of "group/version/kind" as stored: clients see by it that two resources are one. */
static void storage_hash(struct buf *b, const struct api_resource *r)
{
    char text[256];
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int md_len = 0;
    /* "v1" is the core group's. */
    bool core = str_find_char(r->storage_version, '/') < 0;
    int n = snprintf(text, sizeof(text), "%s%.*s/%.*s", core ? "/" : "", STR_ARG(r->storage_version), STR_ARG(r->kind));
    if (n < 0 || (size_t)n >= sizeof(text) || EVP_Digest(text, (size_t)n, md, &md_len, EVP_sha256(), NULL) != 1) {
        return;
    }
    base64_encode(b, str_n((const char *)md, 8));
}

static void legacy_resource(struct buf *b, const struct api_resource *r)
{
    buf_append(b, STR("{\"name\":"));
    json_write_string(b, r->resource);
    buf_append(b, STR(",\"singularName\":"));
    json_write_string(b, r->singular);
    buf_printf(b, ",\"namespaced\":%s,\"kind\":", r->namespaced ? "true" : "false");
    json_write_string(b, r->kind);
    buf_append(b, STR(",\"verbs\":"));
    verb_list(b, r->verbs);
    if (r->short_names && r->short_names[0].ptr) {
        buf_append(b, STR(",\"shortNames\":"));
        text_list(b, r->short_names);
    }
    if (r->categories && r->categories[0].ptr) {
        buf_append(b, STR(",\"categories\":"));
        text_list(b, r->categories);
    }
    if (!str_empty(r->storage_version)) {
        buf_append(b, STR(",\"storageVersionHash\":\""));
        storage_hash(b, r);
        buf_append_char(b, '"');
    }
    buf_append_char(b, '}');
    for (size_t i = 0; r->subresources && r->subresources[i].name.ptr; i++) {
        const struct api_subresource *s = &r->subresources[i];
        struct str group, version, kind;
        foreign_kind(s->kind, &group, &version, &kind);
        buf_printf(b, ",{\"name\":\"%.*s/%.*s\",\"singularName\":\"\",\"namespaced\":%s", STR_ARG(r->resource),
                   STR_ARG(s->name), r->namespaced ? "true" : "false");
        if (!str_empty(version)) {
            buf_printf(b, ",\"group\":\"%.*s\",\"version\":\"%.*s\"", STR_ARG(group), STR_ARG(version));
        }
        buf_printf(b, ",\"kind\":\"%.*s\",\"verbs\":", STR_ARG(kind));
        verb_list(b, s->verbs);
        buf_append_char(b, '}');
    }
}

static void aggregated_resource(struct buf *b, const struct api_resource *r)
{
    buf_append(b, STR("{\"resource\":"));
    json_write_string(b, r->resource);
    buf_printf(b, ",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":\"%.*s\"},\"scope\":\"%s\"", STR_ARG(r->kind),
               r->namespaced ? "Namespaced" : "Cluster");
    buf_append(b, STR(",\"singularResource\":"));
    json_write_string(b, r->singular);
    buf_append_char(b, ',');
    key(b, "verbs");
    verb_list(b, r->verbs);
    if (r->short_names && r->short_names[0].ptr) {
        buf_append(b, STR(",\"shortNames\":"));
        text_list(b, r->short_names);
    }
    if (r->categories && r->categories[0].ptr) {
        buf_append(b, STR(",\"categories\":"));
        text_list(b, r->categories);
    }
    for (size_t i = 0; r->subresources && r->subresources[i].name.ptr; i++) {
        const struct api_subresource *s = &r->subresources[i];
        struct str group, version, kind;
        foreign_kind(s->kind, &group, &version, &kind);
        buf_append(b, i == 0 ? STR(",\"subresources\":[") : STR(","));
        buf_printf(b, "{\"subresource\":\"%.*s\",\"responseKind\":{\"group\":\"%.*s\",\"version\":\"%.*s\",\"kind\":\"%.*s\"}",
                   STR_ARG(s->name), STR_ARG(group), STR_ARG(version), STR_ARG(kind));
        buf_append(b, STR(",\"verbs\":"));
        verb_list(b, s->verbs);
        buf_append_char(b, '}');
        if (!r->subresources[i + 1].name.ptr) {
            buf_append_char(b, ']');
        }
    }
    buf_append_char(b, '}');
}

static struct str kept(struct discovery *d, struct buf *b)
{
    struct str s = buf_failed(b) ? STR_NULL : arena_str(&d->arena, buf_str(b));
    if (!s.ptr) {
        abort();
    }
    return s;
}

static void add_doc(struct discovery *d, struct str path, struct buf *b, const char *type)
{
    if (d->n_docs == d->docs_capacity) {
        d->docs_capacity = d->docs_capacity ? d->docs_capacity * 2 : 64;
        d->docs = realloc(d->docs, d->docs_capacity * sizeof(*d->docs));
        if (!d->docs) {
            abort();
        }
    }
    buf_append_char(b, '\n');
    d->docs[d->n_docs++] = (struct discovery_doc){ .path = path, .json = kept(d, b), .type = type };
    buf_clear(b);
}

static void group_versions(struct buf *b, const struct group *g)
{
    buf_append(b, STR("\"name\":"));
    json_write_string(b, g->name);
    buf_append(b, STR(",\"versions\":["));
    for (size_t i = 0; i < g->n_versions; i++) {
        buf_printf(b, "%s{\"groupVersion\":\"%.*s/%.*s\",\"version\":\"%.*s\"}", i ? "," : "", STR_ARG(g->name),
                   STR_ARG(g->versions[i]), STR_ARG(g->versions[i]));
    }
    buf_printf(b, "],\"preferredVersion\":{\"groupVersion\":\"%.*s/%.*s\",\"version\":\"%.*s\"}", STR_ARG(g->name),
               STR_ARG(g->versions[0]), STR_ARG(g->versions[0]));
}

static void resource_list(struct discovery *d, struct buf *b, struct str group, struct str version)
{
    bool core = str_empty(group);
    buf_append(b, core ? STR("{\"kind\":\"APIResourceList\",\"groupVersion\":\"")
                       : STR("{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\""));
    buf_printf(b, "%.*s%s%.*s\",\"resources\":[", STR_ARG(group), core ? "" : "/", STR_ARG(version));
    bool first = true;
    for (size_t i = 0; i < d->n_served; i++) {
        const struct api_resource *r = d->served[i];
        if (str_eq(r->group, group) && str_eq(r->version, version)) {
            if (!first) {
                buf_append_char(b, ',');
            }
            first = false;
            legacy_resource(b, r);
        }
    }
    buf_append(b, STR("]}"));
    struct str path = core ? arena_printf(&d->arena, "/api/%.*s", STR_ARG(version))
                           : arena_printf(&d->arena, "/apis/%.*s/%.*s", STR_ARG(group), STR_ARG(version));
    add_doc(d, path, b, "meta.v1.APIResourceList");
}

static void aggregated_version(struct discovery *d, struct buf *b, struct str group, struct str version)
{
    buf_printf(b, "{\"version\":\"%.*s\",\"resources\":[", STR_ARG(version));
    bool first = true;
    for (size_t i = 0; i < d->n_served; i++) {
        const struct api_resource *r = d->served[i];
        if (str_eq(r->group, group) && str_eq(r->version, version)) {
            if (!first) {
                buf_append_char(b, ',');
            }
            first = false;
            aggregated_resource(b, r);
        }
    }
    buf_append(b, STR("],\"freshness\":\"Current\"}"));
}

#define AGGREGATED_HEAD "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/v2\",\"metadata\":{},\"items\":["

static void finish_aggregated(struct discovery *d, struct discovery_doc *doc, struct str path, struct buf *b)
{
    buf_append(b, STR("]}\n"));
    doc->path = path;
    doc->json = kept(d, b);
    doc->type = "apidiscovery.v2.APIGroupDiscoveryList";
    buf_clear(b);

    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    if (EVP_Digest(doc->json.ptr, doc->json.len, md, &n, EVP_sha512(), NULL) != 1) {
        abort();
    }
    buf_append_char(b, '"');
    for (unsigned int i = 0; i < n; i++) {
        buf_printf(b, "%02X", md[i]);
    }
    buf_append_char(b, '"');
    doc->etag = kept(d, b);
    buf_clear(b);
}

static void build_core(struct discovery *d, struct buf *b, struct str address)
{
    buf_append(b, STR("{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":["));
    buf_append(b, STR("{\"clientCIDR\":\"0.0.0.0/0\",\"serverAddress\":"));
    json_write_string(b, address);
    buf_append(b, STR("}]}"));
    add_doc(d, STR("/api"), b, "meta.v1.APIVersions");
    resource_list(d, b, STR_EMPTY, STR("v1"));

    buf_append(b, STR(AGGREGATED_HEAD "{\"metadata\":{},\"versions\":["));
    aggregated_version(d, b, STR_EMPTY, STR("v1"));
    buf_append(b, STR("]}"));
    finish_aggregated(d, &d->aggregated_api, STR("/api"), b);
}

static void build_groups(struct discovery *d, struct buf *b)
{
    buf_append(b, STR("{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":["));
    for (size_t i = 0; i < d->n_groups; i++) {
        buf_append(b, i ? STR(",{") : STR("{"));
        group_versions(b, &d->groups[i]);
        buf_append_char(b, '}');
    }
    buf_append(b, STR("]}"));
    add_doc(d, STR("/apis"), b, "meta.v1.APIGroupList");

    for (size_t i = 0; i < d->n_groups; i++) {
        const struct group *g = &d->groups[i];
        buf_append(b, STR("{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\","));
        group_versions(b, g);
        buf_append_char(b, '}');
        add_doc(d, arena_printf(&d->arena, "/apis/%.*s", STR_ARG(g->name)), b, "meta.v1.APIGroup");
        for (size_t j = 0; j < g->n_versions; j++) {
            resource_list(d, b, g->name, g->versions[j]);
        }
    }

    buf_append(b, STR(AGGREGATED_HEAD));
    for (size_t i = 0; i < d->n_groups; i++) {
        const struct group *g = &d->groups[i];
        buf_append(b, i ? STR(",{\"metadata\":{\"name\":") : STR("{\"metadata\":{\"name\":"));
        json_write_string(b, g->name);
        buf_append(b, STR("},\"versions\":["));
        for (size_t j = 0; j < g->n_versions; j++) {
            if (j > 0) {
                buf_append_char(b, ',');
            }
            aggregated_version(d, b, g->name, g->versions[j]);
        }
        buf_append(b, STR("]}"));
    }
    finish_aggregated(d, &d->aggregated_apis, STR("/apis"), b);
}

static int by_resource(const void *a, const void *b)
{
    const struct api_resource *x = *(const struct api_resource *const *)a, *y = *(const struct api_resource *const *)b;
    return str_cmp(x->resource, y->resource);
}

struct discovery *discovery_new(const struct api_resource *const *served, size_t n_served, struct str address)
{
    struct discovery *d = calloc(1, sizeof(*d));
    if (!d) {
        abort();
    }
    arena_init(&d->arena, ARENA_NO_BUDGET);
    d->served = calloc(n_served ? n_served : 1, sizeof(const struct api_resource *));
    if (!d->served) {
        abort();
    }
    for (size_t i = 0; i < n_served; i++) {
        d->served[i] = served[i];
    }
    d->n_served = n_served;
    qsort(d->served, n_served, sizeof(const struct api_resource *), by_resource);
    collect_groups(d);

    struct buf b;
    buf_init(&b, 64u << 20);
    build_core(d, &b, address);
    build_groups(d, &b);
    buf_deinit(&b);
    return d;
}

struct discovery *discovery_free(struct discovery *d)
{
    if (d) {
        free(d->served);
        free(d->groups);
        free(d->docs);
        free(d->root);
        arena_deinit(&d->arena);
        free(d);
    }
    return NULL;
}

const struct discovery_doc *discovery_find(const struct discovery *d, struct str path, bool aggregated)
{
    if (aggregated) {
        if (str_eq_c(path, "/api")) {
            return &d->aggregated_api;
        }
        if (str_eq_c(path, "/apis")) {
            return &d->aggregated_apis;
        }
    }
    for (size_t i = 0; i < d->n_docs; i++) {
        if (str_eq(d->docs[i].path, path)) {
            return &d->docs[i];
        }
    }
    return NULL;
}

bool discovery_has_group(const struct discovery *d, struct str group)
{
    if (str_empty(group)) {
        return true;
    }
    for (size_t i = 0; i < d->n_groups; i++) {
        if (str_eq(d->groups[i].name, group)) {
            return true;
        }
    }
    return false;
}

struct str discovery_root(struct discovery *d, const char *const *more)
{
    if (!d->root) {
        size_t n = d->n_docs, n_more = 0;
        while (more[n_more]) {
            n_more++;
        }
        struct str *paths = calloc(n + n_more + 1, sizeof(*paths));
        if (!paths) {
            abort();
        }
        for (size_t i = 0; i < n; i++) {
            paths[i] = d->docs[i].path;
        }
        for (size_t i = 0; i < n_more; i++) {
            paths[n + i] = str_c(more[i]);
        }
        paths[n + n_more] = STR("/apis/");
        n += n_more + 1;
        qsort(paths, n, sizeof(*paths), str_cmp_qsort);
        struct buf b;
        buf_init(&b, 1u << 20);
        buf_append(&b, STR("{\n  \"paths\": [\n"));
        for (size_t i = 0; i < n; i++) {
            buf_append(&b, STR("    "));
            json_write_string(&b, paths[i]);
            buf_append(&b, i + 1 < n ? STR(",\n") : STR("\n"));
        }
        buf_append(&b, STR("  ]\n}"));
        size_t len;
        d->root = buf_take(&b, &len);
        free(paths);
    }
    return str_c(d->root);
}
