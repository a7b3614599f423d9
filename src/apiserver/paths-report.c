/* Reading what a process reports of its paths. It comes from nodes: sizes and counts are bounded, unknown members are skipped. */
#include "api/val.h"
#include "apiserver/limits.h"
#include "apiserver/paths.h"

enum { REPORT_DEPTH = 8 };

/* A text that is shown: longer ones are cut. */
static struct str text(const struct val *v, const char *key)
{
    struct str s = val_get_str(v, str_c(key));
    return s.len > PATHS_MAX_TEXT ? str_sub(s, 0, PATHS_MAX_TEXT) : s;
}

static uint64_t number(const struct val *v, const char *key)
{
    int64_t n;
    return val_as_i64(val_get(v, str_c(key)), &n) && n > 0 ? (uint64_t)n : 0;
}

static bool flag(const struct val *v, const char *key)
{
    const struct val *b = val_get(v, str_c(key));
    return val_is(b, VAL_BOOL) && b->b;
}

static void read_fact(const struct val *v, struct path_fact *f)
{
    struct str way = text(v, "way"), transport = text(v, "transport");
    *f = (struct path_fact){
        .way = str_eq_c(way, "listen") ? PATH_LISTEN : str_eq_c(way, "out") ? PATH_OUT : PATH_IN,
        .peer = text(v, "peer"), .purpose = text(v, "purpose"), .address = text(v, "address"), .remote = text(v, "remote"),
        .authn = text(v, "authn"), .authz = text(v, "authz"),
        .transport = str_eq_c(transport, "tls")     ? PATH_TLS
                     : str_eq_c(transport, "unix")  ? PATH_UNIX
                     : str_eq_c(transport, "ssh")   ? PATH_SSH
                     : str_eq_c(transport, "plain") ? PATH_PLAIN
                                                    : PATH_UNKNOWN,
        .tls = text(v, "tls"), .cipher = text(v, "cipher"), .http = text(v, "http"),
        .peer_state = text(v, "peerState"), .peer_reason = text(v, "peerReason"),
        .peer_cert = { text(v, "peerSubject"), (int64_t)number(v, "peerNotBefore"), (int64_t)number(v, "peerNotAfter") },
        .own_cert = { text(v, "ownSubject"), (int64_t)number(v, "ownNotBefore"), (int64_t)number(v, "ownNotAfter") },
        .asks_certificates = flag(v, "asksCertificates"),
        .bytes_in = number(v, "bytesIn"), .bytes_out = number(v, "bytesOut"), .opened = number(v, "opened"), .open = number(v, "open"),
        .failed = number(v, "failed"), .last_error = text(v, "lastError"), .error_age_ms = number(v, "errorAgeMs"), .trust = text(v, "trust"),
    };
}

static bool read_part(struct arena *a, const struct val *v, struct str node, struct path_part *p)
{
    const struct val *flags = val_get(v, STR("unsafeFlags")), *paths = val_get(v, STR("paths"));
    size_t n_flags = val_is(flags, VAL_ARRAY) ? MIN(flags->n, PATHS_MAX_FLAGS) : 0, n = val_is(paths, VAL_ARRAY) ? MIN(paths->n, PATHS_MAX_FACTS) : 0;
    *p = (struct path_part){ .process = text(v, "process"), .node = node, .host = text(v, "host"), .version = text(v, "version") };
    p->flags = arena_new_n(a, struct path_flag, n_flags + 1);
    p->facts = arena_new_n(a, struct path_fact, n + 1);
    if (!p->flags || !p->facts) {
        return false;
    }
    for (size_t i = 0; i < n_flags; i++) {
        const struct val *f = &flags->items[i];
        p->flags[p->n_flags++] = (struct path_flag){ .program = text(f, "program"), .flag = text(f, "flag"), .value = text(f, "value"),
                                                     .why = text(f, "why"), .mend = text(f, "mend"), .given = flag(f, "given") };
    }
    for (size_t i = 0; i < n; i++) {
        read_fact(&paths->items[i], &p->facts[p->n_facts++]);
    }
    return true;
}

static bool room(struct arena *a, struct path_part **parts, size_t n, size_t more)
{
    struct path_part *grown = arena_grow_n(a, *parts, n, n + more, sizeof(**parts));
    *parts = grown ? grown : *parts;
    return grown != NULL;
}

bool path_report_read(struct arena *a, struct str json, struct str node, struct path_part **parts, size_t *n, struct err *err)
{
    struct val v;
    if (json.len > PATHS_MAX_REPORT) {
        return err_set(err, ERR_TOO_LARGE, "the report is longer than %u bytes", PATHS_MAX_REPORT);
    }
    if (!val_parse_json(a, arena_str(a, json), REPORT_DEPTH, NULL, &v, err)) {
        return err_wrap(err, "the report");
    }
    const struct val *list = val_get(&v, STR("parts"));
    if (!val_is(list, VAL_ARRAY) || list->n == 0) {
        return err_set(err, ERR_INVALID, "the answer is no report of paths");
    }
    size_t count = MIN(list->n, PATHS_MAX_PARTS);
    if (!room(a, parts, *n, count)) {
        return err_set(err, ERR_NO_MEMORY, "there are too many reports");
    }
    for (size_t i = 0; i < count; i++) {
        if (!read_part(a, &list->items[i], node, &(*parts)[*n + i])) {
            return err_set(err, ERR_NO_MEMORY, "there are too many reports");
        }
    }
    *n += count;
    return true;
}

bool path_report_missing(struct arena *a, struct str process, struct str node, struct str why, struct path_part **parts, size_t *n)
{
    if (!room(a, parts, *n, 1)) {
        return false;
    }
    (*parts)[(*n)++] = (struct path_part){ .process = process, .node = node, .error = arena_str(a, why) };
    return true;
}
