/* Schemas of the API's types as OpenAPI JSON, made by walking descriptors. */
#ifndef APISERVER_OPENAPI_SCHEMA_H
#define APISERVER_OPENAPI_SCHEMA_H

#include "api/type.h"
#include "base/arena.h"
#include "base/buf.h"

enum openapi_version { OPENAPI_V2, OPENAPI_V3 };

/* A set of types in the order they were found; each with everything it refers to. */
struct openapi_types {
    const struct api_type **items;
    size_t n, capacity;
};

/* Adds 't' and all types below it. The arena holds the array. */
void openapi_types_add(struct openapi_types *s, struct arena *a, const struct api_type *t);

/* "io.k8s.api.apps.v1.Deployment": the name of a type's definition. Appends it. */
void openapi_name(struct buf *b, const struct api_type *t);

/* Appends "name":{schema}, the definition of one type. 'gvk' of root types may be NULL. */
struct openapi_gvk {
    struct str group, version, kind;
};
void openapi_definition(struct buf *b, enum openapi_version v, const struct api_type *t, const struct openapi_gvk *gvks, size_t n_gvks);
/* The definitions that stand for several fields: Quantity, IntOrString, Time, … Appends them comma-separated. */
void openapi_common_definitions(struct buf *b, enum openapi_version v);

/* Appends '"/api/v1/…":{…}' for every path of a resource: its operations with their query parameters. */
void openapi_paths(struct buf *b, enum openapi_version v, const struct api_resource *r);

#endif
