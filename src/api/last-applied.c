#include "api/last-applied.h"

#define ANNOTATION "kubectl.kubernetes.io/last-applied-configuration"
/* All annotations of an object together; beyond it the annotation is emptied rather than the write refused. */
#define ANNOTATIONS_MAX (256 * 1024)

bool last_applied_allowed(struct arena *a, const struct managed_writer *w, const struct val *live, struct fields *ret)
{
    struct str text = VAL_STR_AT(live, "metadata", "annotations", ANNOTATION);
    struct val config;
    struct fields set;
    struct fields_diff d;
    *ret = (struct fields){ 0 };
    if (text.len == 0 || !val_parse_json(a, text, JSON_DEPTH, NULL, &config, NULL) ||
        !str_eq(val_get_str(&config, STR("apiVersion")), w->api_version) ||
        !fields_validate(a, w->schema, &config, true, NULL)) {
        return true;
    }
    return fields_of(a, w->schema, &config, &set) && fields_compare(a, w->schema, &config, live, &d) &&
           fields_difference(a, &set, &d.modified, &set) && fields_difference(a, &set, &d.added, &set) &&
           fields_difference(a, &set, &d.removed, ret);
}

/* The member of that name with members of its own, so that it can be changed without its other owners seeing it. */
static struct val *own_member(struct arena *a, struct val *v, struct str key)
{
    struct val *m = val_get(v, key);
    if (!val_is(m, VAL_OBJECT)) {
        return NULL;
    }
    struct val_member *members = arena_grow_n(a, m->members, m->n, m->n + 1, sizeof(*members));
    if (members) {
        m->members = members;
        m->capacity = m->n + 1;
    }
    return members ? m : NULL;
}

bool last_applied_update(struct arena *a, const struct val *config, struct val *object)
{
    struct val copy, *metadata, *annotations;
    if (!VAL_STR_AT(object, "metadata", "annotations", ANNOTATION).len) {
        return true;
    }
    if (!val_copy(a, config, false, &copy)) {
        return false;
    }
    metadata = val_get(&copy, STR("metadata"));
    if (val_is(metadata, VAL_OBJECT)) {
        (void)val_remove(metadata, STR("managedFields"));
        annotations = val_get(metadata, STR("annotations"));
        if (val_is(annotations, VAL_OBJECT)) {
            (void)val_remove(annotations, STR(ANNOTATION));
        }
    }
    val_sort(&copy);
    struct str text = val_to_json(a, &copy);
    text = text.ptr ? arena_printf(a, "%.*s\n", STR_ARG(text)) : text;
    struct val_member *members = arena_grow_n(a, object->members, object->n, object->n, sizeof(*members));
    if (!text.ptr || !members) {
        return false;
    }
    object->members = members;
    object->capacity = object->n;
    metadata = own_member(a, object, STR("metadata"));
    annotations = metadata ? own_member(a, metadata, STR("annotations")) : NULL;
    return annotations &&
           val_set(a, annotations, STR(ANNOTATION), val_string(text.len < ANNOTATIONS_MAX ? text : STR_EMPTY)) != NULL;
}
