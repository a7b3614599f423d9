#include "apiserver/config-members.h"

bool config_members_only(const struct val *v, const char *path, const char *const *names, size_t n, struct err *err)
{
    if (!val_is(v, VAL_OBJECT)) {
        return err_set(err, ERR_INVALID, "%s: an object is needed", path);
    }
    for (uint32_t i = 0; i < v->n; i++) {
        bool known = false;
        for (size_t k = 0; k < n; k++) {
            known |= str_eq_c(v->members[i].key, names[k]);
        }
        if (!known) {
            return err_set(err, ERR_INVALID, "%s: unknown field \"%.*s\"", path, STR_ARG(v->members[i].key));
        }
    }
    return true;
}
