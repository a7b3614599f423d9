#include "store/store.h"

#include "store/object.h"
#include "store/watch-cache.h"

const char *store_status_text(enum store_status s)
{
    static const char *const text[STORE_STATUS_MAX] = {
        [STORE_OK] = "done",
        [STORE_E_CONFLICT] = "the key has another revision",
        [STORE_E_COMPACTED] = "the requested revision has been compacted",
        [STORE_E_FUTURE] = "the requested revision is in the future",
        [STORE_E_FULL] = "the disk of the store is full",
        [STORE_E_TOO_LARGE] = "the object is too large for the store",
        [STORE_E_IO] = "the store failed",
        [STORE_E_UNAVAILABLE] = "the store cannot answer now",
        [STORE_E_UNKNOWN] = "the store's answer was lost",
        [STORE_E_CLOSED] = "the store is being closed",
    };
    return (unsigned)s < STORE_STATUS_MAX ? text[s] : "unknown status";
}

enum err_code store_status_err(enum store_status s)
{
    static const enum err_code code[STORE_STATUS_MAX] = {
        [STORE_OK] = ERR_NONE,
        [STORE_E_CONFLICT] = ERR_CONFLICT,
        [STORE_E_COMPACTED] = ERR_EXPIRED,
        [STORE_E_FUTURE] = ERR_TIMEOUT,
        [STORE_E_FULL] = ERR_INTERNAL,
        [STORE_E_TOO_LARGE] = ERR_TOO_LARGE,
        [STORE_E_IO] = ERR_INTERNAL,
        [STORE_E_UNAVAILABLE] = ERR_UNAVAILABLE,
        [STORE_E_UNKNOWN] = ERR_TIMEOUT,
        [STORE_E_CLOSED] = ERR_UNAVAILABLE,
    };
    return (unsigned)s < STORE_STATUS_MAX ? code[s] : ERR_INTERNAL;
}

struct store *store_close(struct store *s)
{
    if (s) {
        s->ops->close(s);
    }
    return NULL;
}

struct store_resource *store_resource_open(struct store *s, const struct store_resource_config *cfg)
{
    return s->ops->resource_open(s, cfg);
}

struct store_resource *store_resource_close(struct store_resource *r)
{
    if (r) {
        r->store->ops->resource_close(r);
    }
    return NULL;
}

int64_t store_resource_watermark(struct store_resource *r)
{
    return r->store->ops->watermark(r);
}

int64_t store_resource_floor(const struct store_resource *r)
{
    return r->floor;
}

void store_resource_want_progress(struct store_resource *r, bool on)
{
    r->store->ops->want_progress(r, on);
}

void store_write(struct store *s, const struct store_write *w)
{
    s->ops->write(s, w);
}

void store_range(struct store *s, struct str start, struct str end, uint32_t limit, store_page_fn *done, void *arg)
{
    s->ops->range(s, start, end, limit, done, arg);
}

void store_revision(struct store *s, store_revision_fn *done, void *arg)
{
    s->ops->revision(s, done, arg);
}

int64_t store_revision_seen(struct store *s)
{
    return s->ops->revision_seen(s);
}

void store_health(struct store *s, uint32_t timeout_ms, store_health_fn *done, void *arg)
{
    if (s->ops->health) {
        s->ops->health(s, timeout_ms, done, arg);
    } else {
        done(arg, STORE_OK);
    }
}

bool store_reload(struct store *s, struct err *err)
{
    return !s->ops->reload || s->ops->reload(s, err);
}

void store_get_stats(struct store *s, struct store_stats *ret)
{
    s->ops->stats(s, ret);
}

struct str store_prefix_end(struct str prefix, char *dst)
{
    size_t n = prefix.len;
    while (n > 0 && (uint8_t)prefix.ptr[n - 1] == 0xff) {
        n--;
    }
    if (n == 0) {
        return STR_NULL;
    }
    memcpy(dst, prefix.ptr, n);
    dst[n - 1] = (char)(dst[n - 1] + 1);
    return str_n(dst, n);
}
