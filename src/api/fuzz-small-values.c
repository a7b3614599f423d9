/* Selectors, quantities, durations, names and field sets from anybody: what parses prints, and parses back as the same. */
#include <stdlib.h>

#include "api/duration.h"
#include "api/fields.h"
#include "api/names.h"
#include "api/quantity.h"
#include "api/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void selectors(struct arena *a, struct str text)
{
    struct selector s, again;
    struct field_selector f, f_again;
    struct err err;
    if (selector_parse(a, text, &s, &err)) {
        struct str printed = selector_str(a, &s);
        (void)selector_matches(&s, NULL, 0);
        /* A list of the empty value alone prints as "()", as in Kubernetes, which is no list. */
        must(!printed.ptr || str_find(printed, STR("()")) >= 0 ||
             (selector_parse(a, printed, &again, &err) && str_eq(printed, selector_str(a, &again))));
    }
    if (field_selector_parse(a, text, &f, &err)) {
        struct str printed = field_selector_str(a, &f);
        must(!printed.ptr || field_selector_parse(a, printed, &f_again, &err));
    }
}

static void quantities(struct str text)
{
    struct quantity q, again;
    struct names_errs e = { 0 };
    int64_t ns, ns_again;
    char canonical[QUANTITY_SIZE], twice[QUANTITY_SIZE], duration[DURATION_SIZE];
    if (quantity_parse(text, &q, NULL)) {
        quantity_format(q, canonical);
        must(quantity_parse(str_c(canonical), &again, NULL));
        quantity_format(again, twice);
        must(quantity_cmp(q, again) == 0 && strcmp(canonical, twice) == 0);
        (void)quantity_value(quantity_mul(quantity_add(q, q), 1000));
    }
    if (duration_parse(text, &ns, NULL)) {
        duration_format(ns, duration);
        must(duration_parse(str_c(duration), &ns_again, NULL) && ns == ns_again);
    }
    (void)names_qualified(text, &e);
    (void)names_wildcard_subdomain(text, &e);
    (void)names_config_key(text, &e);
}

static void sets(struct arena *a, struct str text)
{
    struct fields f, again, r;
    struct err err;
    struct buf b;
    if (!fields_parse(a, text, &f, &err)) {
        return;
    }
    buf_init(&b, 1 << 24);
    fields_write(&b, &f);
    if (fields_parse(a, buf_str(&b), &again, &err)) {
        must(fields_equal(&f, &again));
        must(!fields_difference(a, &f, &again, &r) || fields_is_empty(&r));
        must(!fields_intersection(a, &f, &again, &r) || fields_equal(&f, &r));
    } else {
        must(err.code == ERR_TOO_LARGE);
    }
    buf_deinit(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str text = str_n((const char *)data, size);
    arena_init(&a, 16 << 20);
    selectors(&a, text);
    quantities(text);
    sets(&a, text);
    arena_deinit(&a);
    return 0;
}
