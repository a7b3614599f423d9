/* Captured lists, watch frames, errors and discovery documents: whatever has a type survives a round trip. */
#include <dirent.h>
#include <stdlib.h>

#include "api/decode-json.h"
#include "api/decode-pb.h"
#include "api/encode-json.h"
#include "api/encode-pb.h"
#include "api/gen/meta_v1.h"
#include "api/golden.h"
#include "base/test.h"

struct counts {
    unsigned ok, bad, untyped;
};

/* Text that was asked for with ?pretty is laid out for persons. */
static bool is_pretty(struct str text)
{
    return str_starts(text, STR("{\n"));
}

static void json_document(const char *path, struct str text, struct counts *c)
{
    struct arena a;
    struct err err;
    struct buf b;
    struct api_type_meta m;
    const struct api_type *t;
    struct api_problems problems = { 0 };
    void *obj;

    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    if (is_pretty(text) || !api_peek_type_meta(&a, text, &m, &err) || !(t = api_type_of_kind(m.api_version, m.kind))) {
        c->untyped++;
        goto done;
    }
    obj = arena_alloc(&a, t->size);
    if (!api_decode_json(&a, t, text, &(struct api_json_decode){ .problems = &problems }, obj, &err)) {
        printf("  %s: %s\n", path, err.msg);
        c->bad++;
        goto done;
    }
    CHECK(api_encode_json(&b, t, obj, NULL, NULL));
    if (!str_eq(buf_str(&b), text) || problems.n) {
        golden_show_difference(path, buf_str(&b), text);
        c->bad++;
        goto done;
    }
    c->ok++;
done:
    buf_deinit(&b);
    arena_deinit(&a);
}

static void pb_document(const char *path, struct str bytes, struct counts *c)
{
    struct arena a;
    struct err err;
    struct buf b;
    struct api_pb_envelope e;
    const struct api_type *t;
    void *obj;

    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&b, BUF_NO_MAX);
    CHECK_OK(api_pb_envelope(bytes, &e, &err), &err);
    t = api_type_of_kind(e.api_version, e.kind);
    if (!t) {
        c->untyped++;
    } else {
        obj = arena_alloc(&a, t->size);
        CHECK_OK(api_decode_pb_object(&a, t, bytes, NULL, obj, &err), &err);
        CHECK(api_encode_pb_object(&b, t, obj, &(struct api_pb_encode){ .api_version = e.api_version, .kind = e.kind }));
        if (str_eq(buf_str(&b), bytes)) {
            c->ok++;
        } else {
            golden_show_difference(path, buf_str(&b), bytes);
            c->bad++;
        }
    }
    buf_deinit(&b);
    arena_deinit(&a);
}

static int without_dots(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static void each_file(const char *dir, const char *suffix, void (*each)(const char *path, struct str bytes, struct counts *c),
                      struct counts *c)
{
    char path[1024];
    struct dirent **files;
    int n;
    struct arena a;

    snprintf(path, sizeof(path), "%s/%s", golden_dir(), dir);
    n = scandir(path, &files, without_dots, alphasort);
    if (n <= 0) {
        test_skip("no captured %s", dir);
    }
    for (int i = 0; i < n; i++) {
        struct str name = str_c(files[i]->d_name);
        char file[1600];

        arena_init(&a, ARENA_NO_BUDGET);
        snprintf(file, sizeof(file), "%s/%s", path, files[i]->d_name);
        if (suffix[0] == '/') {
            snprintf(file, sizeof(file), "%s/%s%s", path, files[i]->d_name, suffix);
        }
        if (suffix[0] == '/' || (str_ends(name, str_c(suffix)) && !str_ends(name, STR(".meta.json")))) {
            struct str bytes = golden_path(&a, file);

            if (bytes.ptr) {
                each(file, bytes, c);
            }
        }
        arena_deinit(&a);
        free(files[i]);
    }
    free(files);
}

static void one_line(const char *path, struct str bytes, struct counts *c)
{
    json_document(path, golden_line(bytes), c);
}

/* A JSON watch: one event a line, whose object is decoded by its own kind. */
static void watch_lines(const char *path, struct str bytes, struct counts *c)
{
    struct str line;

    while (str_split(&bytes, '\n', &line)) {
        struct arena a;
        struct err err;
        struct meta_v1_watch_event e = { 0 };

        if (line.len == 0) {
            continue;
        }
        arena_init(&a, ARENA_NO_BUDGET);
        CHECK_OK(api_decode_json(&a, &meta_v1_watch_event_type, line, NULL, &e, &err), &err);
        json_document(path, e.object, c);
        arena_deinit(&a);
    }
}

/* A protobuf watch: frames of four bytes length and a WatchEvent in its envelope or without one. */
static void watch_frames(const char *path, struct str bytes, struct counts *c)
{
    while (bytes.len >= 4) {
        const unsigned char *p = (const unsigned char *)bytes.ptr;
        size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        struct str frame = str_sub(bytes, 4, n);
        struct arena a;
        struct err err;
        struct meta_v1_watch_event e = { 0 };

        CHECK_INT(frame.len, n);
        arena_init(&a, ARENA_NO_BUDGET);
        CHECK_OK(api_decode_pb(&a, &meta_v1_watch_event_type, frame, NULL, &e, &err), &err);
        pb_document(path, e.object, c);
        arena_deinit(&a);
        bytes = str_sub(bytes, 4 + n, bytes.len);
    }
}

static void tell(const char *what, const struct counts *c)
{
    printf("  %s: %u identical, %u differ, %u of kinds without a type\n", what, c->ok, c->bad, c->untyped);
    CHECK_INT(c->bad, 0);
    CHECK(c->ok > 0);
}

TEST(golden_lists_survive_a_round_trip)
{
    struct counts c = { 0 };

    each_file("lists-and-watches/lists", ".json", one_line, &c);
    each_file("lists-and-watches/lists", ".pb", pb_document, &c);
    tell("lists", &c);
}

TEST(golden_watch_events_survive_a_round_trip)
{
    struct counts c = { 0 };

    each_file("lists-and-watches/watches", ".json", watch_lines, &c);
    each_file("lists-and-watches/watches", ".bin", watch_frames, &c);
    tell("watch events", &c);
}

/* CustomResourceDefinition and APIService are stored as JSON. */
static void stored_json(const struct golden_object *o, void *c)
{
    struct arena a;
    struct str bytes;

    arena_init(&a, ARENA_NO_BUDGET);
    bytes = golden_file(&a, o, "etcd.bin");
    if (bytes.ptr && !api_pb_is_envelope(bytes)) {
        json_document(o->dir, golden_line(bytes), c);
    }
    arena_deinit(&a);
}

TEST(golden_values_stored_as_json_survive_a_round_trip)
{
    struct counts c = { 0 };

    golden_objects(stored_json, &c);
    tell("values stored as JSON", &c);
}

TEST(golden_errors_survive_a_round_trip)
{
    struct counts c = { 0 };

    each_file("errors", "/response.json", one_line, &c);
    tell("error answers", &c);
}

TEST(golden_discovery_survives_a_round_trip)
{
    struct counts c = { 0 };

    each_file("discovery", ".json", one_line, &c);
    tell("discovery documents", &c);
}
