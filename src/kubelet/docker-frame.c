#include "kubelet/docker-frame.h"

void docker_frames_feed(struct docker_frames *f, struct str bytes)
{
    while (bytes.len && !f->broken) {
        if (f->n_header < sizeof(f->header)) {
            f->header[f->n_header++] = (unsigned char)*bytes.ptr;
            bytes = str_sub(bytes, 1, bytes.len);
            if (f->n_header == sizeof(f->header)) {
                const unsigned char *h = f->header;
                f->left = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
                f->broken = h[0] > 2; /* 0 is standard input, which some versions call what a terminal wrote */
                f->n_header = f->left ? f->n_header : 0;
            }
            continue;
        }
        size_t n = MIN(bytes.len, (size_t)f->left);
        f->left -= (uint32_t)n;
        struct str piece = str_sub(bytes, 0, n);
        bytes = str_sub(bytes, n, bytes.len);
        if (f->left == 0) {
            f->n_header = 0;
        }
        f->take(f->arg, f->header[0] == 2, piece);
    }
}
