/* Decoding of request bodies; for the stages of verbs and subresources. */
#ifndef APISERVER_BODY_H
#define APISERVER_BODY_H

#include "api/type.h"

struct request;

/* What may stand in the body. */
struct body_type {
    const struct api_type *type;
    struct str api_version, kind; /* "apps/v1", "Deployment" */
};

/* The decoded and defaulted body in the request's arena; NULL with r->status filled. Warnings go to the request. */
void *body_decode(struct request *r, const struct body_type *want);
/* The object of the endpoint's version in the hub's shape (the same object when the shapes are one); NULL as above. */
void *body_to_hub(struct request *r, void *obj);

#endif
