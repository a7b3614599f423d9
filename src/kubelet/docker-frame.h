/*
 * Standard output and error on one connection, as dockerd sends them without a terminal: frames of a header of eight bytes (kind,
 * three of nothing, length in network order) and as many bytes. Pure; takes bytes as they come.
 */
#ifndef KUBELET_DOCKER_FRAME_H
#define KUBELET_DOCKER_FRAME_H

#include "base/str.h"

struct docker_frames {
    unsigned char header[8];
    size_t n_header;
    uint32_t left;  /* of the frame's bytes */
    bool broken;    /* a kind that there is not: nothing is taken any more */
    /* 'error': standard error. Bytes are borrowed. */
    void (*take)(void *arg, bool error, struct str bytes);
    void *arg;
};

void docker_frames_feed(struct docker_frames *f, struct str bytes);

#endif
