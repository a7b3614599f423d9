/*
 * Answers: a Status, one object, or bytes, in the representation that was negotiated.
 */
#ifndef APISERVER_RESPOND_H
#define APISERVER_RESPOND_H

#include "apiserver/media.h"
#include "net/http-server.h"

struct api_type;
struct object;
struct request;

/* Answers with r->status. Falls back to JSON when nothing was negotiated. */
void respond_status(struct request *r);
/* 200 Success Status with details, as a delete answers. */
void respond_success(struct request *r, struct str name, struct str group, struct str kind, struct str uid);
/* The published object in the endpoint's version. 'code' is 200 or 201. */
void respond_published(struct request *r, int code, const struct object *o);
/* A hub struct that was not published (dry run): without a resourceVersion. */
void respond_hub(struct request *r, int code, const void *obj);
/* Any typed object with its own kind and apiVersion (reviews, Scale, TokenRequest, Status). */
void respond_typed(struct request *r, int code, const struct api_type *type, const void *obj, struct str api_version,
                   struct str kind);
/* Bytes as they are. */
void respond_bytes(struct request *r, int code, struct str content_type, struct str bytes);
/* The same with further headers; the buffer is taken. */
void respond_with_headers(struct request *r, int code, struct str content_type, struct buf *b, const struct http_header *more, size_t n_more);
/* JSON text of a known type: as it is, or converted to the negotiated representation. 'etag' may be absent. */
void respond_document(struct request *r, const char *type, struct str json, struct str etag);

/* Begins an answer: status, Content-Type, the headers that every answer has, warnings. 'content_length' -1: unknown. */
void respond_begin(struct request *r, int code, struct str content_type, int64_t content_length);

/* Answers that are made in one piece (lists in protobuf, OpenAPI documents) are counted until their last byte has gone out, all
 * together: LISTS_WHOLE_BUDGET. False with a 429 in r->status while there is no room. */
MUST_CHECK bool respond_whole_has_room(struct request *r);
/* Such an answer; takes over the buffer. */
struct net_chunk respond_whole_chunk(struct buf *b);

#endif
