#include "controllers/owner.h"

#include <stdlib.h>

#include "api/json-writer.h"

/* How soon an owner looks again after an adoption, should no change of the adopted make it do so before. */
#define ADOPTED_MS 1000

struct meta_v1_owner_reference owner_reference(struct arena *a, const struct api_resource *r,
                                               const struct meta_v1_object_meta *owner)
{
    return (struct meta_v1_owner_reference){
        .api_version = str_empty(r->group)
                           ? r->version
                           : arena_printf(a, "%.*s/%.*s", STR_ARG(r->group), STR_ARG(r->version)),
        .kind = r->kind,
        .name = owner->name,
        .uid = owner->uid,
        .controller = true,
        .has_controller = true,
        .block_owner_deletion = true,
        .has_block_owner_deletion = true,
    };
}

bool owner_is(const struct meta_v1_object_meta *m, struct str owner_uid)
{
    const struct meta_v1_owner_reference *c = meta_controller_of(m);
    return c && str_eq(c->uid, owner_uid);
}

static void patch_owner(struct actions *a, const struct api_resource *r,
                        const struct meta_v1_object_meta *obj, const struct buf *reference)
{
    struct buf b;
    buf_init(&b, 65536);
    buf_append_c(&b, "{\"metadata\":{\"ownerReferences\":[");
    buf_append(&b, buf_str(reference));
    buf_append_c(&b, "],\"uid\":");
    json_write_string(&b, obj->uid);
    buf_append_c(&b, "}}");
    act_patch(a, r, obj->namespace, obj->name, NULL, CLIENT_PATCH_STRATEGIC, buf_str(&b));
    act_tolerate(a, ERR_NOT_FOUND);
    buf_deinit(&b);
}

void owner_adopt(struct actions *a, const struct api_resource *r,
                 const struct meta_v1_object_meta *obj, const struct meta_v1_owner_reference *owner)
{
    struct buf b;
    buf_init(&b, 65536);
    buf_append_c(&b, "{\"apiVersion\":");
    json_write_string(&b, owner->api_version);
    buf_append_c(&b, ",\"kind\":");
    json_write_string(&b, owner->kind);
    buf_append_c(&b, ",\"name\":");
    json_write_string(&b, owner->name);
    buf_append_c(&b, ",\"uid\":");
    json_write_string(&b, owner->uid);
    buf_append_c(&b, ",\"controller\":true,\"blockOwnerDeletion\":true}");
    patch_owner(a, r, obj, &b);
    act_requeue_after(a, ADOPTED_MS);
    buf_deinit(&b);
}

void owner_release(struct actions *a, const struct api_resource *r,
                   const struct meta_v1_object_meta *obj, struct str owner_uid)
{
    struct buf b;
    buf_init(&b, 65536);
    buf_append_c(&b, "{\"$patch\":\"delete\",\"uid\":");
    json_write_string(&b, owner_uid);
    buf_append_char(&b, '}');
    patch_owner(a, r, obj, &b);
    buf_deinit(&b);
}

void owner_enqueue(struct controller *c, const char *kind, const struct meta_v1_object_meta *m)
{
    const struct meta_v1_owner_reference *o = meta_controller_of(m);
    if (o && str_eq_c(o->kind, kind)) {
        char key[600];
        snprintf(key, sizeof(key), "%.*s/%.*s", STR_ARG(m->namespace), STR_ARG(o->name));
        controller_enqueue(c, str_c(key));
    }
}

bool owner_is_wanted_anew(const struct meta_v1_object_meta *old,
                          const struct meta_v1_object_meta *obj)
{
    return !meta_controller_of(obj) &&
           (!old || meta_controller_of(old) || !meta_same_labels(old, obj));
}

void claimable_init(struct claimable *c, struct informer *informer)
{
    c->informer = informer;
    c->by_owner = informer_index(informer, "controller", informer_by_controller_uid);
    c->orphans = informer_index(informer, "orphans", informer_orphans_by_namespace);
}

const void *claimable_next(const struct claimable *c, struct str owner_uid, size_t *pos)
{
    return informer_index_next(c->by_owner, owner_uid, pos);
}

static void push(struct actions *a, struct owned *o, size_t *capacity, const void *obj)
{
    if (o->n == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 16;
        const void **grown = arena_grow_n(act_arena(a), o->items, o->n, *capacity, sizeof(void *));
        if (!grown) {
            abort();
        }
        o->items = grown;
    }
    o->items[o->n++] = obj;
}

struct owned owner_claim(struct actions *a, const struct claimable *dependents,
                         const struct meta_v1_owner_reference *owner, struct str ns,
                         const struct selector *selector, bool owner_deleting)
{
    const struct api_type *type = informer_type(dependents->informer);
    const struct api_resource *r = informer_resource(dependents->informer);
    struct owned o = { .items = NULL };
    size_t capacity = 0;
    const void *obj;
    for (size_t pos = 0; (obj = claimable_next(dependents, owner->uid, &pos));) {
        const struct meta_v1_object_meta *m = meta_of(type, obj);
        if (selector_matches(selector, m->labels, m->n_labels)) {
            push(a, &o, &capacity, obj);
        } else if (!owner_deleting && !m->deletion_timestamp.set) {
            owner_release(a, r, m, owner->uid);
        }
    }
    if (owner_deleting) {
        return o;
    }
    for (size_t pos = 0; (obj = informer_index_next(dependents->orphans, ns, &pos));) {
        const struct meta_v1_object_meta *m = meta_of(type, obj);
        if (!m->deletion_timestamp.set &&
            selector_matches(selector, m->labels, m->n_labels)) {
            owner_adopt(a, r, m, owner);
            o.adopts = true;
        }
    }
    return o;
}
