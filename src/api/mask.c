#include "api/mask.h"

static struct api_mask *new_node(struct arena *a, const struct api_type *t, enum api_mask_action all)
{
    struct api_mask *m = arena_new(a, struct api_mask);

    if (!m) {
        return NULL;
    }
    m->type = t;
    m->flat_action = arena_new_n(a, uint8_t, t->n_flat);
    m->flat_sub = arena_new_n(a, const struct api_mask *, t->n_flat);
    m->field_action = arena_new_n(a, uint8_t, t->n_fields);
    m->field_sub = arena_new_n(a, const struct api_mask *, t->n_fields);
    if (!m->flat_action || !m->flat_sub || !m->field_action || !m->field_sub) {
        return NULL;
    }
    memset(m->flat_action, all, t->n_flat);
    return m;
}

/* Applies one path below 'm': what it names becomes 'action'. */
static bool apply(struct arena *a, struct api_mask *m, struct str path, struct str whole, enum api_mask_action action, struct err *err)
{
    struct str head, rest;
    bool more = str_cut(path, '.', &head, &rest);
    bool sparse = more && str_ends(head, STR("?"));
    head.len -= sparse;
    int i = api_flat_find(m->type, head);
    const struct api_field *f;
    struct api_mask *sub;

    if (i < 0) {
        return err_set(err, ERR_INVALID, "no field %.*s in %.*s", STR_ARG(whole), STR_ARG(m->type->name));
    }
    f = m->type->flat[i].field;
    if (!more) {
        m->flat_action[i] = (uint8_t)action;
        m->flat_sub[i] = NULL;
        return true;
    }
    if (f->ftype != API_MESSAGE || f->message->form != API_FORM_OBJECT) {
        return err_set(err, ERR_INVALID, "nothing below %.*s in %.*s", STR_ARG(head), STR_ARG(m->type->name));
    }
    if (m->flat_action[i] != API_MASK_PART) {
        enum api_mask_action was = m->flat_action[i];

        if (was == action) {
            return true;
        }
        sub = new_node(a, f->message, was);
        m->flat_sub[i] = sub;
        m->flat_action[i] = API_MASK_PART;
        if (sub) {
            sub->sparse = sparse;
        }
    }
    /* Nodes are constant for everybody but us, who made them. */
    sub = (struct api_mask *)(uintptr_t)m->flat_sub[i];
    if (sub) {
        sub->sparse = sub->sparse && sparse;
    }
    return sub ? apply(a, sub, rest, whole, action, err) : err_set(err, ERR_NO_MEMORY, "no memory for a mask");
}

/* Fills the actions by field from those by flat name: protobuf nests what JSON writes in place. */
static bool finish(struct arena *a, struct api_mask *m)
{
    const struct api_type *t = m->type;
    unsigned flat = 0;

    for (unsigned i = 0; i < t->n_flat; i++) {
        if (m->flat_action[i] == API_MASK_PART && !finish(a, (struct api_mask *)(uintptr_t)m->flat_sub[i])) {
            return false;
        }
    }
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct api_field *f = &t->fields[i];
        struct api_mask *sub;

        if (!(f->flags & API_F_INLINE)) {
            m->field_action[i] = m->flat_action[flat];
            m->field_sub[i] = m->flat_sub[flat];
            flat++;
            continue;
        }
        sub = new_node(a, f->message, API_MASK_SKIP);
        if (!sub) {
            return false;
        }
        memcpy(sub->flat_action, m->flat_action + flat, f->message->n_flat);
        memcpy(sub->flat_sub, m->flat_sub + flat, f->message->n_flat * sizeof(*sub->flat_sub));
        flat += f->message->n_flat;
        if (!finish(a, sub)) {
            return false;
        }
        m->field_action[i] = API_MASK_PART;
        m->field_sub[i] = sub;
    }
    return true;
}

const struct api_mask *api_mask_new(struct arena *a, const struct api_type *t, const char *const *paths, size_t n, struct err *err)
{
    bool drop_first = n > 0 && paths[0][0] == '-';
    struct api_mask *m = new_node(a, t, drop_first ? API_MASK_KEEP : API_MASK_SKIP);

    for (size_t i = 0; m && i < n; i++) {
        bool drop = paths[i][0] == '-';
        struct str path = str_c(paths[i] + drop);

        if (!apply(a, m, path, path, drop ? API_MASK_SKIP : API_MASK_KEEP, err)) {
            return NULL;
        }
    }
    if (!m || !finish(a, m)) {
        err_set(err, ERR_NO_MEMORY, "no memory for a mask");
        return NULL;
    }
    return m;
}
