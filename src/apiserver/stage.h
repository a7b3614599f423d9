/*
 * A request is a resumable list of stages (design.md 5).
 *
 * Each stage is one function that looks at the request, does its part and returns
 *   STAGE_DONE      go on with the next stage
 *   STAGE_WAIT      something was started (a token review, a webhook, a commit); request_resume() goes on with *this* stage's
 *                   successor, request_again() calls this stage once more
 *   STAGE_ERROR     r->status says why; the request is answered with it
 *   STAGE_ANSWERED  the stage has answered, or took the request over (a watch, an upgraded stream); nothing follows
 *
 * Nothing lives on the C stack across a wait: what a later stage needs is a member of the request or in its arena. A conflict
 * at commit re-enters at the load stage by request_goto(). So a webhook may call back into this very apiserver.
 */
#ifndef APISERVER_STAGE_H
#define APISERVER_STAGE_H

struct request;

enum stage_result { STAGE_DONE, STAGE_WAIT, STAGE_ERROR, STAGE_ANSWERED };

typedef enum stage_result stage_fn(struct request *r);

/* A verb is an array of stages ended by a NULL 'run'. */
struct stage {
    const char *name; /* for traces and metrics */
    stage_fn *run;
};

/* Runs stages until one waits or the request is over. The request may be gone when this returns. */
void request_run(struct request *r);
/* Ends a wait: goes on with the stage after the one that waited. 'result' is what that stage would have returned. */
void request_resume(struct request *r, enum stage_result result);
/* Ends a wait by calling the stage that waited once more. */
void request_again(struct request *r);
/* The next stage is 'run' (which is in the request's list). To be followed by 'return STAGE_DONE', or by request_run(). */
void request_goto(struct request *r, stage_fn *run);

#endif
