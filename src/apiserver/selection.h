/* Which objects a list, watch or deletecollection is about: label and field selectors of a request, matched on published
 * objects without decoding them. */
#ifndef APISERVER_SELECTION_H
#define APISERVER_SELECTION_H

#include "api/selector.h"
#include "apiserver/stage.h"

struct arena;
struct object;
struct object_class;
struct request;

struct selection {
    struct selector labels;
    struct field_selector fields;
    const struct object_class *class;
    struct str name;    /* metadata.name must equal it; "" any */
    int field;          /* index of a class field that must equal 'field_value'; -1: none */
    struct str field_value;
    bool is_everything; /* nothing narrows it but namespace and name */
    bool is_nothing;    /* cannot match: metadata.namespace or name contradict the path */
};

/* From r->opt; everything lives in 'a', also after the request. False with r->status filled. */
MUST_CHECK bool selection_parse(struct arena *a, struct request *r, struct selection *ret);
/* Labels and fields; the caller has looked at the namespace. */
bool selection_matches(const struct selection *s, const struct object *o);

#endif
