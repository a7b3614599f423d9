#include "apiserver/stage.h"

#include "apiserver/request.h"
#include "apiserver/respond.h"

void request_run(struct request *r)
{
    if (r->running) {
        return; /* a stage resumed its own request: the loop below goes on */
    }
    r->running = true;
    while (!r->ended && !r->waiting && r->stages[r->at].run) {
        if (r->cancelled && r->pending == 0) {
            r->ended = true;
            break;
        }
        size_t at = r->at;
        const struct stage *list = r->stages;
        enum stage_result result = list[at].run(r);
        switch (result) {
        case STAGE_DONE:
            /* A stage may have moved the request: request_goto(), or another list. */
            if (r->at == at && r->stages == list) {
                r->at++;
            }
            break;
        case STAGE_WAIT:
            r->waiting = true;
            break;
        case STAGE_ERROR:
            respond_status(r);
            r->ended = true;
            break;
        case STAGE_ANSWERED:
            r->ended = true;
            break;
        }
    }
    r->running = false;
    if (r->ended || (!r->waiting && !r->stages[r->at].run)) {
        request_finish(r);
    }
}

void request_resume(struct request *r, enum stage_result result)
{
    r->waiting = false;
    if (r->cancelled && r->pending == 0) {
        r->ended = true;
    } else if (result == STAGE_ERROR) {
        respond_status(r);
        r->ended = true;
    } else if (result == STAGE_ANSWERED) {
        r->ended = true;
    } else {
        r->at++;
    }
    request_run(r);
}

void request_again(struct request *r)
{
    r->waiting = false;
    request_run(r);
}

void request_goto(struct request *r, stage_fn *run)
{
    size_t i = 0;
    while (r->stages[i].run && r->stages[i].run != run) {
        i++;
    }
    r->at = i;
}
