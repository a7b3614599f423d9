/*
 * Server-side tables: what kubectl prints. Columns come from schema/; cells from the kind's hook where it has one, else from
 * the column's own description when that is a path ("status.phase", "spec.minReplicas or <unset>").
 */
#include "api/gen/meta_v1.h"
#include "api/json-writer.h"
#include "apiserver/member.h"
#include "apiserver/render.h"
#include "base/clock.h"

static const struct api_column plain_columns[] = {
    { .name = STR_INIT("Name"), .type = STR_INIT("string"), .format = STR_INIT("name"), .description = STR_INIT("metadata.name") },
    { .name = STR_INIT("Created At"), .type = STR_INIT("date"), .description = STR_INIT("creationTimestamp as RFC3339 UTC") },
};

static const struct api_column *columns_of(const struct render *how, size_t *ret_n)
{
    const struct api_resource *res = how->ep->res;
    if (res->n_columns == 0 && how->ep->rest) {
        res = how->ep->rest->hub;
    }
    *ret_n = res->n_columns ? res->n_columns : ARRAY_SIZE(plain_columns);
    return res->n_columns ? res->columns : plain_columns;
}

static void column(struct buf *b, const struct api_column *c)
{
    buf_append(b, STR("{\"name\":"));
    json_write_string(b, c->name);
    buf_append(b, STR(",\"type\":"));
    json_write_string(b, c->type);
    buf_append(b, STR(",\"format\":"));
    json_write_string(b, c->format);
    buf_append(b, STR(",\"description\":"));
    json_write_string(b, c->description);
    buf_printf(b, ",\"priority\":%d}", c->priority);
}

static struct str meta_version(const struct render *how)
{
    return str_eq_c(how->media.version, "v1beta1") ? STR("meta.k8s.io/v1beta1") : STR("meta.k8s.io/v1");
}

void table_begin(const struct render *how, struct buf *b, struct str resource_version, struct str continue_token, int64_t remaining,
                 bool with_columns)
{
    struct str version = meta_version(how);
    buf_printf(b, "{\"kind\":\"Table\",\"apiVersion\":\"%.*s\",\"metadata\":{", STR_ARG(version));
    const char *sep = "";
    if (resource_version.len > 0) {
        buf_printf(b, "\"resourceVersion\":\"%.*s\"", STR_ARG(resource_version));
        sep = ",";
    }
    if (continue_token.len > 0) {
        buf_printf(b, "%s\"continue\":\"%.*s\"", sep, STR_ARG(continue_token));
        sep = ",";
    }
    if (remaining > 0) {
        buf_printf(b, "%s\"remainingItemCount\":%lld", sep, (long long)remaining);
    }
    buf_append(b, STR("},\"columnDefinitions\":"));
    if (!with_columns) {
        buf_append(b, STR("null,\"rows\":["));
        return;
    }
    size_t n;
    const struct api_column *columns = columns_of(how, &n);
    buf_append_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            buf_append_char(b, ',');
        }
        column(b, &columns[i]);
    }
    buf_append(b, STR("],\"rows\":["));
}

void table_end(struct buf *b)
{
    buf_append(b, STR("]}"));
}

/* ---- cells by path ---- */

static bool is_path(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.')) {
            return false;
        }
    }
    return s.len > 0;
}

/* A scalar member as a cell; false when it is unset or no scalar. */
static bool scalar_cell(struct kind_cells *c, const struct api_field *f, const void *member, bool wants_text)
{
    if (f->card != API_SINGLE || ((f->flags & API_F_POINTER) && f->has_offset && f->ftype != API_MESSAGE &&
                                  !*((const bool *)member + (f->has_offset - f->offset)))) {
        return false;
    }
    int64_t n = 0;
    switch ((enum api_ftype)f->ftype) {
    case API_STRING:
    case API_QUANTITY:
    case API_DURATION: {
        const struct str *s = member;
        if (str_empty(*s)) {
            return false;
        }
        cell_str(c, *s);
        return true;
    }
    case API_BOOL:
        if (wants_text) {
            cell_str(c, *(const bool *)member ? STR("true") : STR("false"));
        } else {
            cell_bool(c, *(const bool *)member);
        }
        return true;
    case API_INT32:
        n = *(const int32_t *)member;
        break;
    case API_INT64:
        n = *(const int64_t *)member;
        break;
    case API_INT_OR_STRING: {
        const struct api_int_or_string *v = member;
        if (v->kind == API_IOS_UNSET) {
            return false;
        }
        if (v->kind == API_IOS_STRING) {
            cell_str(c, v->s);
        } else {
            cell_printf(c, "%d", v->i);
        }
        return true;
    }
    case API_UINT32:
    case API_UINT64:
    case API_DOUBLE:
    case API_ENUM:
    case API_BYTES:
    case API_TIME:
    case API_MICROTIME:
    case API_RAW:
    case API_MESSAGE:
    case API_STRLIST:
    case API_FTYPE_MAX:
        return false;
    }
    if (wants_text) {
        cell_printf(c, "%lld", (long long)n);
    } else {
        cell_int(c, n);
    }
    return true;
}

static void default_cell(struct kind_cells *c, const struct render *how, const struct api_column *col, const void *hub)
{
    const struct meta_v1_object_meta *m = rest_meta_const(how->ep->rest, hub);
    struct str what = col->description, fallback = STR_NULL;
    ptrdiff_t either = str_find(what, STR(" or "));
    if (str_eq_c(what, "metadata.name")) {
        cell_str(c, m->name);
        return;
    }
    if (str_starts(what, STR("age since metadata.creationTimestamp"))) {
        cell_age(c, m->creation_timestamp);
        return;
    }
    if (str_starts(what, STR("creationTimestamp as RFC3339"))) {
        char text[CLOCK_RFC3339_SIZE];
        size_t n = m->creation_timestamp.set ? clock_format_rfc3339(m->creation_timestamp.sec, 0, 0, text) : 0;
        cell_str(c, str_n(text, n));
        return;
    }
    if (either > 0) {
        fallback = str_sub(what, (size_t)either + 4, what.len);
        what = str_sub(what, 0, (size_t)either);
        if (str_eq_c(fallback, "empty")) {
            fallback = STR_EMPTY;
        }
    }
    const struct api_field *f;
    const void *member = is_path(what) ? member_at(how->ep->rest->hub->type, hub, what, &f) : NULL;
    if (member && scalar_cell(c, f, member, str_eq_c(col->type, "string"))) {
        return;
    }
    if (fallback.ptr && (str_eq_c(col->type, "boolean") || str_eq_c(fallback, "true") || str_eq_c(fallback, "false"))) {
        cell_bool(c, str_eq_c(fallback, "true"));
    } else if (str_eq_c(col->type, "integer")) {
        cell_int(c, 0);
    } else if (str_eq_c(col->type, "boolean")) {
        cell_bool(c, false);
    } else {
        cell_str(c, fallback.ptr ? fallback : STR_EMPTY);
    }
}

static bool row_object(const struct render *how, struct arena *a, const struct object *o, const void *hub, struct buf *b,
                       struct err *err)
{
    struct render as = *how;
    as.media.format = MEDIA_JSON;
    as.media.as = str_eq_c(how->include_object, "Object") ? MEDIA_AS_OBJECT : MEDIA_AS_PARTIAL;
    buf_append(b, STR(",\"object\":"));
    return o && as.media.as == MEDIA_AS_OBJECT ? render_object(&as, a, o, b, err) : render_hub(&as, a, hub, b, err);
}

bool table_row(const struct render *how, struct arena *a, const struct object *o, const void *hub, struct buf *b, struct err *err)
{
    struct kind_cells c = { .arena = a, .now_sec = how->now_sec };
    size_t n;
    const struct api_column *columns = columns_of(how, &n);
    const struct kind_ops *ops = how->ep->rest->ops;
    if (b->len > 0 && b->ptr[b->len - 1] == '}') {
        buf_append_char(b, ',');
    }
    if (ops->cells) {
        ops->cells(&c, hub);
    }
    /* Columns that the hook has no cell for. */
    while (c.n < n) {
        size_t before = c.n;
        default_cell(&c, how, &columns[c.n], hub);
        if (c.n == before) {
            return err_set(err, ERR_NO_MEMORY, "the table is too large");
        }
    }
    buf_append(b, STR("{\"cells\":["));
    for (size_t i = 0; i < c.n; i++) { /* a hook may have more cells than there are columns (IPAddress) */
        if (i > 0) {
            buf_append_char(b, ',');
        }
        buf_append(b, c.json[i]);
    }
    buf_append_char(b, ']');
    if (c.completed) {
        buf_append(b, STR(",\"conditions\":[{\"type\":\"Completed\",\"status\":\"True\",\"reason\":"));
        json_write_string(b, c.completed_reason);
        buf_append(b, STR(",\"message\":"));
        json_write_string(b, c.completed_message);
        buf_append(b, STR("}]"));
    }
    if (str_eq_c(how->include_object, "None")) {
        buf_append(b, STR(",\"object\":null"));
    } else if (!row_object(how, a, o, hub, b, err)) {
        return false;
    }
    buf_append_char(b, '}');
    return !buf_failed(b) || err_set(err, ERR_TOO_LARGE, "the table is too large");
}
