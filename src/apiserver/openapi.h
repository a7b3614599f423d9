/* OpenAPI v2 and v3, made from the descriptors: what kubectl explain and client-side validation read. */
#ifndef APISERVER_OPENAPI_H
#define APISERVER_OPENAPI_H

#include "apiserver/stage.h"

struct openapi;

/* Answers /openapi/v2, /openapi/v3 and below; STAGE_DONE for other paths. */
enum stage_result openapi_answer(struct request *r);
struct openapi *openapi_free(struct openapi *o);

#endif
