/* CONNECT: exec, attach, port-forward and proxy are admitted like writes, without an object. */
#include "apiserver/request.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"

enum stage_result stage_begin_connect(struct request *r)
{
    r->obj = NULL;
    write_begin(r, ADMIT_CONNECT);
    r->attrs.old = NULL;
    return STAGE_DONE;
}
