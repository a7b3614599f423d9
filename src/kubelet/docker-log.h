/*
 * Lines of container logs as dockerd's json-file driver writes them: {"log":"text\n","stream":"stdout","time":"…"}. Pure.
 */
#ifndef KUBELET_DOCKER_LOG_H
#define KUBELET_DOCKER_LOG_H

#include "base/arena.h"

struct docker_log_line {
    struct str text;   /* without the newline */
    struct str stream; /* "stdout", "stderr" */
    struct str stamp;  /* RFC 3339 */
    bool ends;         /* the text ended with a newline: a longer line comes in parts */
};

/* False when it is no such line. Strings borrow from 'line' or live in the arena. */
MUST_CHECK bool docker_log_parse(struct arena *a, struct str line, struct docker_log_line *ret);

#endif
