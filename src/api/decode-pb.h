/*
 * Protobuf -> typed struct: Kubernetes objects (proto2 as gogo writes it) and plain proto3 messages (CRI, etcd, plugins) by one
 * walker. Unknown fields are skipped. Strings and bytes borrow from the input. Depth and lengths are bounded.
 */
#ifndef API_DECODE_PB_H
#define API_DECODE_PB_H

#include "api/mask.h"

/* Nesting of messages; protobuf's own limit elsewhere. */
#define API_PB_DEPTH 100

/* One message. 'ret' is zeroed by the caller. 'mask' may be NULL. ERR_BAD_REQUEST for malformed bytes, ERR_TOO_LARGE past the
 * arena's budget. */
MUST_CHECK bool api_decode_pb(struct arena *a, const struct api_type *t, struct str bytes, const struct api_mask *mask, void *ret,
                              struct err *err);

/* What stands around every Kubernetes object in protobuf: the bytes k8s\0 and a runtime.Unknown. All borrowed. */
struct api_pb_envelope {
    struct str api_version, kind;
    struct str raw;
    struct str content_encoding, content_type;
};
static inline bool api_pb_is_envelope(struct str bytes)
{
    return bytes.len >= 4 && memcmp(bytes.ptr, "k8s\0", 4) == 0;
}
MUST_CHECK bool api_pb_envelope(struct str bytes, struct api_pb_envelope *ret, struct err *err);
/* Envelope and object at once; kind and apiVersion of the envelope go into the object's members. The type must be the one the
 * envelope names: the caller looked at it first. */
MUST_CHECK bool api_decode_pb_object(struct arena *a, const struct api_type *t, struct str bytes, const struct api_mask *mask,
                                     void *ret, struct err *err);

#endif
