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
/* A large local that is written before it is read: release builds need not clear it first. */
#define UNINITIALIZED __attribute__((uninitialized))

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
#define MACRO_JOIN_(a, b) a##b
#define MACRO_JOIN(a, b) MACRO_JOIN_(a, b)
/* Arguments are evaluated once. Each use has names of its own, so that uses nest. */
#define MIN(a, b) MIN_(a, b, MACRO_JOIN(min_a_, __COUNTER__), MACRO_JOIN(min_b_, __COUNTER__))
#define MIN_(a, b, va, vb) \
    ({ \
        __typeof__(a) va = (a); \
        __typeof__(b) vb = (b); \
        va < vb ? va : vb; \
    })
#define MAX(a, b) MAX_(a, b, MACRO_JOIN(max_a_, __COUNTER__), MACRO_JOIN(max_b_, __COUNTER__))
#define MAX_(a, b, va, vb) \
    ({ \
        __typeof__(a) va = (a); \
        __typeof__(b) vb = (b); \
        va > vb ? va : vb; \
    })

#endif
