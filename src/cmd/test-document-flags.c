/* The six tables of "Master-Node communication" (tests/data/document-flags.tsv) against what each program's --help says, and what
 * --flag-defaults=secure makes of the flags that open something. */
#include "cmd/cmd.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/macros.h"
#include "base/test.h"

static const struct {
    const char *name;
    int (*main)(int argc, char **argv);
} programs[] = {
    { "kube-apiserver", kube_apiserver_main },
    { "kube-controller-manager", kube_controller_manager_main },
    { "cloud-controller-manager", cloud_controller_manager_main },
    { "kube-scheduler", kube_scheduler_main },
    { "kubelet", kubelet_main },
    { "kube-proxy", kube_proxy_main },
};

/* The text of --help, of a process of its own: the mains keep what they read. */
static bool help_of(size_t i, struct buf *ret)
{
    int fds[2], status;
    char name[64], help[] = "--help";
    char *argv[] = { name, help, NULL };
    snprintf(name, sizeof(name), "%s", programs[i].name);
    buf_init(ret, 1u << 20);
    if (pipe(fds) < 0) {
        return false;
    }
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(fds[1], STDOUT_FILENO);
        status = programs[i].main(2, argv);
        (void)fflush(stdout);
        _exit(status);
    }
    close(fds[1]);
    for (;;) {
        char *at = buf_reserve(ret, 65536);
        ssize_t n = at ? read(fds[0], at, 65536) : -1;
        if (n <= 0) {
            break;
        }
        buf_commit(ret, (size_t)n);
    }
    close(fds[0]);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The entry of a flag: from its name to the next flag. */
static struct str entry_of(struct str help, struct str flag)
{
    char word[128];
    size_t n = (size_t)snprintf(word, sizeof(word), "--%.*s", STR_ARG(flag));
    for (size_t i = 0; i + n < help.len; i++) {
        if (memcmp(help.ptr + i, word, n) == 0 && (help.ptr[i + n] == ' ' || help.ptr[i + n] == '\n') && i > 5 && help.ptr[i - 1] == ' ' &&
            help.ptr[i - 2] == ' ') {
            struct str rest = str_sub(help, i, help.len);
            for (size_t k = 1; k + 8 < rest.len; k++) {
                if (memcmp(rest.ptr + k, "\n      --", 9) == 0 || memcmp(rest.ptr + k, "\n\n", 2) == 0) {
                    return str_sub(rest, 0, k);
                }
            }
            return rest;
        }
    }
    return STR_NULL;
}

static bool contains(struct str text, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.len; i++) {
        if (memcmp(text.ptr + i, word, n) == 0) {
            return true;
        }
    }
    return false;
}

static void check_row(struct str help, struct str program, struct str flag, struct str want)
{
    char quoted[256], bare[256];
    struct str entry = entry_of(help, flag);
    snprintf(quoted, sizeof(quoted), "(default \"%.*s\")", STR_ARG(want));
    snprintf(bare, sizeof(bare), "(default %.*s)", STR_ARG(want));
    bool ok = str_eq_c(want, "-") ? entry.len && !contains(entry, "(default ") : contains(entry, quoted) || contains(entry, bare);
    if (!ok) {
        printf("  %.*s --%.*s: the document's default is %.*s, --help says: %.*s\n", STR_ARG(program), STR_ARG(flag), STR_ARG(want), STR_ARG(entry));
    }
    CHECK(ok);
}

TEST(every_flag_of_the_document_has_its_default)
{
    CLEANUP(buf_deinit) struct buf file;
    struct buf help[ARRAY_SIZE(programs)];
    struct err err;
    size_t rows = 0;
    buf_init(&file, 1u << 20);
    CHECK_OK(fs_read(CORACLE_TEST_DATA "/document-flags.tsv", 1u << 20, &file, &err), &err);
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        buf_init(&help[i], 1u << 20);
        if (programs[i].main) {
            buf_deinit(&help[i]);
            CHECK(help_of(i, &help[i]));
        }
    }
    struct str rest = buf_str(&file), line;
    while (str_split(&rest, '\n', &line)) {
        struct str program, flag, words, typed, tail;
        if (!line.len || *line.ptr == '#') {
            continue;
        }
        CHECK(str_cut(line, '\t', &program, &tail) && str_cut(tail, '\t', &flag, &tail) && str_cut(tail, '\t', &words, &typed));
        for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
            if (str_eq_c(program, programs[i].name) && programs[i].main) {
                check_row(buf_str(&help[i]), program, flag, typed);
                rows++;
            }
        }
    }
    CHECK(rows >= 30);
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        buf_deinit(&help[i]);
    }
}

TEST(help_says_what_is_unsafe_and_what_secure_makes_of_it)
{
    static const struct {
        size_t program;
        const char *flag, *secure;
    } rows[] = { { 0, "insecure-port", "secure 0" },        { 0, "authorization-mode", "secure Node,RBAC" }, { 1, "port", "secure 0" },           { 2, "port", "secure 0" },
                 { 3, "port", "secure 0" },                 { 4, "read-only-port", "secure 0" },             { 4, "cadvisor-port", "secure 0" },
                 { 4, "anonymous-auth", "secure false" },   { 4, "authorization-mode", "secure \"Webhook\"" },
                 { 5, "healthz-bind-address", "secure \"127.0.0.1\"" } };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct buf help;
        CHECK(help_of(rows[i].program, &help));
        struct str entry = entry_of(buf_str(&help), str_c(rows[i].flag));
        CHECK(contains(entry, rows[i].secure));
        CHECK(contains(entry, "UNSAFE on an untrusted network"));
        buf_deinit(&help);
    }
}
