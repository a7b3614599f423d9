/*
 * Lines of container logs as CRI runtimes write them: "TIME STREAM TAGS text", tag P for a part of a line and F for its end
 * (CRI, "container logs"); or as dockerd does (docker-log.h): which it is, each line's first character tells. What a reader asked for (PodLogOptions) is parsed here, and applied to bytes: no files, no sockets.
 */
#ifndef KUBELET_CRI_LOG_H
#define KUBELET_CRI_LOG_H

#include "base/buf.h"
#include "base/err.h"
#include "net/http.h"

/* A line without end is dropped past this: runtimes cut at 16 KB of text. */
#define CRI_LOG_MAX_LINE (1u << 20)

enum cri_log_stream { CRI_LOG_ALL, CRI_LOG_STDOUT, CRI_LOG_STDERR };

struct cri_log_options {
    bool follow, previous, timestamps;
    enum cri_log_stream stream;
    bool has_since;
    int64_t since_s;
    uint32_t since_ns;
    int64_t limit_bytes; /* -1: none */
    int64_t tail_lines;  /* -1: all */
};

/* The query of /containerLogs. False: '*ret_status' is 400 where it cannot be decoded, 422 where it is not allowed, and 'err'
 * holds the kubelet's words. */
MUST_CHECK bool cri_log_options(const struct http_target *t, int64_t now_s, struct cri_log_options *ret, int *ret_status, struct err *err);

struct cri_log_filter {
    struct cri_log_options options;
    struct buf rest;    /* a line that is not whole yet */
    int64_t left;       /* of limitBytes; -1: no limit */
    bool inside;        /* the last part that was let through did not end its line */
    bool skipping;      /* a line without end: up to the next newline */
};

void cri_log_filter_init(struct cri_log_filter *f, const struct cri_log_options *options);
void cri_log_filter_deinit(struct cri_log_filter *f);
/* Takes bytes as they are in the file and appends to 'out' what the reader gets. */
void cri_log_feed(struct cri_log_filter *f, struct str bytes, struct buf *out);
/* The file ends here: what is left is a line that the runtime did not finish. */
void cri_log_end(struct cri_log_filter *f, struct buf *out);
/* limitBytes were given out. */
static inline bool cri_log_full(const struct cri_log_filter *f)
{
    return f->left == 0;
}

#endif
