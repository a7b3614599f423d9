#include "base/rand.h"
#include "store/shape.h"
#include "store/test-support.h"

static const struct str field_names[] = { STR_INIT("spec.nodeName"), STR_INIT("status.phase") };

/* The text of a pod as the API server keeps it, with what differs from pod to pod. */
static void pod_text(struct buf *b, const char *name, const char *uid, const char *node, const char *more)
{
    buf_clear(b);
    buf_printf(b, "\"metadata\":{\"name\":\"%s\",\"namespace\":\"shop\",\"uid\":\"%s\",\"resourceVersion\":\"\",\"labels\":{\"app\":\"web\"},"
                  "\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Update\",\"fieldsV1\":{", name, uid);
    for (unsigned i = 0; i < 40; i++) {
        buf_printf(b, "\"f:member-%u\":{\".\":{},\"f:name\":{}},", i);
    }
    buf_printf(b, "\"f:last\":{}}}]},\"spec\":{\"nodeName\":\"%s\",\"containers\":[{\"name\":\"web\",\"image\":\"registry/web:1\","
                  "\"args\":[\"--listen=:8080\",\"--log-format=json\",\"--config=/etc/web/config.yaml\"]}]%s}}", node, more);
}

struct made {
    struct object *object;
    char *text;
};

static struct made make(const struct object_class *class, struct buf *b, const char *name, const char *uid, const char *node)
{
    struct str fields[] = { str_c(node), STR_EMPTY };
    struct object_label labels[] = { { STR("app"), STR("web") } };
    struct object_init init = { .class = class, .json = buf_str(b), .rv_at = OBJECT_FIND_RV, .namespace = STR("shop"),
                                .name = str_c(name), .uid = str_c(uid), .labels = labels, .n_labels = 1, .fields = fields };
    struct err err;
    struct made m = { .object = object_new(&init, &err) };
    CHECK_OK(m.object, &err);
    m.text = strndup(b->ptr, b->len);
    return m;
}

static void check_served(const struct made *m, const char *name, const char *uid, const char *node)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1 << 20);
    buf_append_char(&b, '{');
    const char *gap = strstr(m->text, "\"resourceVersion\":\"");
    size_t head = gap ? (size_t)(gap - m->text) + sizeof("\"resourceVersion\":\"") - 1 : 0;
    buf_append_bytes(&b, m->text, head);
    buf_append(&b, object_revision_text(m->object));
    buf_append_c(&b, m->text + head);
    CLEANUP(buf_deinit) struct buf served;
    buf_init(&served, 1 << 20);
    object_item_append(m->object, &served);
    CHECK_STR(buf_str(&served), buf_str(&b));
    CHECK_INT(object_item_size(m->object), b.len);
    CHECK_STR_C(object_namespace(m->object), "shop");
    CHECK_STR_C(object_name(m->object), name);
    CHECK_STR_C(object_uid(m->object), uid);
    CHECK_STR_C(object_label(m->object, STR("app")), "web");
    CHECK_STR_C(object_field(m->object, 0), node);
}

static struct object_class class_of(struct shapes *s)
{
    return (struct object_class){ .prefix = STR("{\"kind\":\"Pod\",\"apiVersion\":\"v1\","), .item_prefix = STR("{"),
                                  .fields = field_names, .n_fields = 2, .shapes = s };
}

TEST(objects_that_look_alike_share_their_bytes_and_are_served_as_they_are)
{
    enum { N = 50 };
    struct shapes *s = shapes_new();
    struct object_class class = class_of(s);
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1 << 20);
    struct made m[N];
    char name[N][32], uid[N][40], node[N][32];
    size_t own = 0, whole = 0;
    for (unsigned i = 0; i < N; i++) {
        snprintf(name[i], sizeof(name[i]), "web-%u-%x", i, i * 7919);
        snprintf(uid[i], sizeof(uid[i]), "%08x-0000-4000-8000-%012x", i * 2654435761u, i);
        snprintf(node[i], sizeof(node[i]), "node-%u", i % 7);
        pod_text(&b, name[i], uid[i], node[i], "");
        m[i] = make(&class, &b, name[i], uid[i], node[i]);
        object_set_revision(m[i].object, 100 + i);
        own += object_memory(m[i].object);
        whole += b.len;
    }
    CHECK(own * 4 < whole);
    shapes_free(s); /* what is borrowed stays */
    for (unsigned i = 0; i < N; i++) {
        check_served(&m[i], name[i], uid[i], node[i]);
        struct object *later = object_with_revision(m[i].object, 999);
        CHECK_STR_C(object_name(later), name[i]);
        CHECK(object_same_json(later, m[i].object));
        CHECK(i + 1 == N || !object_same_json(m[i].object, m[i + 1].object));
        object_unref(m[i].object);
        CHECK_STR_C(object_field(later, 0), node[i]);
        object_unref(later);
        free(m[i].text);
    }
}

TEST(equal_texts_are_the_same_however_they_are_cut)
{
    struct shapes *s = shapes_new();
    struct object_class class = class_of(s), alone = class_of(NULL);
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1 << 20);
    pod_text(&b, "a", "uid-a", "n1", "");
    struct made first = make(&class, &b, "a", "uid-a", "n1");
    pod_text(&b, "b", "uid-b", "n2", "");
    struct made cut = make(&class, &b, "b", "uid-b", "n2");
    CHECK(cut.object->shape == first.object->shape && !cut.object->founder);
    struct made again = make(&class, &b, "b", "uid-b", "n2");
    CHECK(object_same_json(cut.object, again.object));
    class.shapes = NULL;
    struct made whole = make(&class, &b, "b", "uid-b", "n2");
    CHECK(!whole.object->shape);
    CHECK(object_same_json(cut.object, whole.object) && object_same_json(whole.object, cut.object));
    struct made other = make(&alone, &b, "b", "uid-b", "n2");
    CHECK(!object_same_json(other.object, whole.object)); /* another class has another prefix */
    struct made *all[] = { &first, &cut, &again, &whole, &other };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        object_unref(all[i]->object);
        free(all[i]->text);
    }
    shapes_free(s);
}

TEST(a_text_that_differs_in_much_is_a_shape_of_its_own)
{
    struct shapes *s = shapes_new();
    struct object_class class = class_of(s);
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1 << 20);
    char more[1200] = ",\"x\":\"";
    size_t at = strlen(more);
    while (at < sizeof(more) - 2) {
        more[at++] = (char)('a' + (int)rand_below(26));
    }
    more[at++] = '"';
    more[at] = '\0';
    pod_text(&b, "a", "uid-a", "n1", "");
    struct made a = make(&class, &b, "a", "uid-a", "n1");
    pod_text(&b, "a", "uid-a", "n1", more);
    struct made grown = make(&class, &b, "a", "uid-a", "n1");
    CHECK(grown.object->founder && grown.object->shape != a.object->shape);
    pod_text(&b, "b", "uid-b", "n1", "");
    struct made like_a = make(&class, &b, "b", "uid-b", "n1");
    CHECK(!like_a.object->founder); /* either will do */
    check_served(&grown, "a", "uid-a", "n1");
    check_served(&like_a, "b", "uid-b", "n1");
    struct made *all[] = { &a, &grown, &like_a };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        object_unref(all[i]->object);
        free(all[i]->text);
    }
    shapes_free(s);
}

/* Texts made at random of a few words, so that matches begin and end everywhere, also over the limits of pieces. */
TEST(whatever_the_texts_are_they_are_served_as_they_were_given)
{
    struct shapes *s = shapes_new();
    struct object_class class = class_of(s);
    class.n_fields = 0;
    CLEANUP(buf_deinit) struct buf b;
    CLEANUP(buf_deinit) struct buf served;
    buf_init(&b, 1 << 20);
    buf_init(&served, 1 << 20);
    char words[12][80];
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        size_t n = 20 + rand_below(59);
        for (size_t k = 0; k < n; k++) {
            words[i][k] = "abc-.,:{}\" "[rand_below(11)];
        }
        words[i][n] = '\0';
    }
    unsigned n_cut = 0;
    for (unsigned turn = 0; turn < 3000; turn++) {
        buf_clear(&b);
        size_t gap = 0, n_words = 10 + rand_below(60), gap_word = rand_below((uint32_t)n_words);
        bool in_order = rand_below(4) != 0;
        for (size_t k = 0; k < n_words; k++) {
            gap = k == gap_word ? b.len : gap;
            buf_append_c(&b, words[in_order ? k % ARRAY_SIZE(words) : rand_below(ARRAY_SIZE(words))]);
            if (rand_below(6) == 0) {
                buf_printf(&b, "%x", (unsigned)rand_below(1u << 30));
            }
        }
        struct object_init init = { .class = &class, .json = buf_str(&b), .rv_at = gap, .namespace = STR("a"),
                                    .name = str_c(words[turn % 3]), .uid = str_sub(buf_str(&b), b.len / 3, 36) };
        struct err err;
        struct object *o = object_new(&init, &err);
        CHECK_OK(o, &err);
        n_cut += o->shape && !o->founder;
        buf_clear(&served);
        object_item_append(o, &served);
        CHECK_STR(str_sub(buf_str(&served), 1, served.len - 1), buf_str(&b));
        CHECK_STR(object_uid(o), init.uid);
        CHECK_STR(object_name(o), init.name);
        object_unref(o);
    }
    CHECK(n_cut > 100);
    shapes_free(s);
}
