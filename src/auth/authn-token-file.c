/* Static tokens (--token-auth-file). */
#include "auth/authn-table.h"
#include "auth/limits.h"
#include "auth/token-file.h"
#include "base/fs.h"

struct authn_token_file {
    struct authn authn;
    char *path;
    struct token_file *file;
};

static struct token_file *load(const char *path, struct err *err)
{
    struct buf b;
    struct token_file *f = NULL;
    buf_init(&b, AUTH_MAX_TOKEN_FILE + 1);
    if (fs_read(path, AUTH_MAX_TOKEN_FILE, &b, err)) {
        f = token_file_parse(buf_str(&b), err);
        if (!f) {
            (void)err_wrap(err, "%s", path);
        }
    }
    if (b.ptr) {
        explicit_bzero(b.ptr, b.capacity);
    }
    buf_deinit(&b);
    return f;
}

static bool token_file_open(const struct authn_config *cfg, struct authn **ret, struct err *err)
{
    if (!cfg->token_auth_file || !cfg->token_auth_file[0]) {
        *ret = NULL;
        return true;
    }
    struct token_file *f = load(cfg->token_auth_file, err);
    if (!f) {
        return err_wrap(err, "--token-auth-file");
    }
    struct authn_token_file *t = calloc(1, sizeof(*t));
    char *path = strdup(cfg->token_auth_file);
    if (!t || !path) {
        abort();
    }
    *t = (struct authn_token_file){ .authn = { &authn_token_file_ops }, .path = path, .file = f };
    *ret = &t->authn;
    return true;
}

static bool token_file_reload(struct authn *self, struct err *err)
{
    struct authn_token_file *t = CONTAINER_OF(self, struct authn_token_file, authn);
    struct token_file *f = load(t->path, err);
    if (!f) {
        return err_wrap(err, "--token-auth-file is kept as it was");
    }
    token_file_free(t->file);
    t->file = f;
    return true;
}

static void token_file_close(struct authn *self)
{
    struct authn_token_file *t = CONTAINER_OF(self, struct authn_token_file, authn);
    token_file_free(t->file);
    free(t->path);
    free(t);
}

static enum authn_result token_file_authenticate(struct authn *self, struct authn_request *r)
{
    struct authn_token_file *t = CONTAINER_OF(self, struct authn_token_file, authn);
    const struct auth_user *u = token_file_find(t->file, r->token);
    if (!u) {
        return AUTHN_NONE;
    }
    if (!auth_user_copy(&r->user, u, r->arena)) {
        (void)err_set(&r->err, ERR_NO_MEMORY, "out of memory while a user was built");
        return AUTHN_FAILED;
    }
    return AUTHN_OK;
}

const struct authn_ops authn_token_file_ops = {
    .name = "tokenfile",
    .bearer = true,
    .open = token_file_open,
    .authenticate = token_file_authenticate,
    .reload = token_file_reload,
    .free = token_file_close,
};
