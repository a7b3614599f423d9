/*
 * OpenAPI v2 as protobuf: the message openapi.v2.Document of gnostic, which clients up to kubectl 1.26 ask for
 * (application/com.github.proto-openapi.spec.v2@v1.0+protobuf). Made from the JSON document.
 */
#ifndef APISERVER_OPENAPI_PB_H
#define APISERVER_OPENAPI_PB_H

#include "api/val.h"

/* Appends the message. 'doc' is the parsed JSON document. */
void openapi_write_pb(struct buf *b, const struct val *doc);

#endif
