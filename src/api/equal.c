#include "api/equal.h"

#include <assert.h>

#include "api/quantity.h"

static bool equal_message(const struct api_type *t, const char *a, const char *b);

static bool equal_quantity(struct str a, struct str b)
{
    /* In canonical form, equal text is the rule; "1Ki" and "1024" are the exception. */
    return str_eq(a, b) || (a.len && b.len && quantity_cmp(quantity_of(a), quantity_of(b)) == 0);
}

static bool equal_value(const struct api_field *f, const void *a, const void *b)
{
    const struct str *sa = a, *sb = b;

    switch ((enum api_ftype)f->ftype) {
    case API_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case API_INT32:
    case API_UINT32:
    case API_ENUM:
        return *(const uint32_t *)a == *(const uint32_t *)b;
    case API_INT64:
    case API_UINT64:
        return *(const uint64_t *)a == *(const uint64_t *)b;
    case API_DOUBLE:
        return memcmp(a, b, sizeof(double)) == 0 || !(*(const double *)a < *(const double *)b || *(const double *)a > *(const double *)b);
    case API_STRING:
    case API_DURATION:
    case API_BYTES:
    case API_RAW:
        return str_eq(*sa, *sb);
    case API_QUANTITY:
        return equal_quantity(*sa, *sb);
    case API_TIME:
    case API_MICROTIME: {
        const struct api_time *ta = a, *tb = b;
        return ta->set == tb->set && (!ta->set || (ta->sec == tb->sec && ta->nsec == tb->nsec));
    }
    case API_INT_OR_STRING: {
        const struct api_int_or_string *ia = a, *ib = b;
        if (ia->kind == API_IOS_STRING || ib->kind == API_IOS_STRING) {
            return ia->kind == ib->kind && str_eq(ia->s, ib->s);
        }
        return ia->i == ib->i;
    }
    case API_MESSAGE:
        return equal_message(f->message, a, b);
    case API_STRLIST: {
        const struct api_str_list *la = a, *lb = b;
        if (la->n != lb->n) {
            return false;
        }
        for (size_t i = 0; i < la->n; i++) {
            if (!str_eq(la->items[i], lb->items[i])) {
                return false;
            }
        }
        return true;
    }
    case API_FTYPE_MAX:
        break;
    }
    return true;
}

static bool equal_items(const struct api_field *f, const char *a, const char *b)
{
    const char *ia = *(char *const *)(const void *)a, *ib = *(char *const *)(const void *)b;
    size_t n = *(const size_t *)(const void *)(a + sizeof(void *));
    size_t size = f->card == API_MAP ? api_entry_size(f) : api_item_size(f);

    if (n != *(const size_t *)(const void *)(b + sizeof(void *))) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const char *pa = ia + i * size, *pb = ib + i * size;

        if (f->card == API_MAP) {
            if (!str_eq(*(const struct str *)(const void *)pa, *(const struct str *)(const void *)pb)) {
                return false;
            }
            pa += API_ENTRY_VALUE;
            pb += API_ENTRY_VALUE;
        }
        if (!equal_value(f, pa, pb)) {
            return false;
        }
    }
    return true;
}

/* Is a scalar of the Go pointer kind unset? */
static bool is_unset(const struct api_field *f, const char *obj, const char *p)
{
    if (f->has_offset) {
        return *(obj + f->has_offset) == 0;
    }
    switch (f->ftype) {
    case API_TIME:
    case API_MICROTIME:
        return !((const struct api_time *)(const void *)p)->set;
    case API_INT_OR_STRING:
        return ((const struct api_int_or_string *)(const void *)p)->kind == API_IOS_UNSET;
    case API_MESSAGE:
        return *(void *const *)(const void *)p == NULL;
    default:
        return ((const struct str *)(const void *)p)->ptr == NULL;
    }
}

static bool equal_field(const struct api_field *f, const char *a, const char *b)
{
    const char *pa = a + f->offset, *pb = b + f->offset;

    if (f->card != API_SINGLE) {
        return equal_items(f, pa, pb);
    }
    if (f->flags & API_F_POINTER) {
        bool ua = is_unset(f, a, pa), ub = is_unset(f, b, pb);

        if (ua || ub) {
            return ua == ub;
        }
        if (f->ftype == API_MESSAGE) {
            pa = *(char *const *)(const void *)pa;
            pb = *(char *const *)(const void *)pb;
            return pa == pb || equal_message(f->message, pa, pb);
        }
    }
    return equal_value(f, pa, pb);
}

static bool equal_message(const struct api_type *t, const char *a, const char *b)
{
    for (unsigned i = 0; i < t->n_fields; i++) {
        if (!equal_field(&t->fields[i], a, b)) {
            return false;
        }
    }
    return true;
}

bool api_equal(const struct api_type *t, const void *a, const void *b)
{
    return a == b || equal_message(t, a, b);
}

bool api_equal_field(const struct api_type *t, const char *json_name, const void *a, const void *b)
{
    int i = api_flat_find(t, str_c(json_name));

    assert(i >= 0);
    return equal_field(t->flat[i].field, (const char *)a + t->flat[i].base, (const char *)b + t->flat[i].base);
}

bool api_is_zero(const struct api_type *t, const void *obj)
{
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct api_field *f = &t->fields[i];
        const char *p = (const char *)obj + f->offset;

        if (f->card != API_SINGLE) {
            if (*(const size_t *)(const void *)(p + sizeof(void *)) != 0) {
                return false;
            }
            continue;
        }
        if (f->flags & API_F_POINTER) {
            if (!is_unset(f, obj, p)) {
                return false;
            }
            continue;
        }
        switch ((enum api_ftype)f->ftype) {
        case API_MESSAGE:
            if (!api_is_zero(f->message, p)) {
                return false;
            }
            break;
        case API_BOOL:
            if (*p) {
                return false;
            }
            break;
        case API_INT32:
        case API_UINT32:
        case API_ENUM:
            if (*(const uint32_t *)(const void *)p) {
                return false;
            }
            break;
        case API_INT64:
        case API_UINT64:
        case API_DOUBLE:
            if (*(const uint64_t *)(const void *)p) {
                return false;
            }
            break;
        case API_TIME:
        case API_MICROTIME:
            if (((const struct api_time *)(const void *)p)->set) {
                return false;
            }
            break;
        case API_INT_OR_STRING: {
            const struct api_int_or_string *v = (const struct api_int_or_string *)(const void *)p;
            if (v->kind == API_IOS_STRING ? v->s.len != 0 : v->i != 0) {
                return false;
            }
            break;
        }
        case API_STRING:
        case API_BYTES:
        case API_QUANTITY:
        case API_DURATION:
        case API_RAW:
        case API_STRLIST:
        case API_FTYPE_MAX:
            if (((const struct str *)(const void *)p)->len != 0) {
                return false;
            }
            break;
        }
    }
    return true;
}
