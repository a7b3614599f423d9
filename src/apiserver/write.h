/* Pieces of writing that several verbs and subresources use. */
#ifndef APISERVER_WRITE_H
#define APISERVER_WRITE_H

#include "apiserver/admission.h"

/* Is the request for the status subresource? */
bool write_is_status(const struct request *r);
/* Fills r->kctx and r->attrs for r->obj and r->old. */
void write_begin(struct request *r, enum admission_op op);
/* r->obj was made of r->old or of the body: uid and resourceVersion are checked, create-on-update is decided. */
enum stage_result write_check_update(struct request *r);
/* 409 "the object has been modified". Returns STAGE_ERROR. */
enum stage_result write_conflict(struct request *r);

#endif
