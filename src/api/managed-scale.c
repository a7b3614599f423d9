#include "api/managed-scale.h"

static bool has_member(const struct fields *f, const char *const *path, size_t n)
{
    for (size_t i = 0; i < n && f; i++) {
        f = fields_kid(f, &(struct fields_pe){ .kind = FIELDS_NAME, .name = str_c(path[i]) });
    }
    return f && f->member;
}

bool managed_to_scale(struct arena *a, struct managed *parent, const char *const *path, size_t n, struct managed *ret)
{
    static const char *const replicas[] = { "spec", "replicas" };
    struct managed m = { 0 };
    if (!managed_read(a, parent)) {
        return false;
    }
    for (size_t i = 0; i < parent->n; i++) {
        struct managed_entry e = parent->entries[i];
        if (!has_member(&e.set, path, n)) {
            continue;
        }
        e.set = (struct fields){ 0 };
        e.api_version = STR(MANAGED_SCALE_VERSION);
        if (!fields_add_names(a, &e.set, replicas, ARRAY_SIZE(replicas)) || !managed_add(a, &m, &e)) {
            return false;
        }
    }
    *ret = m;
    return true;
}

bool managed_from_scale(struct arena *a, struct managed *parent, struct str api_version, const char *const *path, size_t n,
                        const struct managed *scale)
{
    static const char *const replicas[] = { "spec", "replicas" };
    struct fields own = { 0 };
    struct str version = STR(MANAGED_SCALE_VERSION);
    bool *known = arena_new_n(a, bool, scale->n + 1);
    if (!known || !managed_read(a, parent) || !fields_add_names(a, &own, path, n)) {
        return false;
    }
    for (size_t i = 0; i < parent->n; i++) {
        struct managed_entry *e = &parent->entries[i];
        struct managed view = *scale;
        const struct managed_entry *still = managed_find(&view, e->manager, e->apply, version, e->subresource);
        if (!has_member(&e->set, path, n)) {
            continue;
        }
        if (still && has_member(&still->set, replicas, ARRAY_SIZE(replicas))) {
            known[still - scale->entries] = true;
        } else if (!fields_difference(a, &e->set, &own, &e->set)) {
            return false;
        }
    }
    for (size_t i = 0; i < scale->n; i++) {
        struct managed_entry e = scale->entries[i];
        if (known[i] || !has_member(&e.set, replicas, ARRAY_SIZE(replicas))) {
            continue;
        }
        e.api_version = api_version;
        e.set = own;
        e.time = (struct api_time){ 0 };
        if (!managed_add(a, parent, &e)) {
            return false;
        }
    }
    return managed_tidy(a, parent);
}
