/*
 * Rendering: one published object, or a typed one, in the version and representation a client asked for. Used by answers,
 * lists and watches alike.
 */
#ifndef APISERVER_RENDER_H
#define APISERVER_RENDER_H

#include "apiserver/media.h"
#include "apiserver/server.h"

/* What does not change from object to object of one answer. */
struct render {
    const struct endpoint *ep;
    struct media media;
    struct str include_object; /* of tables: "", "None", "Metadata" or "Object" */
    int64_t now_sec;           /* for ages */
};

/* Can the published bytes be sent as they are (JSON, the object itself, one shape)? */
bool render_is_verbatim(const struct render *how);
/* A number for caches of encodings: equal for equal representations. */
uint32_t render_representation(const struct render *how);

/* Appends the object standing alone, without newline. */
MUST_CHECK bool render_object(const struct render *how, struct arena *a, const struct object *o, struct buf *b, struct err *err);
/* The same of a hub struct that was not published. */
MUST_CHECK bool render_hub(const struct render *how, struct arena *a, const void *hub, struct buf *b, struct err *err);
/* The hub struct in the endpoint's shape; itself when the shapes are one. NULL past the budget. */
const void *render_convert(const struct endpoint *ep, struct arena *a, const void *hub);

/* Any typed object in a format. 'api_version' and 'kind' go into the envelope or the first fields. */
MUST_CHECK bool render_typed(enum media_format format, struct arena *a, const struct api_type *type, const void *obj,
                             struct str api_version, struct str kind, struct buf *b, struct err *err);
/* JSON text to YAML, keys sorted as upstream's serializer does. */
MUST_CHECK bool render_yaml(struct arena *a, struct str json, struct buf *b, struct err *err);

/* ---- tables (table.c) ---- */

/* Appends '{"kind":"Table",…,"columnDefinitions":[…],"rows":['. */
void table_begin(const struct render *how, struct buf *b, struct str resource_version, struct str continue_token, int64_t remaining,
                 bool with_columns);
/* Appends one row; 'hub' is the object, 'o' its published form or NULL. */
MUST_CHECK bool table_row(const struct render *how, struct arena *a, const struct object *o, const void *hub, struct buf *b,
                          struct err *err);
void table_end(struct buf *b);

#endif
