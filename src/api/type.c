#include "api/type.h"

#include "api/bytes.h"

const struct api_facts api_no_facts;

const uint8_t api_value_sizes[API_FTYPE_MAX] = {
    [API_BOOL] = sizeof(bool),
    [API_INT32] = sizeof(int32_t),
    [API_UINT32] = sizeof(int32_t),
    [API_ENUM] = sizeof(int32_t),
    [API_INT64] = sizeof(int64_t),
    [API_UINT64] = sizeof(int64_t),
    [API_DOUBLE] = sizeof(int64_t),
    [API_STRING] = sizeof(struct str),
    [API_BYTES] = sizeof(struct str),
    [API_DURATION] = sizeof(struct str),
    [API_QUANTITY] = sizeof(struct str),
    [API_RAW] = sizeof(struct str),
    [API_TIME] = sizeof(struct api_time),
    [API_MICROTIME] = sizeof(struct api_time),
    [API_INT_OR_STRING] = sizeof(struct api_int_or_string),
    [API_STRLIST] = sizeof(struct api_str_list),
};

size_t api_member_size(const struct api_field *f)
{
    if (f->card != API_SINGLE) {
        return sizeof(void *) + sizeof(size_t);
    }
    return f->ftype == API_MESSAGE && (f->flags & API_F_POINTER) ? sizeof(void *) : api_item_size(f);
}

void api_set_item_type_meta(const struct api_field *f, void *items, size_t n)
{
    size_t kind, version;

    if (!api_field_find(f->message, STR("kind"), &kind) || !api_field_find(f->message, STR("apiVersion"), &version)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char *item = (char *)items + i * f->message->size;

        *(struct str *)(void *)(item + kind) = f->facts->item_kind;
        *(struct str *)(void *)(item + version) = f->facts->item_version;
    }
}

const struct api_type *api_type_find(struct str name)
{
    size_t lo = 0, hi = api_n_types;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = str_cmp(api_types[mid]->name, name);

        if (c == 0) {
            return api_types[mid];
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return NULL;
}

/* "core.v1" and "Pod" -> descriptor. */
static const struct api_type *type_in_package(struct str package, struct str kind)
{
    char name[256];

    if (package.len + kind.len + 1 > sizeof(name)) {
        return NULL;
    }
    memcpy(name, package.ptr, package.len);
    name[package.len] = '.';
    memcpy(name + package.len + 1, kind.ptr, kind.len);
    return api_type_find(str_n(name, package.len + 1 + kind.len));
}

const struct api_type *api_type_of_kind(struct str api_version, struct str kind)
{
    struct str group, version;
    const struct api_type *t;

    if (kind.len == 0) {
        return NULL;
    }
    if (!str_cut(api_version, '/', &group, &version)) {
        version = api_version;
        group = STR_EMPTY;
    }
    for (size_t i = 0; i < api_n_packages; i++) {
        const struct api_package *p = &api_packages[i];

        if (str_eq(p->group, group) && str_eq(p->version, version) && (t = type_in_package(p->name, kind))) {
            return t;
        }
    }
    t = type_in_package(STR("meta.v1"), kind);
    return t && (t->flags & API_T_OBJECT || str_eq(kind, STR("WatchEvent"))) ? t : NULL;
}

int api_flat_find(const struct api_type *t, struct str json_name)
{
    uint32_t h;

    if (t->n_flat == 0) {
        return -1;
    }
    for (h = api_name_hash(json_name) & t->hash_mask; t->hash[h] != 0; h = (h + 1) & t->hash_mask) {
        int i = t->hash[h] - 1;

        if (bytes_same(t->flat[i].field->name, json_name)) {
            return i;
        }
    }
    return -1;
}

const struct api_field *api_field_find(const struct api_type *t, struct str json_name, size_t *ret_offset)
{
    int i = api_flat_find(t, json_name);

    if (i < 0) {
        return NULL;
    }
    if (ret_offset) {
        *ret_offset = (size_t)t->flat[i].base + t->flat[i].field->offset;
    }
    return t->flat[i].field;
}

const struct api_resource *api_resource_find(struct str group, struct str version, struct str resource)
{
    for (size_t i = 0; i < api_n_resources; i++) {
        const struct api_resource *r = &api_resources[i];

        if (str_eq(r->resource, resource) && str_eq(r->group, group) && str_eq(r->version, version)) {
            return r;
        }
    }
    return NULL;
}

const struct api_resource *api_resource_of_kind(struct str group, struct str version, struct str kind)
{
    for (size_t i = 0; i < api_n_resources; i++) {
        const struct api_resource *r = &api_resources[i];

        if (str_eq(r->kind, kind) && str_eq(r->group, group) && str_eq(r->version, version)) {
            return r;
        }
    }
    return NULL;
}
