#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

static const char *log_component = "coracle";
static enum log_level log_max = LOG_INFO;

void log_setup(const char *component, enum log_level level)
{
    log_component = component;
    log_max = level;
}

enum log_level log_level(void)
{
    return log_max;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char line[4096], msg[3072];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);

    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    int n = snprintf(line, sizeof(line), "%c%02d%02d %02d:%02d:%02d.%06ld %s: ", "EWIDT"[level], tm.tm_mon + 1,
                     tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000, log_component);
    size_t len = n < 0 ? 0 : (size_t)n;
    for (const char *p = msg; *p && len + 6 < sizeof(line); p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f) {
            len += (size_t)snprintf(line + len, 5, "\\x%02x", c);
        } else {
            line[len++] = (char)c;
        }
    }
    line[len++] = '\n';
    /* One write, so that lines of several processes on one pipe do not mix. */
    ssize_t ignored = write(STDERR_FILENO, line, len);
    (void)ignored;
}
