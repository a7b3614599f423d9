#include "base/test.h"

#include <stdarg.h>
#include <string.h>

static struct test *tests, **tests_end = &tests;
static jmp_buf test_jmp;
enum { PASSED, FAILED, SKIPPED };

void test_register(struct test *t)
{
    *tests_end = t;
    tests_end = &t->next;
}

void test_fail(const char *file UNUSED, int line UNUSED)
{
    longjmp(test_jmp, FAILED);
}

void test_skip(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    printf("  skipped: ");
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
    longjmp(test_jmp, SKIPPED);
}

void test_check_str(const char *file, int line, const char *expr, struct str got, struct str want)
{
    if (!str_eq(got, want)) {
        printf("  %s:%d: %s\n    got:  \"%.*s\"\n    want: \"%.*s\"\n", file, line, expr, STR_ARG(got), STR_ARG(want));
        test_fail(file, line);
    }
}

void test_check_int(const char *file, int line, const char *expr, long long got, long long want)
{
    if (got != want) {
        printf("  %s:%d: %s is %lld, want %lld\n", file, line, expr, got, want);
        test_fail(file, line);
    }
}

/* Alone in its function, so that nothing of main's lives across the longjmp(). */
static int run_one(struct test *t)
{
    int r = setjmp(test_jmp);
    if (r == PASSED) {
        t->run();
    }
    return r;
}

int main(int argc, char **argv)
{
    unsigned count[3] = { 0 };
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct test *t = tests; t; t = t->next) {
        if (argc > 1 && !strstr(t->name, argv[1])) {
            continue;
        }
        int r = run_one(t);
        count[r]++;
        if (r == FAILED) {
            printf("FAIL %s\n  rerun: gdb --args %s %s\n", t->name, argv[0], t->name);
        }
    }
    printf("%u passed, %u failed, %u skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
    return count[FAILED] ? 1 : 0;
}
