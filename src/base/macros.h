/* Small things every file needs: attributes, cleanup, array sizes. */
#ifndef BASE_MACROS_H
#define BASE_MACROS_H

#include <stddef.h>
#include <stdint.h>

#include "base/banned.h"

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))

/* Runs 'fn(&variable)' when the variable leaves its scope. Declare the variable with its empty value. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Hands out an owned pointer and leaves NULL behind. */
#define TAKE(p) \
    ({ \
        __auto_type take_p_ = (p); \
        (p) = NULL; \
        take_p_; \
    })

/* Hands out an owned file descriptor and leaves -1 behind. */
#define TAKE_FD(fd) \
    ({ \
        int take_fd_ = (fd); \
        (fd) = -1; \
        take_fd_; \
    })

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define MIN(a, b) \
    ({ \
        __typeof__(a) min_a_ = (a); \
        __typeof__(b) min_b_ = (b); \
        min_a_ < min_b_ ? min_a_ : min_b_; \
    })
#define MAX(a, b) \
    ({ \
        __typeof__(a) max_a_ = (a); \
        __typeof__(b) max_b_ = (b); \
        max_a_ > max_b_ ? max_a_ : max_b_; \
    })

#endif
