/* /healthz, /livez, /readyz: "ok", or with ?verbose (or when something fails) a line a check. */
#ifndef APISERVER_HEALTH_H
#define APISERVER_HEALTH_H

#include "apiserver/stage.h"

/* Answers when the path is one of health's; STAGE_DONE when it is not. */
enum stage_result health_answer(struct request *r);
/* Paths beyond the API's own that "/" lists; ended by NULL. */
extern const char *const health_paths[];

#endif
