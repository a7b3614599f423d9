/* Every kind that has rules of its own, and every conversion between versions of different shape. */
#include "kinds/table.h"

const struct kind_ops *const kind_table[] = {
    NULL,
};

const struct kind_conversion *const kind_conversions[] = {
    NULL,
};

static const struct kind_ops plain = { 0 };

const struct kind_ops *kind_ops_find(struct str group, struct str resource)
{
    for (size_t i = 0; kind_table[i]; i++) {
        if (str_eq(kind_table[i]->resource, resource) && str_eq(kind_table[i]->group, group)) {
            return kind_table[i];
        }
    }
    return &plain;
}

const struct kind_conversion *kind_conversion_find(struct str group, struct str version, struct str kind)
{
    for (size_t i = 0; kind_conversions[i]; i++) {
        const struct kind_conversion *c = kind_conversions[i];
        if (str_eq(c->kind, kind) && str_eq(c->version, version) && str_eq(c->group, group)) {
            return c;
        }
    }
    return NULL;
}
