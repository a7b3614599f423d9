#include "apiserver/selection.h"

#include "apiserver/request.h"

static int field_index(const struct object_class *class, struct str label)
{
    for (int i = 0; i < class->n_fields; i++) {
        if (str_eq(class->fields[i], label)) {
            return i;
        }
    }
    return -1;
}

/* Every label must be one that this resource knows; the words differ between kinds with and without labels of their own. */
static bool check_fields(struct request *r, struct selection *s)
{
    for (size_t i = 0; i < s->fields.n; i++) {
        const struct field_term *t = &s->fields.terms[i];
        bool meta = str_eq_c(t->field, "metadata.name") || str_eq_c(t->field, "metadata.namespace");
        int index = field_index(s->class, t->field);
        if (!meta && index < 0) {
            if (s->class->n_fields > 0) {
                (void)request_bad(r, "field label not supported: %.*s", STR_ARG(t->field));
            } else {
                (void)request_bad(r, "\"%.*s\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                                  STR_ARG(t->field));
            }
            return false;
        }
        if (t->negate) {
            continue;
        }
        if (str_eq_c(t->field, "metadata.name")) {
            s->is_nothing |= !str_empty(s->name) && !str_eq(s->name, t->value);
            s->name = t->value;
        } else if (index >= 0 && s->field < 0) {
            s->field = index;
            s->field_value = t->value;
        }
    }
    return true;
}

static struct str kept(struct arena *a, struct str s)
{
    return s.len ? arena_str(a, s) : s;
}

bool selection_parse(struct arena *a, struct request *r, struct selection *s)
{
    struct err err = { 0 };
    *s = (struct selection){ .class = &r->rest->class, .field = -1, .name = STR_EMPTY };
    if (!selector_parse(a, kept(a, r->opt.label_selector), &s->labels, &err) ||
        !field_selector_parse(a, kept(a, r->opt.field_selector), &s->fields, &err)) {
        (void)request_bad(r, "%s", err.msg);
        return false;
    }
    if (str_eq_c(r->info.verb, "watch") && str_eq_c(r->in->method, "GET") && !str_empty(r->info.name) &&
        str_empty(r->opt.field_selector)) {
        s->name = kept(a, r->info.name); /* /api/v1/watch/…/name */
    }
    if (!check_fields(r, s)) {
        return false;
    }
    s->is_everything = selector_is_everything(&s->labels) && s->fields.n == 0 && str_empty(s->name);
    return true;
}

struct field_object {
    const struct selection *s;
    const struct object *o;
};

static struct str get_field(void *object, struct str field)
{
    struct field_object *f = object;
    if (str_eq_c(field, "metadata.name")) {
        return object_name(f->o);
    }
    if (str_eq_c(field, "metadata.namespace")) {
        return object_namespace(f->o);
    }
    int index = field_index(f->s->class, field);
    return index >= 0 ? object_field(f->o, (size_t)index) : STR_EMPTY;
}

bool selection_matches(const struct selection *s, const struct object *o)
{
    enum { ON_STACK = 64 };
    struct api_str_pair few[ON_STACK], *labels = few;
    bool ok = true;

    if (s->is_everything) {
        return true;
    }
    if (s->is_nothing || (!str_empty(s->name) && !str_eq(s->name, object_name(o)))) {
        return false;
    }
    if (!selector_is_everything(&s->labels)) {
        size_t n = object_n_labels(o);
        if (n > ON_STACK) {
            labels = malloc(n * sizeof(*labels));
            if (!labels) {
                return false;
            }
        }
        for (size_t i = 0; i < n; i++) {
            struct object_label l = object_label_at(o, i);
            labels[i] = (struct api_str_pair){ .key = l.key, .value = l.value };
        }
        ok = selector_matches(&s->labels, labels, n);
        if (labels != few) {
            free(labels);
        }
    }
    if (ok && s->fields.n > 0) {
        struct field_object f = { .s = s, .o = o };
        ok = field_selector_matches(&s->fields, get_field, &f);
    }
    return ok;
}
