/* Lists, for verbs that answer with one. */
#ifndef APISERVER_LIST_H
#define APISERVER_LIST_H

#include "apiserver/stage.h"
#include "store/watch-cache.h"

/* Answers with these objects of the snapshot (taken); 'objects' lives in the request's arena. Returns what the stage returns. */
enum stage_result list_answer(struct request *r, struct snapshot *snapshot, const struct object **objects, size_t n);

#endif
