/*
 * Tests register themselves:
 *
 *     TEST(cut_without_separator_returns_the_whole) { CHECK(...); }
 *
 * A failed CHECK prints where and what, and ends that test only. `test-<room> [PATTERN]` runs the tests whose name contains
 * PATTERN; each failure prints the line that reruns it alone. The program ends with "N passed, N failed, N skipped".
 */
#ifndef BASE_TEST_H
#define BASE_TEST_H

#include <setjmp.h>
#include <stdio.h>

#include "base/str.h"

struct test {
    const char *name, *file;
    void (*run)(void);
    struct test *next;
};

void test_register(struct test *t);
NORETURN void test_fail(const char *file, int line);
/* Ends the test as skipped, with the reason. */
PRINTF_LIKE(1, 2) NORETURN void test_skip(const char *fmt, ...);
void test_check_str(const char *file, int line, const char *expr, struct str got, struct str want);
void test_check_int(const char *file, int line, const char *expr, long long got, long long want);

#define TEST(test_name) \
    static void test_run_##test_name(void); \
    __attribute__((constructor)) static void test_reg_##test_name(void) \
    { \
        static struct test t = { .name = #test_name, .file = __FILE__, .run = test_run_##test_name }; \
        test_register(&t); \
    } \
    static void test_run_##test_name(void)

#define CHECK(cond) \
    do { \
        if (!(cond)) { \
            printf("  %s:%d: not true: %s\n", __FILE__, __LINE__, #cond); \
            test_fail(__FILE__, __LINE__); \
        } \
    } while (0)
/* Prints the reason in 'err' when 'cond' is false. */
#define CHECK_OK(cond, err) \
    do { \
        if (!(cond)) { \
            printf("  %s:%d: failed: %s: %s\n", __FILE__, __LINE__, #cond, (err)->msg); \
            test_fail(__FILE__, __LINE__); \
        } \
    } while (0)
#define CHECK_STR(got, want) test_check_str(__FILE__, __LINE__, #got, (got), (want))
#define CHECK_STR_C(got, want) test_check_str(__FILE__, __LINE__, #got, (got), str_c(want))
#define CHECK_INT(got, want) test_check_int(__FILE__, __LINE__, #got, (long long)(got), (long long)(want))

#endif
