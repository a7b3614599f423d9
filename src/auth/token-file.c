#include "auth/token-file.h"

#include <openssl/sha.h>

#include "auth/limits.h"
#include "base/buf.h"
#include "base/map.h"

struct token_file {
    struct arena arena;
    struct map users; /* SHA-256 of the token -> struct auth_user */
};

#define MAX_FIELDS 8

struct csv {
    struct str rest;
    size_t line;
    struct str fields[MAX_FIELDS];
    size_t n_fields; /* of the record; those past MAX_FIELDS are counted, not kept */
};

/* A quoted field; 'rest' stands behind the opening quote. */
static bool csv_quoted(struct csv *c, struct arena *a, struct str *ret, struct err *err)
{
    struct buf b;
    size_t i = 0, line = c->line;
    buf_init(&b, AUTH_MAX_TOKEN_FILE);
    for (;; i++) {
        if (i == c->rest.len) {
            buf_deinit(&b);
            return err_set(err, ERR_INVALID, "line %zu: a quoted field has no end", line);
        }
        char ch = c->rest.ptr[i];
        if (ch == '"' && i + 1 < c->rest.len && c->rest.ptr[i + 1] == '"') {
            i++;
        } else if (ch == '"') {
            break;
        }
        c->line += ch == '\n';
        buf_append_char(&b, ch);
    }
    *ret = arena_str(a, buf_str(&b));
    bool ok = !buf_failed(&b) && ret->ptr;
    buf_deinit(&b);
    c->rest = str_sub(c->rest, i + 1, c->rest.len);
    if (!ok) {
        return err_set(err, ERR_TOO_LARGE, "line %zu: the field is too long", line);
    }
    if (c->rest.len > 0 && !strchr(",\r\n", c->rest.ptr[0])) {
        return err_set(err, ERR_INVALID, "line %zu: text behind a quoted field", c->line);
    }
    return true;
}

static bool csv_plain(struct csv *c, struct str *ret, struct err *err)
{
    size_t i = 0;
    while (i < c->rest.len && c->rest.ptr[i] != ',' && c->rest.ptr[i] != '\n') {
        if (c->rest.ptr[i] == '"') {
            return err_set(err, ERR_INVALID, "line %zu: a quote in a field that is not quoted",
                           c->line);
        }
        i++;
    }
    *ret = str_sub(c->rest, 0, i);
    c->rest = str_sub(c->rest, i, c->rest.len);
    if (c->rest.len == 0 || c->rest.ptr[0] == '\n') {
        if (ret->len > 0 && ret->ptr[ret->len - 1] == '\r') {
            ret->len--;
        }
    }
    return true;
}

/* 1: a record; 0: the end; -1: broken. */
static int csv_next(struct csv *c, struct arena *a, struct err *err)
{
    while (c->rest.len > 0 &&
           (c->rest.ptr[0] == '\n' ||
            (c->rest.ptr[0] == '\r' && c->rest.len > 1 && c->rest.ptr[1] == '\n'))) {
        c->line += c->rest.ptr[0] == '\n';
        c->rest = str_sub(c->rest, 1, c->rest.len);
    }
    if (c->rest.len == 0) {
        return 0;
    }
    for (c->n_fields = 0;;) {
        struct str field;
        bool quoted = c->rest.len > 0 && c->rest.ptr[0] == '"';
        c->rest = quoted ? str_sub(c->rest, 1, c->rest.len) : c->rest;
        if (!(quoted ? csv_quoted(c, a, &field, err) : csv_plain(c, &field, err))) {
            return -1;
        }
        if (c->n_fields < MAX_FIELDS) {
            c->fields[c->n_fields] = field;
        }
        c->n_fields++;
        if (c->rest.len == 0 || c->rest.ptr[0] != ',') {
            break;
        }
        c->rest = str_sub(c->rest, 1, c->rest.len);
    }
    if (c->rest.len > 0 && c->rest.ptr[0] == '\r') {
        c->rest = str_sub(c->rest, 1, c->rest.len);
    }
    return 1;
}

static bool add_user(struct token_file *f, const struct csv *c, struct err *err)
{
    uint8_t digest[32];
    struct auth_user *u = arena_new(&f->arena, struct auth_user);
    if (!u) {
        return err_set(err, ERR_TOO_LARGE, "the file is too large");
    }
    u->name = arena_str(&f->arena, c->fields[1]);
    u->uid = arena_str(&f->arena, c->fields[2]);
    if (c->n_fields > 3 && c->fields[3].len > 0) {
        struct str rest = c->fields[3], piece;
        size_t n = 1;
        for (size_t i = 0; i < rest.len; i++) {
            n += rest.ptr[i] == ',';
        }
        struct str *groups = n <= AUTH_MAX_GROUPS ? arena_new_n(&f->arena, struct str, n) : NULL;
        if (!groups) {
            return err_set(err, ERR_TOO_LARGE, "line %zu: more than %d groups", c->line,
                           AUTH_MAX_GROUPS);
        }
        while (str_split(&rest, ',', &piece)) {
            groups[u->n_groups++] = arena_str(&f->arena, str_trim(piece));
        }
        u->groups = groups;
    }
    SHA256((const unsigned char *)c->fields[0].ptr, c->fields[0].len, digest);
    (void)map_put(&f->users, str_n((const char *)digest, sizeof(digest)), u);
    return true;
}

struct token_file *token_file_parse(struct str text, struct err *err)
{
    struct csv c = { .rest = text, .line = 1 };
    struct token_file *f = calloc(1, sizeof(*f));
    int more;
    if (!f) {
        abort();
    }
    arena_init(&f->arena, 8 * (size_t)AUTH_MAX_TOKEN_FILE);
    map_init(&f->users);
    if (text.len > AUTH_MAX_TOKEN_FILE) {
        (void)err_set(err, ERR_TOO_LARGE, "a file of %zu bytes, the limit is %u", text.len,
                      AUTH_MAX_TOKEN_FILE);
        return token_file_free(f);
    }
    while ((more = csv_next(&c, &f->arena, err)) > 0) {
        if (c.n_fields < 3) {
            (void)err_set(
                err, ERR_INVALID,
                "line %zu: must have at least 3 columns (token, user name, user uid), found %zu",
                c.line, c.n_fields);
            return token_file_free(f);
        }
        /* A line without a token is passed over, as kube-apiserver does. */
        if (c.fields[0].len > 0 && !add_user(f, &c, err)) {
            return token_file_free(f);
        }
    }
    return more < 0 ? token_file_free(f) : f;
}

struct token_file *token_file_free(struct token_file *f)
{
    if (f) {
        map_deinit(&f->users);
        arena_deinit(&f->arena);
        free(f);
    }
    return NULL;
}

const struct auth_user *token_file_find(const struct token_file *f, struct str token)
{
    uint8_t digest[32];
    SHA256((const unsigned char *)(token.ptr ? token.ptr : ""), token.len, digest);
    return map_get(&f->users, str_n((const char *)digest, sizeof(digest)));
}

size_t token_file_count(const struct token_file *f)
{
    return f->users.n;
}
