#include "cmd/controllers-flag.h"

bool controllers_flag_wants(const struct flag_strings *list, const struct controller_ops *ops, controllers_flag_named_fn *named)
{
    bool star = false;
    for (size_t i = 0; i < list->n; i++) {
        struct str s = list->items[i];
        if (named(ops, s)) {
            return true;
        }
        if (s.len && s.ptr[0] == '-' && named(ops, str_sub(s, 1, SIZE_MAX))) {
            return false;
        }
        star = star || str_eq(s, STR("*"));
    }
    return star && !ops->off_by_default;
}

bool controllers_flag_check(const struct flag_strings *list, const struct controller_ops *const *table, size_t n,
                            controllers_flag_named_fn *named, struct err *err)
{
    for (size_t i = 0; i < list->n; i++) {
        struct str name = list->items[i];
        bool known = str_eq(name, STR("*"));
        name = name.len && name.ptr[0] == '-' ? str_sub(name, 1, SIZE_MAX) : name;
        for (size_t k = 0; k < n; k++) {
            known = known || named(table[k], name);
        }
        if (!known) {
            return err_set(err, ERR_BAD_REQUEST, "--controllers: there is no controller \"%.*s\"", STR_ARG(name));
        }
    }
    return true;
}
