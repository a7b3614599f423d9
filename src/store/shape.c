#include "store/shape.h"

#include <stdlib.h>

#include "base/macros.h"

/* Keys that are remembered, and shapes of each: pods that are pending, bound and running are three. */
#define SETS 64u
#define WAYS 3u
/* A text is found again by windows of this many bytes, of which every STEP-th of the shape is in the index. */
#define WINDOW 24u
#define STEP 8u
/* The text is looked up at every STRIDE-th byte. As STRIDE and STEP have no common divisor, one in STEP of these meets a window of the
 * index whatever lies between the two texts: within STRIDE * STEP + WINDOW = 80 bytes of what is equal, and what is borrowed is longer. */
#define STRIDE 7u
/* What is borrowed at once is at least this long, as a piece costs 4 bytes and an iovec. */
#define MIN_BORROW 96u
/* Own bytes above a fifth of the text: another shape would be better. */
#define MAX_OWN(len) ((len) / 5)

struct way {
    struct shape *shape;
    uint16_t *index; /* places of windows, plus 1, by their hash; made when the shape is first tried */
    uint32_t mask;
};

struct shapes {
    struct way sets[SETS][WAYS]; /* the one that fitted last is first */
};

static uint64_t load64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint32_t window_hash(const char *p)
{
    uint64_t h = load64(p) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ load64(p + 8)) * UINT64_C(0xc2b2ae3d27d4eb4f);
    h = (h ^ (h >> 29) ^ load64(p + 16)) * UINT64_C(0x165667b19e3779f9);
    return (uint32_t)(h >> 40);
}

static void shape_release(struct net_ref *r)
{
    free(CONTAINER_OF(r, struct shape, ref));
}

static struct shape *shape_new(struct str json)
{
    struct shape *s = malloc(sizeof(*s) + json.len);
    if (!s) {
        abort();
    }
    net_ref_init(&s->ref, shape_release);
    s->len = (uint32_t)json.len;
    memcpy(s->bytes, json.ptr, json.len);
    return s;
}

static void way_clear(struct way *w)
{
    if (w->shape) {
        net_ref_put(&w->shape->ref);
    }
    free(w->index);
    *w = (struct way){ 0 };
}

static void way_index(struct way *w)
{
    uint32_t size = 64;
    while (size < w->shape->len / STEP * 2) {
        size *= 2;
    }
    w->mask = size - 1;
    w->index = calloc(size, sizeof(*w->index));
    if (!w->index) {
        abort();
    }
    /* Backwards, so that of equal windows the first is found. */
    for (uint32_t at = (w->shape->len - WINDOW) / STEP * STEP;; at -= STEP) {
        w->index[window_hash(w->shape->bytes + at) & w->mask] = (uint16_t)(at + 1);
        if (at == 0) {
            break;
        }
    }
}

struct shapes *shapes_new(void)
{
    struct shapes *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    return s;
}

struct shapes *shapes_free(struct shapes *s)
{
    for (size_t i = 0; s && i < SETS * WAYS; i++) {
        way_clear(&s->sets[i / WAYS][i % WAYS]);
    }
    free(s);
    return NULL;
}

static size_t common(const char *a, const char *b, size_t max)
{
    size_t n = 0;
    while (n + 8 <= max && load64(a + n) == load64(b + n)) {
        n += 8;
    }
    while (n < max && a[n] == b[n]) {
        n++;
    }
    return n;
}

/* Names, times and the like are not split: each is a whole in one piece, where facts can point at it. */
static bool in_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.';
}

struct cutter {
    const struct way *way;
    const char *text;
    size_t at, end;   /* what is not cut yet of this side of the gap */
    size_t own_from;  /* own bytes that no piece has yet */
    ptrdiff_t offset; /* of the shape's place from the text's, at the last match */
    struct shape_cut *cut;
    size_t max_own;
};

static bool add_own(struct cutter *c, size_t to)
{
    struct shape_cut *cut = c->cut;
    size_t n = to - c->own_from;
    if (n > 0) {
        cut->pieces[cut->n_pieces++] = (struct shape_piece){ .at = (uint16_t)cut->n_own, .len = (uint16_t)n };
        cut->n_own += n;
        c->own_from = to;
    }
    return cut->n_own <= c->max_own;
}

/* The text at c->at, and the shape at 'from', are equal for a window: takes all that is equal around them. */
static bool take_match(struct cutter *c, size_t from)
{
    const struct shape *s = c->way->shape;
    size_t at = c->at;
    size_t n = WINDOW + common(c->text + at + WINDOW, s->bytes + from + WINDOW, MIN(c->end - at, s->len - from) - WINDOW);
    while (at > c->own_from && from > 0 && c->text[at - 1] == s->bytes[from - 1]) {
        at--;
        from--;
        n++;
    }
    /* Not from the middle of a word, nor to it. */
    bool first = at == 0 || !in_word(c->text[at - 1]) || !in_word(c->text[at]);
    while (!first && n > 0 && in_word(c->text[at])) {
        at++;
        from++;
        n--;
    }
    if (at + n < c->end && in_word(c->text[at + n])) {
        while (n > 0 && in_word(c->text[at + n - 1])) {
            n--;
        }
    }
    if (n < MIN_BORROW) {
        return false;
    }
    struct shape_cut *cut = c->cut;
    (void)add_own(c, at);
    cut->borrowed |= UINT32_C(1) << cut->n_pieces;
    cut->pieces[cut->n_pieces++] = (struct shape_piece){ .at = (uint16_t)from, .len = (uint16_t)n };
    c->own_from = c->at = at + n;
    c->offset = (ptrdiff_t)from - (ptrdiff_t)at;
    return true;
}

/* Cuts one side of the gap. False: too much of it is the object's own. */
static bool cut_side(struct cutter *c, size_t from, size_t to, unsigned max_pieces)
{
    const struct shape *s = c->way->shape;
    c->at = c->own_from = from;
    c->end = to;
    /* A match may need a piece before itself, and the rest of the text one behind. */
    while (c->at + WINDOW <= c->end && c->cut->n_pieces + 3 <= max_pieces) {
        ptrdiff_t near = (ptrdiff_t)c->at + c->offset;
        if (near >= 0 && (size_t)near + WINDOW <= s->len && load64(s->bytes + near) == load64(c->text + c->at) &&
            memcmp(s->bytes + near, c->text + c->at, WINDOW) == 0 && take_match(c, (size_t)near)) {
            continue;
        }
        uint32_t found = c->way->index[window_hash(c->text + c->at) & c->way->mask];
        if (found > 0 && memcmp(s->bytes + found - 1, c->text + c->at, WINDOW) == 0 && take_match(c, found - 1)) {
            continue;
        }
        if (c->cut->n_own + (c->at - c->own_from) > c->max_own + STRIDE * STEP) {
            return false; /* what is equal here would have begun before */
        }
        c->at += STRIDE;
    }
    return add_own(c, to);
}

static bool try_way(struct way *w, struct str json, size_t gap_at, struct shape_cut *cut)
{
    if (!w->shape || w->shape->len > 2 * json.len) {
        return false; /* most of the shape would be held for nothing */
    }
    if (!w->index) {
        way_index(w);
    }
    cut->n_pieces = 0;
    cut->borrowed = 0;
    cut->n_own = 0;
    struct cutter c = { .way = w, .text = json.ptr, .cut = cut, .max_own = MAX_OWN(json.len) };
    /* The other side gets three pieces at least. */
    if (!cut_side(&c, 0, gap_at, SHAPE_MAX_PIECES - 3)) {
        return false;
    }
    cut->n_head = cut->n_pieces;
    if (!cut_side(&c, gap_at, json.len, SHAPE_MAX_PIECES)) {
        return false;
    }
    cut->shape = w->shape;
    cut->founder = false;
    return true;
}

/* The object's own text is a shape from now on. */
static void found(struct way *w, struct str json, size_t gap_at, struct shape_cut *cut)
{
    way_clear(w);
    w->shape = shape_new(json);
    *cut = (struct shape_cut){
        .shape = w->shape, .n_pieces = 2, .n_head = 1, .borrowed = 3, .founder = true,
        .pieces = { { .at = 0, .len = (uint16_t)gap_at }, { .at = (uint16_t)gap_at, .len = (uint16_t)(json.len - gap_at) } },
    };
}

bool shapes_cut(struct shapes *s, uint64_t key, struct str json, size_t gap_at, struct shape_cut *ret_cut)
{
    if (json.len < SHAPE_MIN_JSON || json.len > SHAPE_MAX_JSON) {
        return false;
    }
    struct way *set = s->sets[(key * UINT64_C(0x9e3779b97f4a7c15)) >> 58];
    unsigned i = 0;
    while (i < WAYS && !try_way(&set[i], json, gap_at, ret_cut)) {
        i++;
    }
    if (i == WAYS) {
        i = WAYS - 1;
        found(&set[i], json, gap_at, ret_cut);
    }
    struct way used = set[i];
    memmove(set + 1, set, i * sizeof(*set));
    set[0] = used;
    net_ref_get(&used.shape->ref);
    return true;
}
