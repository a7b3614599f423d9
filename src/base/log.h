/*
 * The log: one line an entry on stderr, "I1124 08:02:49.123456 store: message". Whoever handles an error logs it, once;
 * library rooms return it. A line says what, which object, and what happens next. Control characters in a message are
 * written as \xNN, so that a peer cannot forge lines.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/str.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* Sets the name that goes before every message (a component's), and how much is written. The default is LOG_INFO. */
void log_setup(const char *component, enum log_level level);
enum log_level log_level(void);

PRINTF_LIKE(2, 3) void log_write(enum log_level level, const char *fmt, ...);
#define log_at(level, ...) (__builtin_expect((level) <= log_level(), 0) ? log_write((level), __VA_ARGS__) : (void)0)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...) log_at(LOG_TRACE, __VA_ARGS__)

#endif
