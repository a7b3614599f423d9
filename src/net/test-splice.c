#include "net/splice.h"

#include "base/test.h"
#include "net/stream-limits.h"

struct end {
    struct net_stream *s;
    struct buf got;
    bool eof, closed;
};
struct fix {
    struct loop *l;
    struct end left, right;
    struct net_stream *a, *b;
    struct net_splice *splice;
    int n_done;
    struct net_splice_result result;
};

static void on_data(struct net_stream *s UNUSED, struct str data, void *arg)
{
    buf_append(&((struct end *)arg)->got, data);
}
static void on_eof(struct net_stream *s UNUSED, void *arg)
{
    ((struct end *)arg)->eof = true;
}
static void on_close(struct net_stream *s UNUSED, enum net_close why UNUSED, const char *reason UNUSED, void *arg)
{
    ((struct end *)arg)->closed = true;
}
static const struct net_stream_ops ops = { .on_data = on_data, .on_eof = on_eof, .on_close = on_close };

static void done(void *arg, const struct net_splice_result *r)
{
    struct fix *f = arg;
    f->n_done++;
    f->result = *r;
    f->splice = NULL;
}
static void fix_init(struct fix *f, uint64_t idle_ms)
{
    struct err err;
    struct net_stream *p[2];
    *f = (struct fix){ 0 };
    f->l = loop_new(&err);
    CHECK_INT(net_stream_pair(f->l, p), 0);
    f->left.s = p[0];
    f->a = p[1];
    CHECK_INT(net_stream_pair(f->l, p), 0);
    f->right.s = p[0];
    f->b = p[1];
    struct end *ends[] = { &f->left, &f->right };
    for (int i = 0; i < 2; i++) {
        buf_init(&ends[i]->got, BUF_NO_MAX);
        net_stream_set_ops(ends[i]->s, &ops, ends[i]);
        net_stream_resume(ends[i]->s);
    }
    f->splice = net_splice_new(f->a, f->b, idle_ms, done, f);
}
static void fix_deinit(struct fix *f)
{
    net_splice_free(f->splice);
    net_stream_free(f->left.s);
    net_stream_free(f->right.s);
    buf_deinit(&f->left.got);
    buf_deinit(&f->right.got);
    loop_free(f->l);
}
static void turns(struct fix *f, int n)
{
    for (int i = 0; i < n; i++) {
        loop_turn(f->l, 2);
    }
}

TEST(splice_passes_bytes_both_ways_and_half_closes)
{
    struct fix f;
    fix_init(&f, 0);
    net_stream_write_str(f.left.s, STR("request"));
    net_stream_shutdown(f.left.s);
    turns(&f, 20);
    CHECK_STR_C(buf_str(&f.right.got), "request");
    CHECK(f.right.eof && !f.left.eof);
    net_stream_write_str(f.right.s, STR("late answer"));
    turns(&f, 20);
    CHECK_STR_C(buf_str(&f.left.got), "late answer");
    CHECK_INT(f.n_done, 0);
    net_stream_shutdown(f.right.s);
    turns(&f, 20);
    CHECK_INT(f.n_done, 1);
    CHECK_INT(f.result.a_to_b, 7);
    CHECK_INT(f.result.b_to_a, 11);
    CHECK_INT(f.result.why, NET_CLOSE_EOF);
    CHECK(f.left.closed && f.right.closed);
    fix_deinit(&f);
}

TEST(splice_stops_reading_when_the_other_side_does_not_take_it)
{
    struct fix f;
    static char big[8 << 20];
    fix_init(&f, 0);
    net_stream_pause(f.right.s);
    net_stream_write_str(f.left.s, str_n(big, sizeof(big)));
    turns(&f, 100);
    /* What left has sent is in socket buffers and in at most the bound and one read. */
    CHECK(net_stream_queued(f.left.s) > sizeof(big) / 2);
    CHECK(net_stream_queued(f.b) <= SPLICE_HIGH + 128 * 1024);
    net_stream_resume(f.right.s);
    for (int i = 0; i < 2000 && f.right.got.len < sizeof(big); i++) {
        loop_turn(f.l, 2);
    }
    CHECK_INT(f.right.got.len, sizeof(big));
    fix_deinit(&f);
}

TEST(splice_sends_what_is_on_the_way_when_one_side_closes)
{
    struct fix f;
    static char big[300000];
    fix_init(&f, 0);
    net_stream_write_str(f.left.s, str_n(big, sizeof(big)));
    net_stream_close(f.left.s);
    turns(&f, 60);
    CHECK_INT(f.right.got.len, sizeof(big));
    CHECK(f.right.eof);
    net_stream_shutdown(f.right.s);
    turns(&f, 60);
    CHECK_INT(f.n_done, 1);
    fix_deinit(&f);
}

TEST(splice_ends_when_idle_too_long)
{
    struct fix f;
    fix_init(&f, 60);
    for (int i = 0; i < 100 && !f.n_done; i++) {
        loop_turn(f.l, 10);
    }
    CHECK_INT(f.n_done, 1);
    CHECK_INT(f.result.why, NET_CLOSE_TIMEOUT);
    fix_deinit(&f);
}
