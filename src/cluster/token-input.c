#include "cluster/token-input.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"

enum { MAX_FILE = 4096 };

static bool take(struct str text, char ret[BOOTSTRAP_TOKEN_SIZE], struct err *err)
{
    struct str id, secret;
    text = str_trim(text);
    if (!bootstrap_token_split(text, &id, &secret) || !str_to_cstr(text, ret, BOOTSTRAP_TOKEN_SIZE)) {
        return err_set(err, ERR_INVALID, "the token has not the form abcdef.0123456789abcdef");
    }
    return true;
}

bool token_input(struct str flag, struct str file, char ret[BOOTSTRAP_TOKEN_SIZE], struct err *err)
{
    char path[PATH_MAX];
    const char *env = getenv("CORACLE_TOKEN");
    bool from_stdin = str_eq_c(flag, "-");
    if (!str_empty(flag) && !from_stdin) {
        return take(flag, ret, err);
    }
    if (!from_stdin && str_empty(file)) {
        return env && *env
                   ? take(str_c(env), ret, err)
                   : err_set(err, ERR_INVALID,
                             "a token is needed: --token, --token - (standard input), --token-file or $CORACLE_TOKEN");
    }
    struct buf b;
    buf_init(&b, MAX_FILE);
    bool ok =
        from_stdin || str_to_cstr(file, path, sizeof(path)) || err_set(err, ERR_INVALID, "--token-file is too long");
    if (ok && from_stdin) {
        char text[256];
        ssize_t n;
        while ((n = read(STDIN_FILENO, text, sizeof(text))) > 0 && !buf_failed(&b)) {
            buf_append(&b, str_n(text, (size_t)n));
        }
        explicit_bzero(text, sizeof(text));
    } else if (ok) {
        ok = fs_read(path, MAX_FILE, &b, err);
    }
    ok = ok && take(buf_str(&b), ret, err);
    if (b.ptr) {
        explicit_bzero(b.ptr, b.len);
    }
    buf_deinit(&b);
    return ok;
}
