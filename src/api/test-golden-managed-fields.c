/* The captured objects tell which fields Kubernetes tracked when they were created and applied. */
#include "api/default.h"
#include "api/gen/meta_v1.h"
#include "api/golden.h"
#include "api/managed-fields.h"
#include "api/val-convert.h"
#include "base/test.h"

static unsigned same, other;

/* The tree of an object of that type in which nothing is set. */
static struct val empty_object(struct arena *a, const struct api_type *t)
{
    struct val v;
    void *object = arena_alloc(a, t->size);
    CHECK(object && api_to_val(a, t, object, &v));
    return v;
}

static size_t take_entries(struct arena *a, struct val *object, struct meta_v1_managed_fields_entry **ret)
{
    struct val *metadata = val_get(object, STR("metadata"));
    const struct val *list = val_get(metadata, STR("managedFields"));
    struct err err;
    size_t n = list ? list->n : 0;
    *ret = arena_new_n(a, struct meta_v1_managed_fields_entry, n ? n : 1);
    for (size_t i = 0; i < n; i++) {
        CHECK_OK(api_from_val(a, &meta_v1_managed_fields_entry_type, &list->items[i], NULL, &(*ret)[i], &err), &err);
    }
    val_remove(metadata, STR("managedFields"));
    return n;
}

/* Upstream tracks what was posted, decoded and defaulted; what the server fills in afterwards belongs to nobody. */
static void create(const struct golden_object *o, void *ctx)
{
    struct arena a;
    struct err err;
    struct val answer, posted;
    struct meta_v1_managed_fields_entry *want, *got;
    const struct api_type *t = o->resource->type;
    (void)ctx;
    arena_init(&a, ARENA_NO_BUDGET);
    CHECK_OK(val_parse_json(&a, golden_file(&a, o, "out.json"), JSON_DEPTH, NULL, &answer, &err), &err);
    size_t n_want = take_entries(&a, &answer, &want), n_got;
    struct str in = golden_file(&a, o, "in.json");
    if (n_want == 1 && !want[0].subresource.len && str_find(str_c(o->name), STR("status")) < 0 && in.ptr) {
        void *object = arena_alloc(&a, t->size);
        struct val empty = empty_object(&a, t);
        struct fields ignore;
        struct managed m = { 0 };
        CHECK_OK(object && api_decode_json(&a, t, in, NULL, object, &err), &err);
        CHECK(api_default(&a, t, object, NULL) && api_to_val(&a, t, object, &posted));
        CHECK(managed_reset_fields(&a, true, STR_NULL, &ignore));
        struct managed_writer w = { .manager = want[0].manager, .api_version = want[0].api_version,
                                    .schema = fields_at_type(t), .empty = &empty, .ignore = &ignore };
        CHECK_OK(managed_update(&a, &m, &w, NULL, &posted, &err), &err);
        CHECK_OK(managed_encode(&a, &m, &got, &n_got, &err), &err);
        struct str fields = n_got ? got[0].fields_v1 : STR("{}");
        if (str_eq(fields, want[0].fields_v1)) {
            same++;
        } else {
            other++;
            struct fields x, y, more, less;
            CHECK_OK(fields_parse(&a, fields, &x, &err) && fields_parse(&a, want[0].fields_v1, &y, &err), &err);
            CHECK(fields_difference(&a, &x, &y, &more) && fields_difference(&a, &y, &x, &less));
            struct buf b;
            buf_init(&b, BUF_NO_MAX);
            fields_write(&b, &more);
            printf("  %s %s more: %.*s", strrchr(o->dir, '/') + 1, o->name, STR_ARG(buf_str(&b)));
            buf_clear(&b);
            fields_write(&b, &less);
            printf(" less: %.*s\n", STR_ARG(buf_str(&b)));
            buf_deinit(&b);
        }
    }
    arena_deinit(&a);
}

TEST(golden_objects_are_tracked_from_their_creation)
{
    same = other = 0;
    golden_objects(create, NULL);
    printf("  %u objects have the captured fields, %u others\n", same, other);
    /* Kinds' own conversions, which are not made here: DaemonSet's generation annotation (2), HPA's default target, what a
     * CertificateSigningRequest resets, a pod's serviceAccount, a secret's stringData. */
    CHECK(other <= 6);
}
