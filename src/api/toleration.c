#include "api/toleration.h"

bool toleration_matches(const struct core_v1_toleration *t, const struct core_v1_taint *taint)
{
    if ((t->effect.len && !str_eq(t->effect, taint->effect)) || (t->key.len && !str_eq(t->key, taint->key))) {
        return false;
    }
    if (str_eq(t->operator, STR("Exists"))) {
        return true;
    }
    bool equal = !t->operator.len || str_eq(t->operator, STR("Equal"));
    return equal && t->key.len > 0 && str_eq(t->value, taint->value);
}

bool tolerations_match(const struct core_v1_toleration *t, size_t n, const struct core_v1_taint *taint)
{
    for (size_t i = 0; i < n; i++) {
        if (toleration_matches(&t[i], taint)) {
            return true;
        }
    }
    return false;
}
