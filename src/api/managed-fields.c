#include "api/managed-fields.h"

#include <stdlib.h>

#include "api/fields-text.h"
#include "api/fields-typed.h"

#include "api/gen/meta_v1.h"

#define ANCIENT "ancient-changes"
/* What most entries' texts fit in. */
#define TEXT_BYTES 2048

static bool no_memory(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "tracking the object's fields needs more memory than it may have");
}

/* ---- entries ---- */

struct managed_entry *managed_find(struct managed *m, struct str manager, bool apply, struct str api_version,
                                   struct str subresource)
{
    for (size_t i = 0; i < m->n; i++) {
        struct managed_entry *e = &m->entries[i];
        if (e->apply == apply && str_eq(e->manager, manager) && str_eq(e->subresource, subresource) &&
            (apply || str_eq(e->api_version, api_version))) {
            return e;
        }
    }
    return NULL;
}

struct managed_entry *managed_add(struct arena *a, struct managed *m, const struct managed_entry *e)
{
    if (m->n == m->capacity) {
        size_t more = m->capacity ? m->capacity * 2 : 4;
        struct managed_entry *entries = arena_grow_n(a, m->entries, m->n, more, sizeof(*entries));
        if (!entries) {
            return NULL;
        }
        m->entries = entries;
        m->capacity = more;
    }
    m->entries[m->n] = *e;
    return &m->entries[m->n++];
}

/* 'unread': the texts are the server's own, which are in canonical form, and are read when somebody needs their sets. */
static bool decode(struct arena *a, const struct meta_v1_managed_fields_entry *entries, size_t n, bool unread, struct managed *ret,
                   struct err *err)
{
    struct managed m = { 0 };
    for (size_t i = 0; i < n; i++) {
        const struct meta_v1_managed_fields_entry *in = &entries[i];
        struct managed_entry e = { .manager = in->manager, .subresource = in->subresource,
                                   .api_version = in->api_version, .time = in->time,
                                   .apply = str_eq_c(in->operation, "Apply") };
        if (!e.apply && !str_eq_c(in->operation, "Update")) {
            return err_set(err, ERR_INVALID, "invalid managed fields entry: operation must be `Update` or `Apply`");
        }
        if (!str_eq_c(in->fields_type, "FieldsV1") || in->api_version.len == 0) {
            return err_set(err, ERR_INVALID, "invalid managed fields entry: fieldsType must be `FieldsV1`");
        }
        if (unread) {
            e.text = in->fields_v1;
            e.unread = in->fields_v1.len > 0;
        } else if (in->fields_v1.len && !fields_parse(a, in->fields_v1, &e.set, err)) {
            return false;
        }
        struct managed_entry *same = managed_find(&m, e.manager, e.apply, e.api_version, e.subresource);
        if (same) {
            *same = e;
        } else if (!managed_add(a, &m, &e)) {
            return no_memory(err);
        }
    }
    *ret = m;
    return true;
}

bool managed_decode(struct arena *a, const struct meta_v1_managed_fields_entry *entries, size_t n, struct managed *ret,
                    struct err *err)
{
    return decode(a, entries, n, false, ret, err);
}

/* The set of a live entry. One that cannot be read owns nothing. False past the budget. */
static bool read_entry(struct arena *a, struct managed_entry *e)
{
    struct err err;
    if (!e->unread) {
        return true;
    }
    e->unread = false;
    if (!fields_parse(a, e->text, &e->set, &err)) {
        e->set = (struct fields){ 0 };
        e->text = STR_NULL;
        return err.code != ERR_TOO_LARGE;
    }
    e->read = e->set;
    return true;
}

bool managed_read(struct arena *a, struct managed *m)
{
    for (size_t i = 0; i < m->n; i++) {
        if (!read_entry(a, &m->entries[i])) {
            return false;
        }
    }
    return true;
}

static bool is_reset(const struct meta_v1_managed_fields_entry *e, size_t n)
{
    return n == 1 && !e->manager.len && !e->operation.len && !e->api_version.len && !e->time.set && !e->fields_type.len &&
           !e->subresource.len && (!e->fields_v1.len || str_eq_c(e->fields_v1, "null"));
}

bool managed_init(struct arena *a, const struct meta_v1_managed_fields_entry *live, size_t n_live,
                  const struct meta_v1_managed_fields_entry *request, size_t n_request, struct managed *ret, struct err *err)
{
    struct err bad;
    if (is_reset(request, n_request)) {
        *ret = (struct managed){ 0 };
        return true;
    }
    if (n_request && managed_decode(a, request, n_request, ret, &bad) && ret->n) {
        return true;
    }
    /* Clients that do not know the field must not delete it; live entries that are none are as good as none. */
    if (!decode(a, live, n_live, true, ret, &bad)) {
        if (bad.code == ERR_TOO_LARGE) {
            return no_memory(err);
        }
        *ret = (struct managed){ 0 };
    }
    return true;
}

/* ---- tracking ---- */

#define UNTRACKED(word) { .pe = { .kind = FIELDS_NAME, .name = { word, sizeof(word) - 1 } }, .member = true }

/* Fields that the server keeps itself. On the caller's stack: the set is small and is read at once. */
struct untracked {
    struct fields all, top[3], metadata[8];
};

static void untracked(struct untracked *ret)
{
    *ret = (struct untracked){
        .metadata = { UNTRACKED("creationTimestamp"), UNTRACKED("generation"), UNTRACKED("managedFields"), UNTRACKED("name"),
                      UNTRACKED("namespace"), UNTRACKED("resourceVersion"), UNTRACKED("selfLink"), UNTRACKED("uid") },
        .top = { UNTRACKED("apiVersion"), UNTRACKED("kind"), UNTRACKED("metadata") },
    };
    ret->all.kids = ret->top;
    ret->all.n = ARRAY_SIZE(ret->top);
    ret->top[2].kids = ret->metadata;
    ret->top[2].n = ARRAY_SIZE(ret->metadata);
}

/* '*x' without them. */
static bool strip(struct arena *a, struct fields *x)
{
    struct untracked u;
    untracked(&u);
    return fields_difference(a, x, &u.all, x);
}

bool managed_tidy(struct arena *a, struct managed *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        /* What was not read is as it was stored: tidy. */
        if (!m->entries[i].unread && !strip(a, &m->entries[i].set)) {
            return false;
        }
        if (m->entries[i].unread || !fields_is_empty(&m->entries[i].set)) {
            m->entries[n++] = m->entries[i];
        }
    }
    m->n = n;
    return true;
}

bool managed_reset_fields(struct arena *a, bool has_status, struct str subresource, struct fields *ret)
{
    struct fields f = { 0 };
    bool ok = true;
    if (subresource.len == 0) {
        ok = !has_status || fields_add_names(a, &f, (const char *const[]){ "status" }, 1);
    } else if (str_eq_c(subresource, "status")) {
        ok = fields_add_names(a, &f, (const char *const[]){ "spec" }, 1);
    }
    *ret = f;
    return ok;
}

static bool without_ignored(struct arena *a, const struct managed_writer *w, struct fields_diff *ret)
{
    return !w->ignore || fields_is_empty(w->ignore) || (fields_exclude(a, &ret->added, w->ignore, &ret->added) &&
                          fields_exclude(a, &ret->modified, w->ignore, &ret->modified) &&
                          fields_exclude(a, &ret->removed, w->ignore, &ret->removed));
}

static bool compare(struct arena *a, const struct managed_writer *w, struct fields_at schema, const struct val *from,
                    const struct val *to, struct fields_diff *ret)
{
    return fields_compare(a, schema, from, to, ret) && without_ignored(a, w, ret);
}

bool managed_compare(struct arena *a, const struct managed_writer *w, struct str api_version, const struct val *from,
                     const struct val *to, struct fields_diff *ret, bool *ret_drop)
{
    struct val x, y;
    struct fields_at schema = w->schema;
    *ret_drop = false;
    if (w->convert && !str_eq(api_version, w->api_version)) {
        if (w->convert(w->user, a, api_version, from, &x, &schema, ret_drop) &&
            w->convert(w->user, a, api_version, to, &y, &schema, ret_drop)) {
            return compare(a, w, schema, &x, &y, ret);
        }
        if (*ret_drop) {
            *ret = (struct fields_diff){ 0 };
            return true;
        }
    }
    return compare(a, w, w->schema, from, to, ret);
}

static int64_t seconds(const struct managed_entry *e)
{
    return e->time.set ? e->time.sec : 0;
}

/* The order in which updates grow old. */
static int age_cmp(const void *a, const void *b)
{
    const struct managed_entry *x = *(struct managed_entry *const *)a, *y = *(struct managed_entry *const *)b;
    if (seconds(x) != seconds(y)) {
        return seconds(x) < seconds(y) ? -1 : 1;
    }
    int c = str_cmp(x->manager, y->manager);
    c = c ? c : str_cmp(x->api_version, y->api_version);
    return c ? c : str_cmp(x->subresource, y->subresource);
}

/* Folds the oldest updates of each version into one entry, until there are no more than the limit. An entry that is the only one
 * of its version so far stays as it is, so what remains can be a few more. */
static bool cap_updates(struct arena *a, struct managed *m)
{
    struct managed_entry **updates = arena_alloc_n(a, m->n ? m->n : 1, sizeof(*updates));
    bool *gone = arena_new_n(a, bool, m->n ? m->n : 1);
    size_t n = 0, left, kept = 0;
    if (!updates || !gone) {
        return false;
    }
    for (size_t i = 0; i < m->n; i++) {
        if (!m->entries[i].apply) {
            updates[n++] = &m->entries[i];
        }
    }
    if (n <= MANAGED_UPDATES_MAX) {
        return true;
    }
    left = n;
    qsort(updates, n, sizeof(struct managed_entry *), age_cmp);
    for (size_t i = 0; i < n && left > MANAGED_UPDATES_MAX; i++) {
        /* The first of this version becomes the bucket once there is a second one. */
        struct managed_entry *first = NULL;
        for (size_t k = 0; k < i && !first; k++) {
            if (!gone[updates[k] - m->entries] && str_eq(updates[k]->api_version, updates[i]->api_version)) {
                first = updates[k];
            }
        }
        if (!first) {
            continue;
        }
        struct managed_entry *bucket = managed_find(m, STR(ANCIENT), false, updates[i]->api_version, STR_NULL);
        if (bucket && bucket != updates[i] && !gone[bucket - m->entries]) {
            first = bucket;
        }
        if (!read_entry(a, updates[i]) || !read_entry(a, first) ||
            !fields_union(a, &updates[i]->set, &first->set, &first->set)) {
            return false;
        }
        first->manager = STR(ANCIENT);
        first->subresource = STR_NULL;
        first->time = updates[i]->time;
        gone[updates[i] - m->entries] = true;
        left--;
    }
    for (size_t i = 0; i < m->n; i++) {
        if (!gone[i]) {
            m->entries[kept++] = m->entries[i];
        }
    }
    m->n = kept;
    return true;
}

/* The object before and after, as trees; and as structs, of which trees are made when an entry of another version asks. */
struct sides {
    const struct val *from, *to;
    const void *from_struct, *to_struct;
    struct val made[2];
};

static bool need_trees(struct arena *a, const struct managed_writer *w, struct sides *s)
{
    if (s->from) {
        return true;
    }
    if (!w->tree || !w->tree(w->user, a, s->from_struct, &s->made[0]) || !w->tree(w->user, a, s->to_struct, &s->made[1])) {
        return false;
    }
    s->from = &s->made[0];
    s->to = &s->made[1];
    return true;
}

/* All that changed, came or went. */
static bool unite(struct arena *a, const struct fields_diff *d, struct fields *ret)
{
    return fields_union(a, &d->modified, &d->added, ret) && fields_union(a, ret, &d->removed, ret);
}

/* Takes what changed and what went from everybody but the writer, who keeps what changed. */
static bool take_away(struct arena *a, struct managed *m, const struct managed_writer *w, const struct managed_entry *self,
                      struct sides *s, const struct fields_diff *own)
{
    struct fields all;
    if (!unite(a, own, &all)) {
        return false;
    }
    for (size_t i = 0; i < m->n; i++) {
        struct managed_entry *e = &m->entries[i];
        struct fields_diff d = *own;
        struct fields touched = all;
        bool drop = false;
        if (e == self) {
            continue;
        }
        if (!str_eq(e->api_version, w->api_version) && w->convert &&
            (!need_trees(a, w, s) || !managed_compare(a, w, e->api_version, s->from, s->to, &d, &drop) || !unite(a, &d, &touched))) {
            return false;
        }
        if (drop) {
            e->set = (struct fields){ 0 };
            e->unread = false;
            continue;
        }
        /* Entries that the write does not touch stay text. */
        if (e->unread && !fields_text_meets(e->text, &touched)) {
            continue;
        }
        if (!read_entry(a, e) || !fields_difference(a, &e->set, &touched, &e->set)) {
            return false;
        }
    }
    return true;
}

/* The writer's own entry: without what went, with what it wrote. */
static bool add_own(struct arena *a, struct managed_entry *e, const struct fields *removed, const struct fields *taken)
{
    struct fields rest;
    if (e->unread && !fields_text_meets(e->text, removed) && fields_text_has_all(e->text, taken)) {
        return true;
    }
    return read_entry(a, e) && fields_difference(a, &e->set, removed, &rest) && fields_union(a, taken, &rest, &e->set);
}

static bool settle(struct arena *a, struct managed *m, const struct managed_writer *w, struct sides *s, const struct fields_diff *d,
                   struct err *err)
{
    struct fields taken;
    struct str manager = w->manager.len ? w->manager : STR("unknown");
    struct str subresource = w->subresource.len ? w->subresource : STR_NULL;
    struct managed_entry *self = managed_find(m, manager, false, w->api_version, subresource);
    if (!take_away(a, m, w, self, s, d) || !fields_union(a, &d->modified, &d->added, &taken) || !strip(a, &taken)) {
        return no_memory(err);
    }
    if (!self && !fields_is_empty(&taken)) {
        self = managed_add(a, m, &(struct managed_entry){ .manager = manager, .subresource = subresource,
                                                          .api_version = w->api_version });
        if (!self) {
            return no_memory(err);
        }
    }
    if (self && !add_own(a, self, &d->removed, &taken)) {
        return no_memory(err);
    }
    if (self && !fields_is_empty(&taken)) {
        self->time = (struct api_time){ .sec = w->now_sec, .set = true };
    }
    return managed_tidy(a, m) && cap_updates(a, m) ? true : no_memory(err);
}

bool managed_update(struct arena *a, struct managed *m, const struct managed_writer *w, const struct val *live,
                    const struct val *object, struct err *err)
{
    struct sides s = { .from = live ? live : w->empty, .to = object };
    struct fields_diff d;
    if (m->n == 0 && live) {
        return true;
    }
    return compare(a, w, w->schema, s.from, s.to, &d) ? settle(a, m, w, &s, &d, err) : no_memory(err);
}

/* The entry of a new object that nobody has written before: its set is written as it is found. '*ret' false: the set is needed. */
static bool enter_new(struct arena *a, struct managed *m, const struct managed_writer *w, const struct api_type *t, const void *object,
                      bool *ret)
{
    CLEANUP(buf_deinit) struct buf b;
    struct untracked u;
    struct fields skip;
    untracked(&u);
    u.top[2].member = false; /* what is not named below it is tracked */
    buf_init(&b, BUF_NO_MAX);
    if (!buf_reserve(&b, TEXT_BYTES) || !fields_union(a, &u.all, w->ignore ? w->ignore : &(const struct fields){ 0 }, &skip) ||
        !fields_write_new(a, t, object, &skip, &b, ret)) {
        return false;
    }
    if (!*ret || str_eq(buf_str(&b), STR("{}"))) {
        return true;
    }
    struct managed_entry e = { .manager = w->manager.len ? w->manager : STR("unknown"), .api_version = w->api_version,
                               .subresource = w->subresource.len ? w->subresource : STR_NULL, .unread = true,
                               .time = { .sec = w->now_sec, .set = true }, .text = arena_str(a, buf_str(&b)) };
    return e.text.ptr && managed_add(a, m, &e);
}

bool managed_update_typed(struct arena *a, struct managed *m, const struct managed_writer *w, const struct api_type *t,
                          const void *live, const void *object, struct err *err)
{
    struct sides s = { .from_struct = live, .to_struct = object };
    struct fields_diff d;
    bool entered = false;
    if (m->n == 0 && live) {
        return true;
    }
    if (m->n == 0 && !enter_new(a, m, w, t, object, &entered)) {
        return no_memory(err);
    }
    if (entered) {
        return true;
    }
    if (!live && !(s.from_struct = arena_alloc(a, t->size))) {
        return no_memory(err);
    }
    return fields_compare_typed(a, t, s.from_struct, object, &d) && without_ignored(a, w, &d) ? settle(a, m, w, &s, &d, err)
                                                                                              : no_memory(err);
}

/* ---- encoding ---- */

static int stored_cmp(const void *a, const void *b)
{
    const struct managed_entry *x = a, *y = b;
    if (x->apply != y->apply) {
        return x->apply ? -1 : 1;
    }
    return age_cmp(&(const struct managed_entry *const){ x }, &(const struct managed_entry *const){ y });
}

bool managed_encode(struct arena *a, struct managed *m, struct meta_v1_managed_fields_entry **ret, size_t *ret_n,
                    struct err *err)
{
    struct meta_v1_managed_fields_entry *out = m->n ? arena_new_n(a, struct meta_v1_managed_fields_entry, m->n) : NULL;
    struct buf b;
    if (m->n && !out) {
        return no_memory(err);
    }
    if (m->n > 1) {
        qsort(m->entries, m->n, sizeof(*m->entries), stored_cmp);
    }
    buf_init(&b, BUF_NO_MAX);
    for (size_t i = 0; i < m->n; i++) {
        const struct managed_entry *e = &m->entries[i];
        bool kept = e->text.len && (e->unread || fields_is_same(&e->set, &e->read));
        buf_clear(&b);
        if (!kept && (b.capacity || buf_reserve(&b, TEXT_BYTES))) {
            fields_write(&b, &e->set);
        }
        out[i] = (struct meta_v1_managed_fields_entry){
            .manager = e->manager,
            .operation = e->apply ? STR("Apply") : STR("Update"),
            .api_version = e->api_version,
            .time = e->time,
            .fields_type = STR("FieldsV1"),
            .fields_v1 = kept ? e->text : buf_failed(&b) ? STR_NULL : arena_str(a, buf_str(&b)),
            .subresource = e->subresource,
        };
        if (!out[i].fields_v1.ptr) {
            buf_deinit(&b);
            return no_memory(err);
        }
    }
    buf_deinit(&b);
    *ret = out;
    *ret_n = m->n;
    return true;
}

bool managed_same_but_times(const struct meta_v1_managed_fields_entry *x, size_t n_x,
                            const struct meta_v1_managed_fields_entry *y, size_t n_y)
{
    if (n_x != n_y) {
        return false;
    }
    for (size_t i = 0; i < n_x; i++) {
        if (!str_eq(x[i].manager, y[i].manager) || !str_eq(x[i].operation, y[i].operation) ||
            !str_eq(x[i].api_version, y[i].api_version) || !str_eq(x[i].fields_type, y[i].fields_type) ||
            !str_eq(x[i].fields_v1, y[i].fields_v1) || !str_eq(x[i].subresource, y[i].subresource)) {
            return false;
        }
    }
    return true;
}
