#include "kubelet/cri-log.h"

#include "base/clock.h"
#include "kubelet/docker-log.h"

/* ---- options ---- */

/* A number, or absent; false when the parameter is there and none. */
static bool number(const struct http_target *t, struct str name, bool *ret_has, int64_t *ret)
{
    struct str v = http_param_get(t, name);
    *ret_has = v.ptr != NULL;
    return !*ret_has || str_to_i64(v, ret);
}

static bool decode(const struct http_target *t, struct cri_log_options *o, bool *has_tail, bool *has_limit, bool *has_seconds, int64_t *seconds)
{
    struct str legacy = http_param_get(t, STR("tail")), since = http_param_get(t, STR("sinceTime"));
    if (!number(t, STR("tailLines"), has_tail, &o->tail_lines) || !number(t, STR("limitBytes"), has_limit, &o->limit_bytes) ||
        !number(t, STR("sinceSeconds"), has_seconds, seconds)) {
        return false;
    }
    if (legacy.len && str_eq_c(legacy, "all")) {
        *has_tail = false;
    } else if (legacy.len) {
        *has_tail = true;
        if (!str_to_i64(legacy, &o->tail_lines)) {
            return false;
        }
    }
    o->has_since = since.len > 0;
    return !o->has_since || clock_parse_rfc3339(since, &o->since_s, &o->since_ns);
}

bool cri_log_options(const struct http_target *t, int64_t now_s, struct cri_log_options *ret, int *ret_status, struct err *err)
{
    struct cri_log_options o = { 0 };
    bool has_tail, has_limit, has_seconds;
    int64_t seconds = 0;
    struct str stream = http_param_get(t, STR("stream"));
    if (!decode(t, &o, &has_tail, &has_limit, &has_seconds, &seconds)) {
        *ret_status = 400;
        return err_set(err, ERR_BAD_REQUEST, "{\"message\": \"Unable to decode query.\"}");
    }
    bool known = !stream.len || str_eq_c(stream, "All") || str_eq_c(stream, "Stdout") || str_eq_c(stream, "Stderr");
    bool part = stream.len && !str_eq_c(stream, "All");
    if (!known || (part && has_tail) || (has_tail && o.tail_lines < 0) || (has_limit && o.limit_bytes < 1) || (has_seconds && seconds < 1) ||
        (has_seconds && o.has_since)) {
        *ret_status = 422;
        return err_set(err, ERR_INVALID, "{\"message\": \"Invalid request.\"}");
    }
    o.follow = http_param_bool(t, STR("follow"), false);
    o.previous = http_param_bool(t, STR("previous"), false);
    o.timestamps = http_param_bool(t, STR("timestamps"), false);
    o.stream = !part ? CRI_LOG_ALL : str_eq_c(stream, "Stdout") ? CRI_LOG_STDOUT : CRI_LOG_STDERR;
    o.tail_lines = has_tail ? o.tail_lines : -1;
    o.limit_bytes = has_limit ? o.limit_bytes : -1;
    if (has_seconds) {
        o.has_since = true;
        o.since_s = seconds < now_s ? now_s - seconds : 0;
    }
    *ret = o;
    return true;
}

/* ---- lines ---- */

void cri_log_filter_init(struct cri_log_filter *f, const struct cri_log_options *options)
{
    *f = (struct cri_log_filter){ .options = *options, .left = options->limit_bytes };
    buf_init(&f->rest, CRI_LOG_MAX_LINE);
}

void cri_log_filter_deinit(struct cri_log_filter *f)
{
    buf_deinit(&f->rest);
}

static bool wanted(const struct cri_log_options *o, struct str stamp, struct str stream)
{
    int64_t sec;
    uint32_t ns;
    if (o->stream != CRI_LOG_ALL && !str_eq_c(stream, o->stream == CRI_LOG_STDOUT ? "stdout" : "stderr")) {
        return false;
    }
    return !o->has_since || !clock_parse_rfc3339(stamp, &sec, &ns) || sec > o->since_s || (sec == o->since_s && ns >= o->since_ns);
}

/* One line of the file in the words of both formats. */
static void emit(struct cri_log_filter *f, struct str stamp, struct str stream, struct str rest, bool ends, struct buf *out)
{
    size_t from = out->len;
    if ((!str_eq_c(stream, "stdout") && !str_eq_c(stream, "stderr")) || !wanted(&f->options, stamp, stream)) {
        return;
    }
    if (f->options.timestamps && !f->inside) {
        buf_append(out, stamp);
        buf_append_char(out, ' ');
    }
    buf_append(out, rest);
    if (ends) {
        buf_append_char(out, '\n');
    }
    f->inside = !ends;
    if (f->left >= 0) {
        size_t n = MIN(out->len - from, (size_t)f->left);
        out->len = from + n;
        f->left -= (int64_t)n;
    }
}

/* CRI's lines begin with a time; dockerd's are JSON objects (docker-log.h). */
static void line(struct cri_log_filter *f, struct str text, bool whole, struct buf *out)
{
    struct str stamp, stream, tags, rest;
    if (f->left == 0) {
        return;
    }
    if (text.len && text.ptr[0] == '{') {
        struct docker_log_line l;
        struct arena a;
        arena_init(&a, 4 * CRI_LOG_MAX_LINE);
        if (docker_log_parse(&a, text, &l)) {
            emit(f, l.stamp, l.stream, l.text, l.ends, out);
        }
        arena_deinit(&a);
        return;
    }
    if (!str_cut(text, ' ', &stamp, &rest) || !str_cut(rest, ' ', &stream, &rest) || !str_cut(rest, ' ', &tags, &rest)) {
        return;
    }
    /* The first of the tags, which colons separate, is this one. */
    emit(f, stamp, stream, rest, whole && !(tags.len && tags.ptr[0] == 'P'), out);
}

void cri_log_feed(struct cri_log_filter *f, struct str bytes, struct buf *out)
{
    struct str piece;
    while (bytes.len && f->left != 0) {
        bool whole = str_cut(bytes, '\n', &piece, &bytes);
        if (!whole) {
            bytes = STR_EMPTY;
        }
        if (f->skipping) {
            f->skipping = !whole;
            continue;
        }
        if (whole && !f->rest.len && piece.len <= CRI_LOG_MAX_LINE) {
            line(f, piece, true, out);
            continue;
        }
        buf_append(&f->rest, piece);
        if (buf_failed(&f->rest)) {
            buf_clear(&f->rest);
            f->skipping = !whole;
        } else if (whole) {
            line(f, buf_str(&f->rest), true, out);
            buf_clear(&f->rest);
        }
    }
}

void cri_log_end(struct cri_log_filter *f, struct buf *out)
{
    if (f->rest.len && !f->skipping) {
        line(f, buf_str(&f->rest), false, out);
    }
    buf_clear(&f->rest);
}
