#include "apiserver/meta-rules.h"

#include "api/gen/meta_v1.h"
#include "api/names.h"
#include "kinds/rules.h"

#define META_ANNOTATIONS_MAX (256u << 10) /* bytes of all keys and values */

static void add_msgs(struct field_errs *e, struct str path, struct str value, const struct names_errs *n)
{
    for (unsigned i = 0; i < n->n; i++) {
        field_invalid_str(e, path, value, "%s", n->msg[i]);
    }
}

static bool check_name(enum kind_name_rule rule, struct str s, struct names_errs *n)
{
    switch (rule) {
    case KIND_NAME_LABEL:
        if (str_find_char(s, '.') >= 0) {
            n->msg[n->n++] = "must not contain dots";
            return false;
        }
        return names_dns1123_label(s, n);
    case KIND_NAME_LABEL_1035:
        return names_dns1035_label(s, n);
    case KIND_NAME_IP:
        if (!rule_is_ip(s, NULL)) {
            n->msg[n->n++] = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            return false;
        }
        return true;
    case KIND_NAME_PATH_SEGMENT:
        return names_path_segment(s, n);
    case KIND_NAME_SUBDOMAIN:
        break;
    }
    return names_dns1123_subdomain(s, n);
}

static void validate_name(struct field_errs *e, const struct rest *rest, const struct meta_v1_object_meta *m)
{
    enum kind_name_rule rule = rest->ops->name_rule;
    if (!str_empty(m->generate_name)) {
        struct names_errs n = { 0 };
        struct str g = m->generate_name;
        if (rule != KIND_NAME_PATH_SEGMENT && g.ptr[g.len - 1] == '-') {
            /* A dash at the end is fine: something follows it. */
            struct str masked = arena_printf(e->arena, "%.*sa", (int)g.len - 1, g.ptr);
            (void)check_name(rule, masked, &n);
        } else {
            (void)check_name(rule, g, &n);
        }
        add_msgs(e, STR("metadata.generateName"), g, &n);
    }
    if (str_empty(m->name)) {
        field_required(e, STR("metadata.name"), "name or generateName is required");
        return;
    }
    struct names_errs n = { 0 };
    (void)check_name(rule, m->name, &n);
    add_msgs(e, STR("metadata.name"), m->name, &n);
}

static void validate_namespace(struct field_errs *e, const struct rest *rest, const struct meta_v1_object_meta *m)
{
    struct str path = STR("metadata.namespace");
    if (!rest->hub->namespaced) {
        if (!str_empty(m->namespace)) {
            field_forbidden(e, path, "not allowed on this type");
        }
        return;
    }
    if (str_empty(m->namespace)) {
        field_required(e, path, "%s", "");
        return;
    }
    struct names_errs n = { 0 };
    (void)names_dns1123_label(m->namespace, &n);
    add_msgs(e, path, m->namespace, &n);
}

static void validate_labels(struct field_errs *e, const struct api_str_pair *labels, size_t n_labels, struct str path)
{
    for (size_t i = 0; i < n_labels; i++) {
        struct names_errs k = { 0 }, v = { 0 };
        (void)names_qualified(labels[i].key, &k);
        add_msgs(e, path, labels[i].key, &k);
        (void)names_label_value(labels[i].value, &v);
        add_msgs(e, path, labels[i].value, &v);
    }
}

static struct str lower(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.len);
    if (!out) {
        return s;
    }
    for (size_t i = 0; i < s.len; i++) {
        out[i] = (char)(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? s.ptr[i] + 32 : s.ptr[i]);
    }
    return str_n(out, s.len);
}

static void validate_annotations(struct field_errs *e, const struct meta_v1_object_meta *m)
{
    struct str path = STR("metadata.annotations");
    size_t total = 0;
    for (size_t i = 0; i < m->n_annotations; i++) {
        struct names_errs n = { 0 };
        /* Keys may have capitals in their prefix here. */
        (void)names_qualified(lower(e->arena, m->annotations[i].key), &n);
        add_msgs(e, path, m->annotations[i].key, &n);
        total += m->annotations[i].key.len + m->annotations[i].value.len;
    }
    if (total > META_ANNOTATIONS_MAX) {
        field_too_long(e, path, META_ANNOTATIONS_MAX);
    }
}

static struct str owner_json(struct arena *a, const struct meta_v1_owner_reference *o)
{
    return arena_printf(a, "{\"apiVersion\":\"%.*s\",\"kind\":\"%.*s\",\"name\":\"%.*s\",\"uid\":\"%.*s\"%s%s}",
                        STR_ARG(o->api_version), STR_ARG(o->kind), STR_ARG(o->name), STR_ARG(o->uid),
                        o->has_controller ? (o->controller ? ",\"controller\":true" : ",\"controller\":false") : "",
                        o->has_block_owner_deletion
                            ? (o->block_owner_deletion ? ",\"blockOwnerDeletion\":true" : ",\"blockOwnerDeletion\":false") : "");
}

static void validate_owner(struct field_errs *e, const struct meta_v1_owner_reference *o)
{
    struct str group, version;
    if (!str_cut(o->api_version, '/', &group, &version)) {
        version = o->api_version;
        group = STR_EMPTY;
    }
    if (str_empty(version)) {
        field_invalid_str(e, STR("metadata.ownerReferences.apiVersion"), o->api_version, "version must not be empty");
    }
    if (str_empty(o->kind)) {
        field_invalid_str(e, STR("metadata.ownerReferences.kind"), o->kind, "must not be empty");
    }
    if (str_empty(o->name)) {
        field_invalid_str(e, STR("metadata.ownerReferences.name"), o->name, "must not be empty");
    }
    if (str_empty(o->uid)) {
        field_invalid_str(e, STR("metadata.ownerReferences.uid"), o->uid, "must not be empty");
    }
    if (str_empty(group) && str_eq_c(o->kind, "Event")) {
        field_invalid_json(e, STR("metadata.ownerReferences"), owner_json(e->arena, o), "/%.*s, Kind=Event is disallowed from being an owner",
                           STR_ARG(version));
    }
}

static void validate_owners(struct field_errs *e, const struct meta_v1_object_meta *m)
{
    struct str first = STR_NULL, all = STR_EMPTY;
    bool two = false;
    for (size_t i = 0; i < m->n_owner_references; i++) {
        const struct meta_v1_owner_reference *o = &m->owner_references[i];
        validate_owner(e, o);
        if (o->has_controller && o->controller) {
            two |= first.ptr != NULL;
            first = first.ptr ? first : arena_printf(e->arena, "%.*s/%.*s", STR_ARG(o->kind), STR_ARG(o->name));
        }
    }
    if (!two) {
        return;
    }
    for (size_t i = 0; i < m->n_owner_references; i++) {
        struct str one = owner_json(e->arena, &m->owner_references[i]);
        all = arena_printf(e->arena, "%.*s%s%.*s", STR_ARG(all), i ? "," : "", STR_ARG(one));
    }
    struct str last = STR_EMPTY;
    for (size_t i = 0; i < m->n_owner_references; i++) {
        if (m->owner_references[i].has_controller && m->owner_references[i].controller) {
            last = arena_printf(e->arena, "%.*s/%.*s", STR_ARG(m->owner_references[i].kind), STR_ARG(m->owner_references[i].name));
        }
    }
    field_invalid_json(e, STR("metadata.ownerReferences"), arena_printf(e->arena, "[%.*s]", STR_ARG(all)),
                       "Only one reference can have Controller set to true. Found \"true\" in references for %.*s and %.*s",
                       STR_ARG(first), STR_ARG(last));
}

static bool is_standard_finalizer(struct str f)
{
    return str_eq_c(f, "kubernetes") || str_eq_c(f, "orphan") || str_eq_c(f, "foregroundDeletion");
}

static void validate_finalizers(struct field_errs *e, const struct meta_v1_object_meta *m, bool core)
{
    bool orphan = false, foreground = false;
    for (size_t i = 0; i < m->n_finalizers; i++) {
        struct str f = m->finalizers[i];
        struct names_errs n = { 0 };
        (void)names_qualified(f, &n);
        add_msgs(e, STR("metadata.finalizers"), f, &n);
        orphan |= str_eq_c(f, "orphan");
        foreground |= str_eq_c(f, "foregroundDeletion");
    }
    if (orphan && foreground) {
        struct str list = STR_EMPTY;
        for (size_t i = 0; i < m->n_finalizers; i++) {
            list = arena_printf(e->arena, "%.*s%s\"%.*s\"", STR_ARG(list), i ? "," : "", STR_ARG(m->finalizers[i]));
        }
        field_invalid_json(e, STR("metadata.finalizers"), arena_printf(e->arena, "[%.*s]", STR_ARG(list)),
                           "finalizer orphan and foregroundDeletion cannot be both set");
    }
    for (size_t i = 0; core && i < m->n_finalizers; i++) {
        struct str f = m->finalizers[i];
        if (str_find_char(f, '/') < 0 && !is_standard_finalizer(f)) {
            field_invalid_str(e, path_index(e->arena, STR("metadata.finalizers"), i), f,
                              "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
}

static bool is_core_kind(const struct rest *rest)
{
    return str_empty(rest->hub->group);
}

void meta_validate_create(struct field_errs *e, const struct rest *rest, const struct meta_v1_object_meta *m)
{
    validate_name(e, rest, m);
    validate_namespace(e, rest, m);
    if (m->generation < 0) {
        field_invalid_int(e, STR("metadata.generation"), m->generation, "must be greater than or equal to 0");
    }
    validate_labels(e, m->labels, m->n_labels, STR("metadata.labels"));
    validate_annotations(e, m);
    validate_owners(e, m);
    validate_finalizers(e, m, is_core_kind(rest));
}

static void immutable_str(struct field_errs *e, const char *path, struct str new, struct str old)
{
    if (!str_eq(new, old)) {
        field_invalid_str(e, str_c(path), new, "field is immutable");
    }
}

static void no_new_finalizers(struct field_errs *e, const struct meta_v1_object_meta *m, const struct meta_v1_object_meta *old)
{
    struct str added = STR_EMPTY;
    size_t n = 0;
    for (size_t i = 0; i < m->n_finalizers; i++) {
        bool had = false;
        for (size_t j = 0; j < old->n_finalizers; j++) {
            had |= str_eq(m->finalizers[i], old->finalizers[j]);
        }
        if (!had) {
            added = arena_printf(e->arena, "%.*s%s\"%.*s\"", STR_ARG(added), n++ ? ", " : "", STR_ARG(m->finalizers[i]));
        }
    }
    if (n > 0) {
        field_forbidden(e, STR("metadata.finalizers"),
                        "no new finalizers can be added if the object is being deleted, found new finalizers []string{%.*s}",
                        STR_ARG(added));
    }
}

void meta_validate_update(struct field_errs *e, const struct rest *rest, struct meta_v1_object_meta *m,
                          const struct meta_v1_object_meta *old)
{
    if (old->deletion_timestamp.set) {
        no_new_finalizers(e, m, old);
    }
    if (str_empty(m->resource_version)) {
        field_invalid_str(e, STR("metadata.resourceVersion"), m->resource_version, "must be specified for an update");
    }
    if (m->generation < old->generation) {
        field_invalid_int(e, STR("metadata.generation"), m->generation, "must not be decremented");
    }
    immutable_str(e, "metadata.name", m->name, old->name);
    immutable_str(e, "metadata.namespace", m->namespace, old->namespace);
    immutable_str(e, "metadata.uid", m->uid, old->uid);
    if (!old->deletion_timestamp.set && m->deletion_timestamp.set) {
        field_invalid_json(e, STR("metadata.deletionTimestamp"), STR("null"), "field is immutable");
    }
    validate_labels(e, m->labels, m->n_labels, STR("metadata.labels"));
    validate_annotations(e, m);
    validate_owners(e, m);
    validate_finalizers(e, m, is_core_kind(rest));
}
