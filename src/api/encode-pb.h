/*
 * Typed struct -> protobuf, byte for byte as upstream writes it: Kubernetes objects as gogo does (fields by number, every field
 * that is no pointer written even when zero, maps sorted), proto3 messages without zeros and with packed numbers.
 */
#ifndef API_ENCODE_PB_H
#define API_ENCODE_PB_H

#include "api/type.h"
#include "base/buf.h"

/* One message, appended to 'b'. False when the buffer is full or memory ran out. */
MUST_CHECK bool api_encode_pb(struct buf *b, const struct api_type *t, const void *obj);

struct api_pb_encode {
    struct str api_version, kind; /* of the envelope */
    bool drop_resource_version;   /* metadata.resourceVersion is written as "": the stored form (design.md 5) */
    bool settle;                  /* the object is the caller's, and its empty lists and maps become absent on the way: as
                                   * api_as_stored(), without another walk */
    struct str resource_version;  /* when present it is written in place of metadata.resourceVersion */
};
/* An object in its envelope k8s\0: what is stored, and what is answered as application/vnd.kubernetes.protobuf. */
MUST_CHECK bool api_encode_pb_object(struct buf *b, const struct api_type *t, const void *obj, const struct api_pb_encode *o);
/* The envelope alone around bytes that are already encoded. */
void api_encode_pb_envelope(struct buf *b, struct str api_version, struct str kind, struct str raw);

#endif
