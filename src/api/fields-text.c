#include "api/fields-text.h"

#include "api/bytes.h"

/* Beyond so many kids at one level it is cheaper to read the text. */
#define KIDS_MAX 32

struct walk {
    const char *p, *end;
    struct buf step; /* a step of the set as the text writes it */
    bool bad;        /* the text is not what was expected */
};

static bool fail(struct walk *w)
{
    w->bad = true;
    return false;
}

/* Behind the string whose opening quote is at 'p', or NULL. */
static const char *behind_string(const char *p, const char *end)
{
    for (p++; p < end; p++) {
        p = bytes_plain_run(p, end);
        if (p >= end || *p == '"') {
            return p < end ? p + 1 : NULL;
        }
        p += *p == '\\';
    }
    return NULL;
}

/* Behind the object at 'p'. Brackets in strings are passed over with them. */
static bool skip_object(struct walk *w)
{
    unsigned depth = 0;
    while (w->p && w->p < w->end) {
        switch (*w->p) {
        case '"':
            w->p = behind_string(w->p, w->end);
            continue;
        case '{':
            depth++;
            break;
        case '}':
            if (--depth == 0) {
                w->p++;
                return true;
            }
            break;
        case ',':
        case ':':
            break;
        default:
            return fail(w);
        }
        w->p++;
    }
    return fail(w);
}

/* The next key of the object that was entered, as it is written, with its quotes; its value is next. False: the object is over. */
static bool next_key(struct walk *w, bool first, struct str *ret)
{
    if (w->p < w->end && *w->p == '}') {
        w->p++;
        return false;
    }
    if (!first) {
        if (w->p >= w->end || *w->p != ',') {
            return fail(w);
        }
        w->p++;
    }
    if (w->p >= w->end || *w->p != '"') {
        return fail(w);
    }
    const char *begin = w->p, *behind = behind_string(begin, w->end);
    if (!behind || behind >= w->end || *behind != ':') {
        return fail(w);
    }
    *ret = str_n(begin, (size_t)(behind - begin));
    w->p = behind + 1;
    return true;
}

static bool is_step(struct walk *w, struct str key, const struct fields_pe *pe)
{
    static const char letters[] = { [FIELDS_NAME] = 'f', [FIELDS_KEY] = 'k', [FIELDS_VALUE] = 'v', [FIELDS_INDEX] = 'i' };
    if (key.len < 4 || key.ptr[1] != letters[pe->kind]) {
        return false;
    }
    /* "f:name" in quotes. What has to be escaped is longer, and is compared as it is written. */
    if (pe->kind == FIELDS_NAME && key.len == pe->name.len + 4) {
        return memcmp(key.ptr + 3, pe->name.ptr, pe->name.len) == 0 && str_find_char(pe->name, '\\') < 0;
    }
    if (pe->kind == FIELDS_NAME && key.len < pe->name.len + 4) {
        return false;
    }
    buf_clear(&w->step);
    fields_pe_write_json(&w->step, pe);
    return str_eq(buf_str(&w->step), key);
}

/* The kid of that key. Both are in order, so it is mostly the one behind the last that was found. */
static const struct fields *kid_of(struct walk *w, const struct fields *set, struct str key, uint32_t *at)
{
    for (uint32_t i = 0; i < set->n; i++) {
        uint32_t k = (*at + i) % set->n;
        if (is_step(w, key, &set->kids[k].pe)) {
            *at = k + 1;
            return &set->kids[k];
        }
    }
    return NULL;
}

/* The object at 'p' and the node 'set' stand for one place. Returns whether a member of one is one of the other ('all' false), or all
 * of set's are ('all'). Goes to the end of the object unless the answer is known before. */
static bool ask(struct walk *w, const struct fields *set, bool root, bool all)
{
    struct str key;
    uint32_t at = 0, found = 0;
    bool member = false, any = false;
    if (w->p >= w->end || *w->p != '{' || set->n > KIDS_MAX) {
        return fail(w);
    }
    w->p++;
    for (; next_key(w, !any, &key); any = true) {
        const struct fields *kid = NULL;
        if (str_eq(key, STR("\".\""))) {
            member = true;
        } else {
            kid = set->n ? kid_of(w, set, key, &at) : NULL;
        }
        if (!kid) {
            if (!skip_object(w)) {
                return false;
            }
            continue;
        }
        found++;
        bool yes = ask(w, kid, false, all);
        if (w->bad || yes != all) {
            return yes;
        }
    }
    if (w->bad) {
        return false;
    }
    member = member || (!any && !root);
    return all ? found == set->n && (member || !set->member) : member && set->member;
}

static bool answer(struct str text, const struct fields *set, bool all)
{
    struct walk w = { .p = text.ptr, .end = text.ptr + text.len };
    if (fields_is_empty(set)) {
        return all;
    }
    buf_init(&w.step, BUF_NO_MAX);
    bool yes = ask(&w, set, true, all);
    w.bad = w.bad || buf_failed(&w.step);
    buf_deinit(&w.step);
    return w.bad ? !all : yes;
}

bool fields_text_meets(struct str text, const struct fields *set)
{
    return answer(text, set, false);
}

bool fields_text_has_all(struct str text, const struct fields *set)
{
    return answer(text, set, true);
}
