#include "cluster/paths-table.h"

#include <stdio.h>

/* Below that a row takes two lines. */
enum { NARROW = 110, COLUMNS = 9, CELL_MAX = 400 };

static const char *const titles[COLUMNS] = { "VERDICT", "FROM \xe2\x86\x92 TO", "ADDRESS", "TRANSPORT", "KNOWN BY", "AUTHORISED BY", "EXPIRES", "CONNECTIONS", "BYTES" };

struct cells {
    struct str text[COLUMNS];
    const struct val *path;
};

/* ---- texts ---- */

/* Characters that a terminal shows, as one column each. */
static size_t columns_of(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    }
    return n;
}

/* A peer's text never moves the cursor: C0, DEL and C1 become '?'. */
static void plain(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool c1 = c == 0xc2 && i + 1 < s.len && (unsigned char)s.ptr[i + 1] < 0xa0;
        if (c < 0x20 || c == 0x7f || c1) {
            buf_append_char(b, '?');
            i += c1;
        } else {
            buf_append_char(b, (char)c);
        }
    }
}

static void pad(struct buf *b, size_t from, size_t to)
{
    for (; from < to; from++) {
        buf_append_char(b, ' ');
    }
}

static const char *colour_of(const struct paths_table *t, struct str verdict)
{
    return !t->colour                       ? ""
           : str_eq_c(verdict, "unsafe")    ? "\033[1;31m"
           : str_eq_c(verdict, "safe")      ? "\033[32m"
           : str_eq_c(verdict, "local")     ? "\033[34m"
                                            : "\033[2m";
}

static const char *end_of(const struct paths_table *t)
{
    return t->colour ? "\033[0m" : "";
}

static uint64_t number(const struct val *v, const char *key)
{
    int64_t n;
    return val_as_i64(val_get(v, str_c(key)), &n) && n > 0 ? (uint64_t)n : 0;
}

static struct str get(const struct val *v, const char *key)
{
    return val_get_str(v, str_c(key));
}

static struct str amount(struct arena *a, uint64_t n)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 32);
    buf_append_amount(&b, n);
    return arena_str(a, buf_str(&b));
}

static struct str end(struct arena *a, const struct val *path, const char *which)
{
    const struct val *e = val_get(path, str_c(which));
    struct str node = get(e, "node"), name = get(e, "name");
    return node.len ? arena_printf(a, "%.*s/%.*s", STR_ARG(name), STR_ARG(node)) : name;
}

/* ---- rows ---- */

static struct str transport(struct arena *a, const struct val *p)
{
    struct str kind = get(p, "transport"), tls = get(p, "tls"), http = get(p, "http");
    if (str_eq_c(kind, "tls")) {
        return arena_printf(a, "%.*s%s%.*s", STR_ARG(tls.len ? tls : STR("TLS")), http.len ? " " : "", STR_ARG(http));
    }
    return str_eq_c(kind, "unix") ? STR("unix socket") : str_eq_c(kind, "ssh") ? STR("SSH") : str_eq_c(kind, "plain") ? STR("plain") : STR("-");
}

/* The end that comes first. */
static struct str expiry(const struct val *p)
{
    struct str server = VAL_STR_AT(p, "serverCertificate", "notAfter"), client = VAL_STR_AT(p, "clientCertificate", "notAfter");
    struct str first = !client.len || (server.len && str_cmp(server, client) < 0) ? server : client;
    return first.len >= 10 ? str_sub(first, 0, 10) : STR("-");
}

static struct str clean(struct arena *a, struct str s)
{
    struct buf b;
    buf_init(&b, CELL_MAX + 4);
    plain(&b, str_sub(s, 0, CELL_MAX));
    struct str r = arena_str(a, buf_str(&b));
    buf_deinit(&b);
    return r.len ? r : STR("-");
}

static void fill(struct arena *a, const struct val *p, struct cells *c)
{
    c->path = p;
    c->text[0] = get(p, "verdict");
    c->text[1] = arena_printf(a, "%.*s \xe2\x86\x92 %.*s", STR_ARG(end(a, p, "from")), STR_ARG(end(a, p, "to")));
    c->text[2] = get(p, "address");
    c->text[3] = transport(a, p);
    c->text[4] = get(p, "authentication");
    c->text[5] = get(p, "authorization");
    c->text[6] = expiry(p);
    c->text[7] = arena_printf(a, "%llu open, %llu", (unsigned long long)number(p, "openConnections"), (unsigned long long)number(p, "connections"));
    c->text[8] = arena_printf(a, "%.*s / %.*s", STR_ARG(amount(a, number(p, "bytesSent"))), STR_ARG(amount(a, number(p, "bytesReceived"))));
    for (size_t i = 0; i < COLUMNS; i++) {
        c->text[i] = clean(a, c->text[i]);
    }
}

static void line(struct buf *b, const char *label, struct str text, const char *before, const char *after)
{
    if (text.len) {
        buf_printf(b, "         %s%s", before, label);
        plain(b, text);
        buf_printf(b, "%s\n", after);
    }
}

static void below(const struct paths_table *t, const struct val *p, struct buf *b)
{
    struct str verdict = get(p, "verdict");
    bool unsafe = str_eq_c(verdict, "unsafe"), unused = str_eq_c(verdict, "unused");
    const char *dim = t->colour ? "\033[2m" : "", *off = end_of(t);
    if (t->wide) {
        line(b, "what: ", get(p, "purpose"), dim, off);
        line(b, "server: ", VAL_STR_AT(p, "serverCertificate", "subject"), dim, off);
        line(b, "client: ", VAL_STR_AT(p, "clientCertificate", "subject"), dim, off);
        line(b, "cipher: ", get(p, "cipher"), dim, off);
        line(b, "seen by: ", get(p, "seenBy"), dim, off);
    }
    if (unsafe || unused || t->wide) {
        line(b, "why: ", get(p, "reason"), unsafe ? colour_of(t, verdict) : dim, off);
    }
    if (unsafe || unused) {
        line(b, "mend: ", get(p, "mend"), "", "");
    }
    line(b, "note: ", get(p, "warning"), t->colour ? "\033[33m" : "", off);
}

static void write_wide(const struct paths_table *t, const struct cells *c, const size_t width[COLUMNS], struct buf *b)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        bool first = i == 0;
        buf_append_c(b, first ? colour_of(t, c->text[0]) : "  ");
        buf_append(b, c->text[i]);
        buf_append_c(b, first ? end_of(t) : "");
        if (i + 1 < COLUMNS) {
            pad(b, columns_of(c->text[i]), width[i]);
        }
    }
    buf_append_char(b, '\n');
    below(t, c->path, b);
}

static void write_narrow(const struct paths_table *t, const struct cells *c, struct buf *b)
{
    buf_printf(b, "%s%.*s%s", colour_of(t, c->text[0]), STR_ARG(c->text[0]), end_of(t));
    pad(b, columns_of(c->text[0]), 7);
    buf_printf(b, "  %.*s\n         %.*s, %.*s", STR_ARG(c->text[1]), STR_ARG(c->text[2]), STR_ARG(c->text[3]));
    buf_printf(b, "; known by %.*s; expires %.*s; %.*s\n", STR_ARG(c->text[4]), STR_ARG(c->text[6]), STR_ARG(c->text[8]));
    below(t, c->path, b);
}

static void write_heading(const struct paths_table *t, struct str section, const size_t width[COLUMNS], bool narrow, bool first, struct buf *b)
{
    const char *bold = t->colour ? "\033[1m" : "";
    buf_printf(b, "%s%s", first ? "" : "\n", bold);
    plain(b, section);
    buf_printf(b, "%s\n", end_of(t));
    for (size_t i = 0; i < COLUMNS && !narrow && first; i++) {
        buf_printf(b, "%s%s", i ? "  " : "", titles[i]);
        if (i + 1 < COLUMNS) {
            pad(b, columns_of(str_c(titles[i])), width[i]);
        } else {
            buf_append_char(b, '\n');
        }
    }
}

static void write_paths(const struct paths_table *t, struct arena *a, const struct val *paths, struct buf *b)
{
    size_t width[COLUMNS], n = 0, total = 0;
    struct cells *rows = arena_new_n(a, struct cells, (size_t)paths->n + 1);
    for (size_t k = 0; k < COLUMNS; k++) {
        width[k] = columns_of(str_c(titles[k]));
    }
    for (size_t i = 0; rows && i < paths->n; i++) {
        const struct val *p = &paths->items[i];
        if (t->unsafe_only && !str_eq_c(get(p, "verdict"), "unsafe")) {
            continue;
        }
        fill(a, p, &rows[n]);
        for (size_t k = 0; k < COLUMNS; k++) {
            width[k] = MAX(width[k], columns_of(rows[n].text[k]));
        }
        n++;
    }
    for (size_t k = 0; k < COLUMNS; k++) {
        total += width[k] + 2;
    }
    bool narrow = t->width > 0 && (t->width < NARROW || total > t->width + 2);
    struct str section = STR_NULL;
    for (size_t i = 0; i < n; i++) {
        struct str s = get(rows[i].path, "section");
        if (!str_eq(s, section)) {
            write_heading(t, s, width, narrow, section.ptr == NULL, b);
            section = s;
        }
        if (narrow) {
            write_narrow(t, &rows[i], b);
        } else {
            write_wide(t, &rows[i], width, b);
        }
    }
}

/* ---- programs ---- */

static void write_programs(const struct paths_table *t, struct arena *a, const struct val *programs, struct buf *b)
{
    bool any = false;
    for (size_t i = 0; val_is(programs, VAL_ARRAY) && i < programs->n; i++) {
        const struct val *p = &programs->items[i], *flags = val_get(p, STR("unsafeFlags"));
        struct str error = get(p, "error"), node = get(p, "node");
        struct str name = clean(a, node.len ? arena_printf(a, "%.*s/%.*s", STR_ARG(get(p, "name")), STR_ARG(node)) : get(p, "name"));
        if (!any && (error.len || (val_is(flags, VAL_ARRAY) && flags->n))) {
            buf_printf(b, "\n%sPrograms%s\n", t->colour ? "\033[1m" : "", end_of(t));
            any = true;
        }
        if (error.len) {
            buf_printf(b, "%.*s: no report: ", STR_ARG(name));
            plain(b, error);
            buf_append_char(b, '\n');
        }
        for (size_t k = 0; val_is(flags, VAL_ARRAY) && k < flags->n; k++) {
            const struct val *f = &flags->items[k];
            const struct val *given = val_get(f, STR("given"));
            buf_printf(b, "%sunsafe%s  %.*s %.*s=%.*s (%s)\n", colour_of(t, STR("unsafe")), end_of(t), STR_ARG(name),
                       STR_ARG(clean(a, get(f, "flag"))), STR_ARG(clean(a, get(f, "value"))), val_is(given, VAL_BOOL) && given->b ? "given" : "default");
            line(b, "why: ", get(f, "why"), "", "");
            line(b, "mend: ", get(f, "mend"), "", "");
        }
    }
}

void paths_table_write(const struct paths_table *t, const struct val *catalog, struct buf *b)
{
    const struct val *paths = val_get(catalog, STR("paths")), *s = val_get(catalog, STR("summary")), *unsafe = val_get(catalog, STR("unsafe"));
    CLEANUP(arena_deinit) struct arena a;
    bool bad = !val_is(unsafe, VAL_BOOL) || unsafe->b;
    arena_init(&a, ARENA_NO_BUDGET);
    if (val_is(paths, VAL_ARRAY)) {
        write_paths(t, &a, paths, b);
    }
    write_programs(t, &a, val_get(catalog, STR("programs")), b);
    buf_printf(b, "\n%s%s%s: %llu safe on an untrusted network, %llu local to a host, %llu unused, %llu unsafe", colour_of(t, bad ? STR("unsafe") : STR("safe")),
               bad ? "unsafe" : "safe", end_of(t), (unsigned long long)number(s, "safe"), (unsigned long long)number(s, "local"),
               (unsigned long long)number(s, "unused"), (unsigned long long)number(s, "unsafe"));
    if (number(s, "unsafeFlags")) {
        buf_printf(b, "; %llu unsafe flags in force", (unsigned long long)number(s, "unsafeFlags"));
    }
    buf_append_c(b, ".\n");
}
