#include "api/apply.h"

#include "api/json-writer.h"
#include "api/last-applied.h"

/* The owner of fields that were there before anybody applied. */
#define BEFORE_FIRST_APPLY "before-first-apply"
/* The manager that takes over from client-side apply. */
#define KUBECTL "kubectl"

static bool no_memory(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "applying the configuration needs more memory than it may have");
}

/* "failed to create typed patch object (ns/name; apps/v1, Kind=Deployment): <reason>" */
static bool does_not_fit(const struct val *config, struct err *err)
{
    const struct val *metadata = val_get(config, STR("metadata"));
    struct str api_version = val_get_str(config, STR("apiVersion"));
    char reason[sizeof(err->msg)];
    if (!err) {
        return false;
    }
    memcpy(reason, err->msg, sizeof(reason));
    /* A version without a group is written with its slash. */
    return err_set(err, ERR_INTERNAL, "failed to create typed patch object (%.*s/%.*s; %s%.*s, Kind=%.*s): %s",
                   STR_ARG(val_get_str(metadata, STR("namespace"))), STR_ARG(val_get_str(metadata, STR("name"))),
                   str_find_char(api_version, '/') < 0 ? "/" : "", STR_ARG(api_version),
                   STR_ARG(val_get_str(config, STR("kind"))), reason);
}

/* ---- conflicts ---- */

struct found {
    struct str owner;    /* "m1" with subresource "status" using v1 */
    struct str identity; /* what entries sort by */
    struct str path;
};

struct finding {
    struct arena *arena;
    struct found *items;
    size_t n, capacity;
    struct str owner, identity;
    bool failed;
};

static bool add_found(void *ctx, struct str path)
{
    struct finding *f = ctx;
    if (f->n == f->capacity) {
        size_t more = f->capacity ? f->capacity * 2 : 8;
        struct found *items = arena_grow_n(f->arena, f->items, f->n, more, sizeof(*items));
        if (!items) {
            f->failed = true;
            return false;
        }
        f->items = items;
        f->capacity = more;
    }
    struct str copy = arena_str(f->arena, path.ptr ? path : STR_EMPTY);
    f->items[f->n++] = (struct found){ .owner = f->owner, .identity = f->identity, .path = copy };
    f->failed = f->failed || !copy.ptr;
    return !f->failed;
}

/* How messages name an owner; and its identity as JSON, which upstream sorts owners by. */
static bool name_owner(struct arena *a, const struct managed_entry *e, struct str *ret_owner, struct str *ret_identity)
{
    struct buf owner, identity;
    buf_init(&owner, 64 * 1024);
    buf_init(&identity, 64 * 1024);
    json_write_string_plain(&owner, e->manager);
    buf_append(&identity, STR("{\"manager\":"));
    json_write_string(&identity, e->manager);
    buf_append(&identity, e->apply ? STR(",\"operation\":\"Apply\"") : STR(",\"operation\":\"Update\""));
    if (e->subresource.len) {
        buf_append(&owner, STR(" with subresource "));
        json_write_string_plain(&owner, e->subresource);
    }
    if (!e->apply) {
        buf_append(&owner, STR(" using "));
        buf_append(&owner, e->api_version);
        buf_append(&identity, STR(",\"apiVersion\":"));
        json_write_string(&identity, e->api_version);
    }
    *ret_owner = arena_str(a, buf_str(&owner));
    *ret_identity = arena_str(a, buf_str(&identity));
    buf_deinit(&owner);
    buf_deinit(&identity);
    return ret_owner->ptr && ret_identity->ptr;
}

static bool refuse(struct arena *a, struct finding *f, struct apply_result *ret, struct err *err)
{
    struct buf b;
    ret->conflicts = arena_new_n(a, struct apply_conflict, f->n);
    if (!ret->conflicts) {
        return no_memory(err);
    }
    /* Entries come sorted by owner below; a stable order among one owner's fields is that of the set. */
    for (size_t i = 1; i < f->n; i++) {
        for (size_t k = i; k > 0 && str_cmp(f->items[k - 1].identity, f->items[k].identity) > 0; k--) {
            struct found swap = f->items[k];
            f->items[k] = f->items[k - 1];
            f->items[k - 1] = swap;
        }
    }
    buf_init(&b, 64 * 1024);
    for (size_t i = 0; i < f->n; i++) {
        const struct found *c = &f->items[i];
        ret->conflicts[i].message = arena_printf(a, "conflict with %.*s", STR_ARG(c->owner));
        ret->conflicts[i].field = c->path;
        if (f->n > 1) {
            if (i == 0 || !str_eq(c->identity, f->items[i - 1].identity)) {
                buf_printf(&b, "%sconflicts with %.*s:", i ? "\n" : "", STR_ARG(c->owner));
            }
            buf_printf(&b, "\n- %.*s", STR_ARG(c->path));
        }
    }
    ret->n_conflicts = f->n;
    if (f->n == 1) {
        err_set(err, ERR_CONFLICT, "Apply failed with 1 conflict: %.*s: %.*s", STR_ARG(ret->conflicts[0].message),
                STR_ARG(ret->conflicts[0].field));
    } else {
        err_set(err, ERR_CONFLICT, "Apply failed with %zu conflicts: %.*s", f->n, STR_ARG(buf_str(&b)));
    }
    buf_deinit(&b);
    return false;
}

/* Takes from the others what the new object changes or lost; without 'force' all but what is 'allowed' is a conflict. */
static bool take_over(struct arena *a, struct managed *m, const struct managed_writer *w, const struct managed_entry *self,
                      const struct val *live, const struct val *object, bool force, const struct fields *allowed,
                      struct apply_result *ret, struct err *err)
{
    struct finding found = { .arena = a };
    struct fields *conflicts = arena_new_n(a, struct fields, m->n + 1), *removed = arena_new_n(a, struct fields, m->n + 1);
    if (!conflicts || !removed) {
        return no_memory(err);
    }
    for (size_t i = 0; i < m->n; i++) {
        struct managed_entry *e = &m->entries[i];
        struct fields_diff d;
        struct fields changed, refused;
        bool drop;
        if (e == self) {
            continue;
        }
        if (!managed_compare(a, w, e->api_version, live, object, &d, &drop) ||
            !fields_union(a, &d.modified, &d.added, &changed) ||
            !fields_intersection(a, &e->set, &changed, &conflicts[i]) ||
            !fields_difference(a, &conflicts[i], allowed, &refused)) {
            return no_memory(err);
        }
        removed[i] = d.removed;
        if (drop) {
            e->set = (struct fields){ 0 };
        } else if (!fields_is_empty(&refused)) {
            if (!name_owner(a, e, &found.owner, &found.identity)) {
                return no_memory(err);
            }
            fields_each(&refused, add_found, &found);
        }
    }
    if (found.failed) {
        return no_memory(err);
    }
    if (!force && found.n) {
        return refuse(a, &found, ret, err);
    }
    for (size_t i = 0; i < m->n; i++) {
        struct managed_entry *e = &m->entries[i];
        if (e != self && (!fields_difference(a, &e->set, &conflicts[i], &e->set) ||
                          !fields_difference(a, &e->set, &removed[i], &e->set))) {
            return no_memory(err);
        }
    }
    return true;
}

/* ---- what the manager gave up ---- */

/* Takes out of 'merged' what 'last' owned and nobody owns now. */
static bool prune(struct arena *a, const struct managed *m, struct fields_at at, const struct fields *last,
                  struct val *merged)
{
    struct fields owned = { 0 }, last_all, owned_all, merged_set, merged_all, pruned_set, pruned_all, gone;
    struct val pruned;
    if (fields_is_empty(last)) {
        return true;
    }
    for (size_t i = 0; i < m->n; i++) {
        if (!fields_union(a, &owned, &m->entries[i].set, &owned)) {
            return false;
        }
    }
    /* First everything the manager had; then back what somebody has; then back what was below it but never its own. */
    if (!fields_with_parents(a, at, last, &last_all) || !fields_remove(a, at, merged, &last_all, &pruned) ||
        !fields_of(a, at, merged, &merged_set) || !fields_with_parents(a, at, &merged_set, &merged_all) ||
        !fields_of(a, at, &pruned, &pruned_set) || !fields_with_parents(a, at, &pruned_set, &pruned_all) ||
        !fields_with_parents(a, at, &owned, &owned_all) || !fields_union(a, &pruned_all, &owned_all, &gone) ||
        !fields_difference(a, &merged_all, &gone, &gone) || !fields_remove(a, at, merged, &gone, &pruned)) {
        return false;
    }
    if (!fields_of(a, at, &pruned, &pruned_set) || !fields_with_parents(a, at, &pruned_set, &pruned_all) ||
        !fields_difference(a, &merged_all, &pruned_all, &gone) || !fields_intersection(a, &gone, &last_all, &gone) ||
        !fields_remove(a, at, merged, &gone, &pruned)) {
        return false;
    }
    *merged = pruned;
    return true;
}

bool apply_config(struct arena *a, struct managed *m, const struct managed_writer *w, const struct val *live,
                  const struct val *config, bool force, struct apply_result *ret, struct err *err)
{
    struct str manager = w->manager, subresource = w->subresource.len ? w->subresource : STR_NULL;
    struct fields set, last = { 0 }, allowed = { 0 };
    struct val merged;
    bool kubectl = str_eq_c(manager, KUBECTL);
    *ret = (struct apply_result){ .object = *live };
    const struct val *entries = VAL_AT(config, "metadata", "managedFields");
    if (entries && entries->kind != VAL_NULL) {
        return err_set(err, ERR_BAD_REQUEST, "metadata.managedFields must be nil");
    }
    if (!fields_validate(a, w->schema, config, false, err)) {
        return does_not_fit(config, err);
    }
    if (!managed_read(a, m)) {
        return no_memory(err);
    }
    /* Fields of an object that nobody tracked so far belong to whoever wrote them. */
    if (m->n == 0) {
        struct managed_writer before = *w;
        before.manager = STR(BEFORE_FIRST_APPLY);
        before.subresource = STR_NULL;
        if (!managed_update(a, m, &before, NULL, live, err)) {
            return false;
        }
    }
    struct managed_entry *self = managed_find(m, manager, true, w->api_version, subresource);
    if (self) {
        last = self->set;
    } else {
        self = managed_add(a, m, &(struct managed_entry){ .manager = manager, .subresource = subresource, .apply = true });
    }
    if (!self || !fields_of(a, w->schema, config, &set) ||
        (w->ignore && !fields_exclude(a, &set, w->ignore, &set)) || !fields_merge(a, w->schema, live, config, &merged)) {
        return no_memory(err);
    }
    self->api_version = w->api_version;
    self->set = set;
    if (!prune(a, m, w->schema, &last, &merged)) {
        return no_memory(err);
    }
    if (kubectl && !last_applied_allowed(a, w, live, &allowed)) {
        return no_memory(err);
    }
    if (!take_over(a, m, w, self, live, &merged, force, &allowed, ret, err)) {
        return false;
    }
    if (kubectl && !last_applied_update(a, config, &merged)) {
        return no_memory(err);
    }
    ret->changed = !val_equal(live, &merged);
    ret->object = ret->changed ? merged : *live;
    /* An apply that leaves the object as it is leaves times as they are: an entry that comes with it bears none. */
    if (ret->changed) {
        self->time = (struct api_time){ .sec = w->now_sec, .set = true };
    }
    return managed_tidy(a, m) ? true : no_memory(err);
}
